"""Text to tokens and token ids, in NumPy and Arrow. `nasflow.models.text_graph` does the same in TensorFlow.

A column is folded (`nasflow.data.characters`) and cut at spaces, all rows at once: no Python loop over rows or tokens.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.data.characters import SAME, SPACE, characters, fold

PADDING_ID, UNKNOWN_ID, FIRST_ID = 0, 1, 2
"""No token; a token that is not in the vocabulary (where unknown ones are not hashed); the first of the vocabulary."""
HASHED_LENGTH = 64
"""The hash of a token sees so many of its characters."""
PRIME = 2**31 - 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The tokens of a column, row after row."""

    values: pa.Array
    """Arrow strings [tokens], none empty."""
    counts: NDArray[np.int64]
    """int64 [rows]."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """int64 [tokens]: each token's row."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def positions(self) -> NDArray[np.int64]:
        """int64 [tokens]: each token's place in its row, from 0."""
        starts = np.cumsum(self.counts) - self.counts
        return np.arange(len(self.values)) - np.repeat(starts, self.counts)


def tokenise(values: pa.Array) -> Tokens:
    """Arrow strings [rows] (null: no tokens) to tokens.

    >>> tokens = tokenise(pa.array(["Hello, World!", None, "  ", "LAST"]))
    >>> tokens.values.to_pylist(), tokens.counts.tolist()
    (['hello', ',', 'world', '!', 'last'], [4, 0, 0, 1])
    """
    text = pa.concat_arrays([pc.fill_null(values, "").cast(pa.string())])  # a copy whose offsets start at 0
    offsets = np.frombuffer(text.buffers()[1], np.int32, count=len(text) + 1) if len(text) else np.zeros(1, np.int32)
    if not offsets[-1]:
        return Tokens(values=pa.array([], pa.string()), counts=np.zeros(len(text), np.int64))
    folded: NDArray[np.integer]
    lengths: NDArray[np.integer]
    data = np.frombuffer(text.buffers()[2], np.uint8, count=int(offsets[-1]))
    if data.max() < 0x80:
        folded, lengths, ends = *_folded_ascii(data), offsets[1:]
    else:
        code_points = np.frombuffer(data.tobytes().decode().encode("utf-32-le"), np.int32)
        folded, lengths = _folded(code_points)
        ends = np.cumsum(pc.utf8_length(text).to_numpy())
    return _cut(folded, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])[ends])


@functools.cache
def _ascii() -> NDArray[np.uint8]:
    """uint8 [128, 3]: each ASCII character's replacement, 0 where it is shorter."""
    table = np.zeros((128, 3), np.uint8)
    for character, replacement in enumerate(map(fold, map(chr, range(128)))):
        table[character, : len(replacement)] = list(replacement.encode())
    return table


def _folded_ascii(data: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    replaced = _ascii()[data].reshape(-1)
    return replaced[replaced != 0], (_ascii() != 0).sum(axis=1, dtype=np.uint8)[data]


def _folded(code_points: NDArray[np.integer]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Replacements of all characters, one after the other, and how long each one is."""
    table = characters()
    places = table.place(code_points)
    lengths = table.lengths[places]
    first = np.cumsum(lengths, dtype=np.int64) - lengths
    inside = np.arange(int(lengths.sum())) - np.repeat(first, lengths)
    found = table.flat[np.repeat(table.starts[:-1][places], lengths) + inside]
    return np.where(found == SAME, np.repeat(code_points, lengths), found).astype(np.int32), lengths


def _cut(folded: NDArray[np.integer], ends: NDArray[np.int64]) -> Tokens:
    """Words between spaces; `ends`: where in `folded` each row ends, none going on in the next."""
    inside = folded != SPACE
    before = np.zeros(len(folded) + 1, bool)
    before[1:] = inside
    before[ends] = False
    starts = np.flatnonzero(inside & ~before[:-1])
    counts = np.diff(np.searchsorted(starts, ends), prepend=0)
    kept = folded[inside]
    places = (np.cumsum(inside) - 1)[starts]  # each token's first character among the kept
    if kept.dtype == np.uint8:
        data, offsets = kept.tobytes(), np.append(places, len(kept))
    else:
        data = kept.astype("<u4").tobytes().decode("utf-32-le").encode()
        widths = 1 + (kept >= 0x80) + (kept >= 0x800) + (kept >= 0x10000)
        offsets = np.concatenate([[0], np.cumsum(widths)])[np.append(places, len(kept))]
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return Tokens(values=pa.Array.from_buffers(pa.string(), len(starts), buffers), counts=counts)


def sequences(values: pa.Array, *, vocabulary: Sequence[str], buckets: int = 0, length: int) -> NDArray[np.int32]:
    """int32 [rows, length]: ids of the first `length` tokens, then `PADDING_ID`.

    >>> sequences(pa.array(["a b c", "", "b b"]), vocabulary=["b", "a"], length=2).tolist()
    [[3, 2], [0, 0], [2, 2]]
    """
    tokens = tokenise(values)
    positions = tokens.positions
    kept = positions < length
    found = np.zeros((len(values), length), np.int32)
    found[tokens.rows[kept], positions[kept]] = ids(
        tokens.values.filter(pa.array(kept)), vocabulary=vocabulary, buckets=buckets
    )
    return found


def ids(tokens: pa.Array, *, vocabulary: Sequence[str], buckets: int = 0) -> NDArray[np.int32]:
    """int32 [tokens]: place in the vocabulary + 2; for others 1, or their hash's bucket behind the vocabulary."""
    places = pc.index_in(tokens, value_set=pa.array(vocabulary, pa.string()))
    known = np.asarray(pc.fill_null(places, -1), np.int32)
    if not buckets:
        return np.where(known >= 0, known + FIRST_ID, UNKNOWN_ID).astype(np.int32)
    found = known + FIRST_ID
    strange = np.flatnonzero(known < 0)
    hashed = hashes(tokens.take(pa.array(strange))) % buckets
    found[strange] = FIRST_ID + len(vocabulary) + hashed
    return found


def hash_weights() -> NDArray[np.int64]:
    """int64 [HASHED_LENGTH]: what each character of a token counts, below 2³¹ − 1."""
    return np.random.default_rng(20190423).integers(1, PRIME, HASHED_LENGTH)


def hashes(tokens: pa.Array) -> NDArray[np.int64]:
    """int64 [tokens], 0 ≤ h < 2³¹ − 1: Σ character × weight of its place (Carter and Wegman 1979's universal family
    for vectors), in integers that cannot overflow, so that TensorFlow finds the same.

    >>> first, again, other = hashes(pa.array(["ab", "ab", "ba"])).tolist()
    >>> first == again, first == other
    (True, False)
    """
    if not len(tokens):
        return np.zeros(0, np.int64)
    lengths = pc.utf8_length(tokens).to_numpy().astype(np.int64)
    code_points = np.frombuffer("".join(tokens.to_pylist()).encode("utf-32-le"), np.int32).astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    inside = np.arange(len(code_points)) - np.repeat(starts, lengths)
    weighed = np.where(inside < HASHED_LENGTH, code_points * hash_weights()[np.minimum(inside, HASHED_LENGTH - 1)], 0)
    return np.add.reduceat(weighed, starts) % PRIME
