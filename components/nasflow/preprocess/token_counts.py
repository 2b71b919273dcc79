"""Which tokens a text column has, how often and in how many rows, in bounded memory and mergeable."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.data.tokens import Tokens, tokenise

MOST_COUNTED = 200_000
"""Different tokens that one part holds; with more, frequencies are bounded instead of exact."""
LONGEST = 8_192
"""Rows of more tokens count as this long."""


@dataclasses.dataclass(slots=True)
class HeavyHitters:
    """How often each token occurs: exact up to `limit` different ones; beyond that the frequent ones, with a bound.

    The merge of Misra and Gries's summaries (Agarwal et al. 2012, Mergeable summaries, §3): where there are more than
    `limit`, the count of the (limit / 2 + 1)-th is taken from all, and what is not above 0 is forgotten. A token's true
    count is at least the one here and at most `error` more; `error` <= 2 × total / limit.
    """

    limit: int = MOST_COUNTED
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    total: int = 0
    error: int = 0

    def add(self, tokens: list[str], counts: list[int]) -> None:
        """Adds counts of different tokens."""
        mine = self.counts
        for token, count in zip(tokens, counts, strict=True):
            mine[token] = mine.get(token, 0) + count
        self.total += sum(counts)
        self._shrink()

    def merge(self, other: "HeavyHitters") -> None:
        """Adds another's."""
        self.total -= sum(other.counts.values()) - other.total  # what the other has forgotten still occurred
        self.error += other.error
        self.add(list(other.counts), list(other.counts.values()))

    def _shrink(self) -> None:
        if len(self.counts) <= self.limit:
            return
        values = np.fromiter(self.counts.values(), np.int64, len(self.counts))
        place = len(values) - self.limit // 2 - 1
        taken = int(np.partition(values, place)[place])
        self.counts = {token: count - taken for token, count in self.counts.items() if count > taken}
        self.error += taken

    def top(self, limit: int) -> list[tuple[str, int]]:
        """The most frequent first, ties by text."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))[:limit]


@dataclasses.dataclass(slots=True)
class TokenCounts:
    """Of one text column in one split."""

    rows: int = 0
    missing: int = 0
    """Null."""
    lengths: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(LONGEST + 1, np.int64))
    """Rows of 0, 1, 2, … tokens."""
    occurrences: HeavyHitters = dataclasses.field(default_factory=HeavyHitters)
    """How often a token occurs."""
    rows_with: HeavyHitters = dataclasses.field(default_factory=HeavyHitters)
    """In how many rows."""

    def update(self, values: pa.Array) -> None:
        """Adds Arrow strings [n]; null counts as missing, and as a text without tokens."""
        found = tokenise(values)
        self.rows += len(values)
        self.missing += values.null_count
        self.lengths += np.bincount(np.minimum(found.counts, LONGEST), minlength=LONGEST + 1)
        tokens, occurrences, rows_with = _count(found)
        self.occurrences.add(tokens, occurrences)
        self.rows_with.add(tokens, rows_with)

    def merge(self, other: "TokenCounts") -> None:
        """Adds another's."""
        self.rows += other.rows
        self.missing += other.missing
        self.lengths = self.lengths + other.lengths
        self.occurrences.merge(other.occurrences)
        self.rows_with.merge(other.rows_with)

    def length(self, share: float) -> int:
        """The smallest number of tokens that this share of the rows does not exceed; rows without tokens do not count.

        >>> counts = TokenCounts()
        >>> counts.update(pa.array(["a", "a b", "a b c", None]))
        >>> counts.length(0.5), counts.length(1.0)
        (2, 3)
        """
        reached = np.cumsum(self.lengths[1:])
        return int(np.searchsorted(reached, share * reached[-1] - 1e-9)) + 1 if reached[-1] else 0

    def vocabulary(self, *, most: int, least_rows: int) -> list[tuple[str, int]]:
        """Tokens and in how many rows they are: those in most rows first, of at least `least_rows` rows."""
        return [(token, rows) for token, rows in self.rows_with.top(most) if rows >= least_rows]

    def unknown(self, vocabulary: set[str]) -> float:
        """Share of the tokens that are not in the vocabulary; 0 without tokens."""
        total = self.occurrences.total
        known = sum(count for token, count in self.occurrences.counts.items() if token in vocabulary)
        return 1 - known / total if total else 0.0


def _count(found: Tokens) -> tuple[list[str], list[int], list[int]]:
    """Different tokens; how often each occurs; in how many rows."""
    encoded = pc.dictionary_encode(found.values)
    different = len(encoded.dictionary)
    codes = np.asarray(encoded.indices, np.int64)
    pairs = np.unique(found.rows * different + codes)
    occurrences = np.bincount(codes, minlength=different)
    rows_with = np.bincount(pairs % different, minlength=different) if different else np.zeros(0, np.int64)
    return encoded.dictionary.to_pylist(), occurrences.tolist(), rows_with.tolist()
