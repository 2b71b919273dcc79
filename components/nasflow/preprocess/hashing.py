"""64-bit hashes of numbers and texts, a column at a time in NumPy. They decide which split a row is in: for ever.

They are spread well, and that is all: nothing here withstands somebody who makes up rows that collide.
"""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.data.transforms._base import normal

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_NAN = np.uint64(0x7FF8000000000000)
_WORD = 8
SHORT = 128
"""Texts of more bytes are hashed one by one."""
_WORDS_AT_ONCE = 1 << 15
"""Of `row_bits`: they stay in the processor's cache."""
_BYTES = np.array([(1 << 8 * count) - 1 for count in range(_WORD + 1)], np.uint64)
"""A word's first `count` bytes."""


def mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Splitmix64's step (Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators): a bijection in
    which every bit that comes in moves half of those that go out."""
    with np.errstate(over="ignore"):
        bits = bits + _GOLDEN
        shifted = bits >> np.uint64(30)
        for shift, factor in ((27, _MIX_1), (31, _MIX_2)):
            bits ^= shifted
            bits *= factor
            shifted = np.right_shift(bits, np.uint64(shift), out=shifted)
        bits ^= shifted
    return bits


def word(data: bytes) -> np.uint64:
    """blake2b as one number."""
    return np.frombuffer(hashlib.blake2b(data, digest_size=_WORD).digest(), "<u8")[0]


def number_bits(values: Any) -> NDArray[np.uint64]:
    """The bits of float64 [n]: every NaN alike; −0 and subnormal numbers, which not all machines keep, as 0."""
    numbers = np.asarray(values, np.float64)
    bits = normal(numbers).view(np.uint64)
    gone = np.isnan(numbers)
    if gone.any():
        bits[gone] = _NAN
    return bits


def text_bits(values: pa.Array) -> NDArray[np.uint64]:
    """uint64 [n] of Arrow strings [n] without null.

    Up to `SHORT` bytes of UTF-8: Σ mix(word ^ mix(place)) over its little-endian words of 8 bytes, counted from 1 and
    filled with zeros, then mixed with the length; a function as random as `mix`, as in Zobrist hashing. Longer ones:
    blake2b.
    """
    count = len(values)
    _, offsets, data = values.buffers()
    if not count:
        return np.empty(0, np.uint64)
    places = np.frombuffer(offsets, np.int32)[values.offset : values.offset + count + 1].astype(np.int64)
    start, stop = int(places[0]), int(places[-1])
    padded = np.zeros(stop - start + _WORD, np.uint8)
    padded[: stop - start] = np.frombuffer(data, np.uint8)[start:stop] if data is not None else 0
    words = np.ndarray((stop - start + 1,), "<u8", padded, strides=(1,))  # one at every byte
    places -= start
    sizes = np.diff(places)
    hashes = np.zeros(count, np.uint64)
    with np.errstate(over="ignore"):
        for number in range(-(-min(int(sizes.max()), SHORT) // _WORD)):
            first = number * _WORD
            rows = slice(None) if int(sizes.min()) > first else np.flatnonzero(sizes > first)
            found = words[places[:-1][rows] + first] & _BYTES[np.minimum(sizes[rows] - first, _WORD)]
            hashes[rows] += mix(found ^ mix(np.array([number + 1], np.uint64)))
        hashes = mix(hashes ^ sizes.astype(np.uint64))
    for row in np.flatnonzero(sizes > SHORT).tolist():
        hashes[row] = word(padded[places[row] : places[row + 1]].tobytes())
    return hashes


def row_bits(rows: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """uint64 [n] of the bytes [n, size] of each row: as those of a text, with as many words as it takes."""
    count, size = rows.shape
    words = -(-size // _WORD)
    if size % _WORD:
        rows = np.pad(rows, ((0, 0), (0, words * _WORD - size)))
    keys = mix(np.arange(1, words + 1, dtype=np.uint64))
    hashes = np.empty(count, np.uint64)
    block = max(1, _WORDS_AT_ONCE // max(1, words))
    for start in range(0, count, block):
        part = np.ascontiguousarray(rows[start : start + block]).view("<u8")
        hashes[start : start + block] = mix(part ^ keys).sum(axis=1, dtype=np.uint64)
    return mix(hashes ^ np.uint64(size))


MISSING_TEXT = mix(np.zeros(1, np.uint64))[0]
"""Missing text is empty text (whose hash needs no Arrow, which would look for pandas while this is imported)."""
