"""Which words of their columns' vocabularies texts are: all rows of all columns at once, without a Python object each.

Each vocabulary has a hash table without collisions: multiply, shift, look, compare. Tables are sparse (the square of
the number of words, or more), so that a few random multipliers are enough to find; only the places of known words are
looked at often. Longer vocabularies and words are for dicts.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nasflow.serving.spans import MAX_WIDTH, Spans, key_of

_MAX_WORDS = 256
"""Of a column: 256 KiB or more."""
_TRIES = 64


class Vocabularies:
    """Looks up texts of several columns."""

    def __init__(self, columns: Sequence[Mapping[str, int]], *, unknown: int) -> None:
        """`columns`: each one's words, which must `fits`, and their ids; `unknown`: the id of any other text."""
        longest = max(len(word.encode()) for words in columns for word in words)
        self._width = (longest // 8 + 1) * 8  # one byte more than the longest
        self._unknown = unknown
        keys, ids = [np.full(self._width // 8, ~np.uint64(0))], [unknown]  # entry 0 is nobody's: no UTF-8
        tables, shifts, multipliers = [], [], []
        for words in columns:
            own = np.array([key_of(word, self._width) for word in words])
            multiplier, bits, slots = _without_collisions(own)
            table = np.zeros(1 << bits, np.int32)
            table[slots] = np.arange(len(keys), len(keys) + len(own))
            keys.extend(own)
            ids.extend(words.values())
            tables.append(table)
            shifts.append(64 - bits)
            multipliers.append(multiplier)
        self._keys = [np.ascontiguousarray(part) for part in np.array(keys).T]
        self._ids = np.array(ids, np.int32)
        self._table = np.concatenate(tables)
        sizes = [len(table) for table in tables]
        self._begins = (np.cumsum(sizes) - sizes)[:, np.newaxis]
        self._shifts = np.array(shifts, np.uint64)[:, np.newaxis]
        self._multipliers = list(np.array(multipliers).T[:, :, np.newaxis])

    @staticmethod
    def fits(words: Mapping[str, int]) -> bool:
        """Whether a column can be one of these. Keys end with zeros: those of a word and of the same one with a NUL
        behind it are equal."""
        usual = all(len(word.encode()) < MAX_WIDTH and "\0" not in word for word in words)
        return usual and 0 < len(words) <= _MAX_WORDS

    def ids(self, spans: Spans) -> NDArray[np.int32]:
        """The texts' ids, int32 [columns, rows]; `spans` has the columns in this one's order."""
        keys = spans.keys(self._width)
        parts = [keys[:, :, place] for place in range(keys.shape[2])]
        hashes = parts[0] * self._multipliers[0]
        for part, multiplier in zip(parts[1:], self._multipliers[1:], strict=True):
            hashes += part * multiplier
        hashes >>= self._shifts
        slots = hashes.view(np.int64)
        slots += self._begins
        entries = self._table.take(slots).astype(np.intp)  # once, not in each take
        same = self._keys[0].take(entries) == parts[0]
        for known, part in zip(self._keys[1:], parts[1:], strict=True):
            same &= known.take(entries) == part
        ids: NDArray[np.int32] = np.where(same, self._ids.take(entries), np.int32(self._unknown))
        return ids


def _without_collisions(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], int, NDArray[np.int64]]:
    """A multiplier for each part of the keys [words, parts], the table's bits, and each word's place."""
    least = max(4, (len(keys) ** 2 - 1).bit_length())
    rng = np.random.default_rng(0)
    for tried in range(_TRIES):
        bits = least + tried // 8
        multiplier = np.array(rng.integers(1 << 63, size=keys.shape[1]), np.uint64) | np.uint64(1)
        hashes: NDArray[np.uint64] = (keys * multiplier).sum(axis=1)
        slots = (hashes >> np.uint64(64 - bits)).view(np.int64)
        if len(np.unique(slots)) == len(keys):
            return multiplier, bits, slots
    raise AssertionError(f"{len(keys)} words, {_TRIES} multipliers, and collisions with each")
