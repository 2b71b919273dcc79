"""Token counts and near duplicates of texts."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.preprocess.near_texts import LEAST, nearest, pairs, resemblance, signatures
from nasflow.preprocess.token_counts import HeavyHitters, TokenCounts

DOCS = ["The cat sat.", "the CAT", None, "", "a dog . ."]


def counted(*parts: list[str | None]) -> TokenCounts:
    whole = TokenCounts()
    for part in parts:
        more = TokenCounts()
        more.update(pa.array(part, pa.string()))
        whole.merge(more)
    return whole


def test_counts_by_hand() -> None:
    found = counted(DOCS)
    assert (found.rows, found.missing, found.occurrences.total) == (5, 1, 10)
    assert found.occurrences.counts == {"the": 2, "cat": 2, "sat": 1, ".": 3, "a": 1, "dog": 1}
    assert found.rows_with.counts == {"the": 2, "cat": 2, "sat": 1, ".": 2, "a": 1, "dog": 1}
    assert found.lengths[:5].tolist() == [2, 0, 1, 0, 2]
    assert found.vocabulary(most=10, least_rows=2) == [(".", 2), ("cat", 2), ("the", 2)]
    assert found.vocabulary(most=1, least_rows=1) == [(".", 2)]
    assert found.unknown({".", "cat"}) == pytest.approx(0.5)
    assert [found.length(share) for share in (0.1, 0.5, 0.99)] == [2, 4, 4]


def test_parts_add_up() -> None:
    whole, parts = counted(DOCS), counted(DOCS[:2], [], DOCS[2:])
    assert parts.occurrences == whole.occurrences
    assert parts.rows_with == whole.rows_with
    np.testing.assert_array_equal(parts.lengths, whole.lengths)


def test_nothing_counted() -> None:
    nothing = counted([None, ""])
    assert nothing.length(0.98) == 0
    assert nothing.unknown(set()) == 0.0
    assert nothing.vocabulary(most=5, least_rows=1) == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(0, 30), max_size=40), max_size=6), st.integers(2, 12))
def test_a_full_table_bounds_every_count(batches: list[list[int]], limit: int) -> None:
    """True counts lie between the kept one and the kept one plus `error`, which is at most 2 × total / limit."""
    true: dict[str, int] = {}
    whole = HeavyHitters(limit=limit)
    for batch in batches:
        part = HeavyHitters(limit=limit)
        for token in map(str, batch):
            true[token] = true.get(token, 0) + 1
            part.add([token], [1])
        whole.merge(part)
    assert whole.total == sum(true.values())
    assert whole.error <= 2 * whole.total / limit
    for token, count in true.items():
        assert whole.counts.get(token, 0) <= count <= whole.counts.get(token, 0) + whole.error
    assert len(whole.counts) <= limit


def jaccard(first: str, second: str) -> float:
    one, two = ({tuple(words[i : i + 3]) for i in range(len(words) - 2)} for words in (first.split(), second.split()))
    return len(one & two) / len(one | two)


def documents(rng: np.random.Generator, count: int, length: int = 60) -> list[str]:
    return [" ".join(f"w{word}" for word in rng.integers(0, 5000, length)) for _ in range(count)]


def test_resemblance_is_the_share_of_common_runs() -> None:
    rng = np.random.default_rng(0)
    texts = documents(rng, 40, 80)
    changed = [" ".join(w if rng.random() > place / 150 else "new" for w in t.split()) for place, t in enumerate(texts)]
    first, second = (signatures([pa.array(column)])[0] for column in (texts, changed))
    errors = resemblance(first, second) - [jaccard(*pair) for pair in zip(texts, changed, strict=True)]
    assert abs(errors).max() < 4 * 0.0625  # four standard errors at one half
    assert abs(errors.mean()) < 0.03


def test_near_duplicates_are_found_and_others_are_not() -> None:
    rng = np.random.default_rng(1)
    texts = documents(rng, 500)
    near = [text.rsplit(" ", 2)[0].upper() + " end." for text in texts[:20]]  # Jaccard above 0.9
    assert min(jaccard(a, b.lower()) for a, b in zip(texts, near, strict=False)) > 0.9
    known, asked = signatures([pa.array(texts)])[0], signatures([pa.array(near + documents(rng, 30))])[0]
    best, score = nearest(asked, known)
    assert best[:20].tolist() == list(range(20))
    assert (best[20:] == -1).all()
    assert score[:20].min() >= LEAST
    rows, earlier, _ = pairs(np.concatenate([known, asked]))
    assert rows.tolist() == list(range(500, 520))
    assert earlier.tolist() == list(range(20))


def test_short_and_empty_texts() -> None:
    signature, any_token = signatures([pa.array(["yes", "YES", "no", "", None, "a b", "a b"])])
    assert any_token.tolist() == [True, True, True, False, False, True, True]
    assert resemblance(signature[0], signature[1]) == 1.0
    assert resemblance(signature[0], signature[2]) < 0.2
    assert resemblance(signature[5], signature[6]) == 1.0
    empty, _ = signatures([pa.array([], pa.string())])
    assert empty.shape == (0, 64)
    assert len(pairs(empty)[0]) == 0


def test_columns_count_together_and_apart() -> None:
    a, b = pa.array(["one two three four"]), pa.array(["five six seven eight"])
    both, swapped = signatures([a, b])[0], signatures([b, a])[0]
    assert resemblance(both, swapped)[0] < 0.5
