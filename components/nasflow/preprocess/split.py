"""Which split a row belongs to: decided by what the row holds, never by where it stands.

    fingerprint   64 bits of the row's feature values (not its label: exact duplicates stay together even where their
                  labels disagree)
    priority      blake2b(salt + fingerprint) as 64 bits
    bucket        priority mod 10 000

The columns enter in order of their names, numbers as the bits of a float64 (every NaN alike, −0 as 0), text as blake2b
of its UTF-8. Batch size, shard order and column order therefore do not matter.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.core.artifacts import SPLITS
from nasflow.core.spec import SplitSection

BUCKETS = 10_000
TRAIN, VALIDATION, TEST = range(len(SPLITS))

_SEED = np.uint64(0x6E6173666C6F7731)  # "nasflow1": the version of this fingerprint
_SHORT = 64
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def fingerprint_columns(columns: Mapping[str, Any], rows: int) -> NDArray[np.uint64]:
    """uint64 [rows] of float64 arrays and Arrow string arrays, by name."""
    state = np.full(rows, _SEED, np.uint64)
    for name in sorted(columns):
        values = columns[name]
        bits = _text_bits(values) if isinstance(values, pa.Array) else _number_bits(values)
        state = _mix(state ^ _mix(bits))
    return state


def fingerprint_images(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """uint64 [rows] of uint8 [rows, height, width, channels]."""
    flat = np.ascontiguousarray(images).reshape(len(images), -1)
    return _digests(flat[row].data for row in range(len(flat)))


def fingerprint_files(files: NDArray[np.object_]) -> NDArray[np.uint64]:
    """uint64 [rows] of encoded files."""
    return _digests(files)


def priorities(fingerprints: NDArray[np.uint64], salt: str) -> NDArray[np.uint64]:
    """uint64 [rows], uniform and independent of the fingerprint's own bits."""
    prefix = salt.encode()
    data = fingerprints.astype("<u8").tobytes()  # one hash a row is the definition; about 0.6 µs
    return _digests(prefix + data[start : start + 8] for start in range(0, len(data), 8))


def assign(row_priorities: NDArray[np.uint64], split: SplitSection, *, has_test_file: bool) -> NDArray[np.int8]:
    """int8 [rows]: place in `SPLITS`, for rows of the training source."""
    test = 0 if has_test_file else round(split.test * BUCKETS)
    validation = round(split.validation * BUCKETS)
    buckets = row_priorities % np.uint64(BUCKETS)
    return np.where(buckets < test, TEST, np.where(buckets < test + validation, VALIDATION, TRAIN)).astype(np.int8)


def label_bits(labels: Any) -> NDArray[np.uint64]:
    """uint64 [rows] of class names (Arrow strings) or float64 targets: equal labels, equal bits."""
    return _text_bits(labels) if isinstance(labels, pa.Array) else _number_bits(labels)


def occurrence_ranks(row_priorities: NDArray[np.uint64], rows: NDArray[np.int64], file_name: str) -> NDArray[np.uint64]:
    """uint64 [rows], uniform: unlike priorities, those of a row that occurs more than once differ."""
    salt = np.frombuffer(hashlib.blake2b(file_name.encode(), digest_size=8).digest(), "<u8")[0]
    return _mix(row_priorities ^ _mix(rows.astype(np.uint64) ^ salt))


def _number_bits(values: Any) -> NDArray[np.uint64]:
    numbers = np.asarray(values, np.float64) + 0.0  # −0.0 + 0.0 is 0.0
    return np.where(np.isnan(numbers), np.float64("nan"), numbers).view(np.uint64)


def _text_bits(values: pa.Array) -> NDArray[np.uint64]:
    encoded = pc.dictionary_encode(pc.fill_null(values, ""))
    digests = b"".join(map(_text_digest, encoded.dictionary.to_pylist()))
    return np.frombuffer(digests, "<u8")[np.asarray(encoded.indices)] if len(values) else np.empty(0, np.uint64)


def _text_digest(text: str) -> bytes:
    return _short_text_digest(text) if len(text) <= _SHORT else hashlib.blake2b(text.encode(), digest_size=8).digest()


@lru_cache(maxsize=1 << 17)
def _short_text_digest(text: str) -> bytes:
    """Remembered: the next batch mostly holds the same texts."""
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def _digests(items: Any) -> NDArray[np.uint64]:
    return np.frombuffer(b"".join(hashlib.blake2b(item, digest_size=8).digest() for item in items), "<u8")


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Splitmix64's finaliser (Steele et al. 2014, Fast splittable pseudorandom number generators)."""
    with np.errstate(over="ignore"):
        bits = bits + _GOLDEN
        bits = (bits ^ (bits >> np.uint64(30))) * _MIX_1
        bits = (bits ^ (bits >> np.uint64(27))) * _MIX_2
        return bits ^ (bits >> np.uint64(31))
