"""The split: golden values, and independence of batch size, shard order and column order."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.core.spec import SplitSection
from nasflow.preprocess.hashing import mix, number_bits, row_bits, text_bits
from nasflow.preprocess.split import (
    TEST,
    TRAIN,
    VALIDATION,
    assign,
    fingerprint_columns,
    fingerprint_files,
    fingerprint_images,
    priorities,
)

GOLDEN_FINGERPRINTS = [7629433734711458249, 9914169706787762101, 10716685944307392149]
GOLDEN_BUCKETS = [1411, 7901, 5718]
GOLDEN_SALTED = [9156, 6790, 9119]
GOLDEN_IMAGES = [16714191694921052096, 10575708383618025572, 930418009920430840]
GOLDEN_TEXTS = {  # below, at and above a word of 8 bytes, and the length from which blake2b takes over
    "": 0xE220A8397B1DCDAF,  # the first number of SplitMix64 with seed 0, as Vigna's reference code prints it
    "a": 2270398645294200952,
    "12345678": 11482425691924247383,
    "123456789": 6494619616817023132,
    "x" * 128: 11185125892582057718,
    "x" * 129: 11792093813925010968,
}


def _columns(rows: list[tuple[float, str | None]]) -> dict[str, object]:
    return {
        "age": np.array([age for age, _ in rows], np.float64),
        "job": pa.array([job for _, job in rows], pa.string()),
    }


def _fingerprints(rows: list[tuple[float, str | None]]) -> list[int]:
    return fingerprint_columns(_columns(rows), len(rows)).tolist()


def test_golden_fingerprints_and_buckets() -> None:
    # A change of these moves rows between the splits of every Dataset ever made.
    prints = fingerprint_columns(_columns([(1.0, "cook"), (2.5, None), (float("nan"), "")]), 3)
    assert prints.tolist() == GOLDEN_FINGERPRINTS
    assert (priorities(prints, "") % 10_000).tolist() == GOLDEN_BUCKETS
    assert (priorities(prints, "salt") % 10_000).tolist() == GOLDEN_SALTED


def test_golden_texts_in_any_company() -> None:
    texts = pa.array([*GOLDEN_TEXTS])
    assert text_bits(texts).tolist() == [*GOLDEN_TEXTS.values()]
    for place, text in enumerate(GOLDEN_TEXTS):
        assert text_bits(pa.array([text])).tolist() == [GOLDEN_TEXTS[text]]
        assert text_bits(texts.slice(place, 1)).tolist() == [GOLDEN_TEXTS[text]]
    assert text_bits(texts.slice(0, 0)).tolist() == []


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=40), unique=True, max_size=30))
def test_a_hash_is_of_the_text_alone(texts: list[str]) -> None:
    found = text_bits(pa.array(texts, pa.string())).tolist()
    assert found == [text_bits(pa.array([text])).tolist()[0] for text in texts]
    assert len(set(found)) == len(texts)  # "a" and "a\0" differ, too


def test_hashes_are_spread_over_all_bits() -> None:
    numbers = number_bits(np.arange(20_000) / 4)
    for hashes in (mix(numbers), text_bits(pa.array([f"c{n:05d}" for n in range(20_000)]))):
        bits = np.unpackbits(hashes.view(np.uint8)).reshape(-1, 64).mean(axis=0)
        assert np.abs(bits - 0.5).max() < 5 * 0.5 / np.sqrt(20_000)  # five standard deviations


def test_equal_content_is_equal_whatever_its_form() -> None:
    assert _fingerprints([(0.0, "a")]) == _fingerprints([(-0.0, "a")]) == _fingerprints([(5e-324, "a")])
    quiet = np.array([0x7FF8000000000001], np.uint64).view(np.float64)[0]
    assert _fingerprints([(float("nan"), None)]) == _fingerprints([(quiet, "")])
    assert _fingerprints([(1.0, "a")]) != _fingerprints([(1.0, "b")])
    columns = _columns([(1.0, "a")])
    assert fingerprint_columns(dict(reversed(columns.items())), 1) == fingerprint_columns(columns, 1)
    swapped = {"a": np.array([1.0]), "b": np.array([2.0])}, {"a": np.array([2.0]), "b": np.array([1.0])}
    assert fingerprint_columns(swapped[0], 1) != fingerprint_columns(swapped[1], 1)


_ROWS = st.lists(
    st.tuples(st.floats(width=32), st.none() | st.text(st.characters(codec="utf-8"), max_size=3)),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)
@given(rows=_ROWS, data=st.data())
def test_batch_size_and_order_do_not_matter(rows: list[tuple[float, str | None]], data: st.DataObject) -> None:
    whole = _fingerprints(rows)
    cut = data.draw(st.integers(0, len(rows)))
    assert _fingerprints(rows[:cut]) + _fingerprints(rows[cut:]) == whole
    order = data.draw(st.permutations(range(len(rows))))
    assert _fingerprints([rows[place] for place in order]) == [whole[place] for place in order]


def test_fractions_are_kept_and_a_test_file_frees_the_test_share() -> None:
    ranks = priorities(np.arange(20_000, dtype=np.uint64), "")
    places = assign(ranks, SplitSection(validation=0.2, test=0.1), has_test_file=False)
    shares = [float((places == place).mean()) for place in (TRAIN, VALIDATION, TEST)]
    # standard deviation of a share of 20,000 is at most 0.0035; five of them:
    assert np.allclose(shares, [0.7, 0.2, 0.1], atol=0.018)
    with_file = assign(ranks, SplitSection(validation=0.2, test=0.1), has_test_file=True)
    assert not (with_file == TEST).any()
    assert abs(float((with_file == VALIDATION).mean()) - 0.2) < 0.018


def test_images_and_files_are_told_apart_by_every_byte() -> None:
    images = np.zeros((3, 2, 2, 1), np.uint8)
    images[2, 1, 1, 0] = 1
    prints = fingerprint_images(images)
    assert prints[0] == prints[1] != prints[2]
    assert fingerprint_images(images[1:]).tolist() == prints[1:].tolist()
    files = fingerprint_files(np.array([b"a", b"a", b"b"], object))
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize("size", [1, 7, 8, 9, 64, 100])
def test_bytes_of_a_row_are_hashed_as_those_of_a_text(size: int) -> None:
    rows = np.random.default_rng(size).integers(0, 128, (500, size)).astype(np.uint8)
    assert row_bits(rows).tolist() == text_bits(pa.array([row.tobytes().decode() for row in rows])).tolist()
    assert row_bits(rows[:0]).tolist() == []


def test_fingerprints_of_images_stay_for_ever() -> None:
    images = (np.arange(3 * 28 * 28).reshape(3, 28, 28, 1) % 251).astype(np.uint8)
    assert fingerprint_images(images).tolist() == GOLDEN_IMAGES
    wide = np.tile(images, (1, 1, 1, 3))  # rows of more than one block
    assert fingerprint_images(np.concatenate([wide] * 100))[-1] == fingerprint_images(wide[-1:])[0]
    assert len({*fingerprint_images(images).tolist(), *fingerprint_images(wide).tolist()}) == 6
