"""A hash of text that NumPy and a TensorFlow graph compute exactly alike, for values that no vocabulary holds.

    h(text) = (Σ byteᵢ · rⁱ⁺¹ + length · r) mod p, over the first 1024 bytes of the UTF-8, p = 2³¹ − 1

Polynomial hashing (Carter and Wegman 1979, Universal classes of hash functions, §2; the base is fixed, so this is no
defence against somebody who wants collisions): all sums stay below 2⁶³, so that no platform's overflow matters.
TensorFlow's own FarmHash and SipHash have no counterpart in NumPy or Arrow. Fixed for ever: a test holds golden values.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

PRIME = 2**31 - 1
BASE = 1_103_515_245
MOST_BYTES = 1024
POWERS = tuple(pow(BASE, place + 1, PRIME) for place in range(MOST_BYTES))
_POWERS = np.asarray(POWERS, np.int64)


def hash_texts(texts: pa.Array) -> NDArray[np.int64]:
    """int64 [n], from 0 to `PRIME` − 1, of Arrow strings; null counts as "".

    >>> hash_texts(pa.array(["", "a", None])).tolist()
    [0, 770311660, 0]
    """
    filled = texts.fill_null("").cast(pa.large_string())
    if not len(filled):
        return np.empty(0, np.int64)
    _, offsets, data = filled.buffers()
    ends = np.frombuffer(offsets, np.int64)[filled.offset : filled.offset + len(filled) + 1]
    content = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    lengths = np.diff(ends)
    used = np.minimum(lengths, MOST_BYTES)
    rows = np.repeat(np.arange(len(filled)), used)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(used) - used, used)
    terms = content[ends[:-1][rows] + places].astype(np.int64) * _POWERS[places]
    sums = np.bincount(rows, weights=terms, minlength=len(filled))  # below 2⁴⁹: exact in float64
    hashes: NDArray[np.int64] = (sums.astype(np.int64) + lengths % PRIME * BASE) % PRIME
    return hashes


def buckets_of(texts: pa.Array, buckets: int) -> NDArray[np.int64]:
    """int64 [n], from 0 to `buckets` − 1."""
    return hash_texts(texts) % buckets
