"""Analyzers: parity with NumPy, and merging."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.data.codes import Codes
from nasflow.preprocess import analyzers, fingerprints
from nasflow.preprocess.analyzers import Counts, Moments, Pixels, Sample
from nasflow.preprocess.fingerprints import Fingerprints

_FLOATS = st.floats(-1e6, 1e6) | st.sampled_from([float("nan"), float("inf"), float("-inf")])


@settings(deadline=None)
@given(st.lists(st.lists(_FLOATS, max_size=20), max_size=6))
def test_moments_merged_from_batches_equal_numpy(batches: list[list[float]]) -> None:
    merged = Moments()
    for batch in batches:
        merged.update(np.array(batch, np.float64))
    values = np.array([value for batch in batches for value in batch], np.float64)
    finite = values[np.isfinite(values)]
    assert merged.count == len(finite)
    assert merged.missing == np.isnan(values).sum()
    assert merged.non_finite == np.isinf(values).sum()
    if len(finite):
        assert merged.mean == pytest.approx(finite.mean(), rel=1e-12, abs=1e-6)
        assert merged.std == pytest.approx(finite.std(), rel=1e-9, abs=1e-6)
        assert (merged.low, merged.high) == (finite.min(), finite.max())


def test_moments_do_not_cancel() -> None:
    # A sum of squares loses the variance of 1e9 + {4, 7, 13, 16}; it is 22.5 (population), of any number of repeats.
    merged = Moments()
    for _ in range(100):
        merged.update(1e9 + np.array([4.0, 7.0, 13.0, 16.0]))
    assert merged.mean == 1e9 + 10
    assert merged.std == pytest.approx(np.sqrt(22.5), rel=1e-12)
    assert Moments().std == 0.0


def test_counts_are_ordered_by_frequency_then_text() -> None:
    counts = Counts()
    counts.update(Codes.of(pa.array(["b", "a", None, "b"])))
    counts.update(Codes.of(pa.array(["c", "a"])))
    assert counts.top() == [("a", 2), ("b", 2), ("c", 1)]
    assert (counts.missing, counts.total, counts.exact) == (1, 5, True)


def test_counts_stay_bounded_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyzers, "_MAX_COUNTED", 10)
    counts = Counts()
    counts.update(Codes.of(pa.array(["often"] * 5 + [f"rare{n}" for n in range(20)])))
    assert counts.top(1) == [("often", 5)]
    assert len(counts.values) == 5
    assert not counts.exact


def test_pixels_are_exact_per_channel() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 3), dtype=np.uint8)
    pixels, other = Pixels.of(3), Pixels.of(3)
    pixels.update(images[:2])
    other.update(images[2:])
    pixels.merge(other)
    for channel, (mean, std) in enumerate(pixels.moments()):
        assert mean == pytest.approx(images[..., channel].mean(), rel=1e-12)
        assert std == pytest.approx(images[..., channel].std(), rel=1e-12)


def test_duplicates_are_counted_exactly() -> None:
    train, test = Fingerprints(), Fingerprints()
    train.update(np.array([1, 2, 2], np.uint64))
    train.update(np.array([2, 3], np.uint64))
    test.update(np.array([3, 3, 9], np.uint64))
    assert train.duplicates() == 2  # 2 comes three times
    assert test.duplicates() == 1
    assert test.shared(train) == 2  # both rows of 3


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=30), st.integers(0, 30), st.booleans())
def test_conflicts_are_counted_in_any_batching(rows: list[tuple[int, int]], cut: int, compact: bool) -> None:
    prints = Fingerprints()
    for batch in (rows[cut:], rows[:cut]):
        numbers = np.array(batch, np.uint64).reshape(-1, 2)
        prints.update(numbers[:, 0], numbers[:, 1] << np.uint64(40))
        if compact:
            prints.compact()
    labels = {row: {label for other, label in rows if other == row} for row, _ in rows}
    assert prints.conflicting() == sum(len(labels[row]) > 1 for row, _ in rows)


def test_duplicates_are_estimated_where_rows_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_MAX_FINGERPRINTS", 4_000)
    distinct = np.random.default_rng(0).integers(0, 2**64, 20_000, dtype=np.uint64)
    prints = Fingerprints()
    prints.update(distinct)
    prints.update(distinct[:10_000])
    assert prints.duplicates() == pytest.approx(10_000, rel=0.15)  # 2,500 are kept: a standard error of about 3 %
    assert prints.shift == 3
    assert len(prints.rows) <= 4_000


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=50), st.integers(0, 50))
def test_a_sample_is_the_same_for_every_batching(ranks: list[int], cut: int) -> None:
    whole, parts = Sample(5), Sample(5)
    for sample, batches in ((whole, [ranks]), (parts, [ranks[cut:], ranks[:cut]])):
        for batch in batches:
            priorities = np.array(batch, np.uint64)
            wanted = sample.wanted(priorities)
            sample.add(priorities[wanted], [batch[place] for place in wanted])
    assert whole.items == parts.items == sorted(ranks)[:5]
