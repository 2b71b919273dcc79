"""Which split a row belongs to: decided by what the row holds, never by where it stands.

    fingerprint   64 bits of the row's feature values (not its label: exact duplicates stay together even where their
                  labels disagree, in the splits that go by the fingerprint alone)
    priority      the fingerprint, mixed with a hash of the salt
    bucket        priority mod 10 000

A fingerprint is the mixed sum of a hash for each column, of its name and value (`nasflow.preprocess.hashing`). Batch
size, shard order and column order therefore do not matter.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.core.artifacts import SPLITS
from nasflow.core.spec import SplitSection
from nasflow.data.codes import Codes
from nasflow.preprocess.hashing import MISSING_TEXT, mix, number_bits, row_bits, text_bits, word

BUCKETS = 10_000
TRAIN, VALIDATION, TEST = range(len(SPLITS))

_SEED = np.uint64(0x6E6173666C6F7732)
"""``nasflow2``: the version of this fingerprint."""


def fingerprint_columns(columns: Mapping[str, Any], rows: int) -> NDArray[np.uint64]:
    """uint64 [rows] of float64 arrays and texts (`Codes`, or Arrow strings), by name."""
    state = np.full(rows, _SEED, np.uint64)
    with np.errstate(over="ignore"):
        for name, values in columns.items():
            state += _column(values, word(name.encode()))
    return mix(state)


def _column(values: Any, salt: np.uint64) -> NDArray[np.uint64]:
    if isinstance(values, pa.Array):
        values = Codes.of(values)
    if isinstance(values, Codes):
        return values.each(mix(_text_hashes(values) ^ salt))
    return mix(number_bits(values) ^ salt)


def _text_hashes(values: Codes) -> NDArray[np.uint64]:
    return values.texts.once(text_bits, text_bits, missing=MISSING_TEXT)


def fingerprint_images(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """uint64 [rows] of uint8 [rows, height, width, channels]."""
    return row_bits(np.ascontiguousarray(images).reshape(len(images), math.prod(images.shape[1:])))


def fingerprint_files(files: NDArray[np.object_]) -> NDArray[np.uint64]:
    """uint64 [rows] of encoded files."""
    return _digests(files)


def joined(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """uint64 [rows]: of rows that are an image and columns."""
    return mix(first ^ mix(second))


def priorities(fingerprints: NDArray[np.uint64], salt: str) -> NDArray[np.uint64]:
    """uint64 [rows], uniform and independent of the fingerprint's own bits."""
    return mix(mix(fingerprints ^ word(salt.encode())))


def assign(row_priorities: NDArray[np.uint64], split: SplitSection, *, has_test_file: bool) -> NDArray[np.int8]:
    """int8 [rows]: place in `SPLITS`, for rows of the training source."""
    test = 0 if has_test_file else round(split.test * BUCKETS)
    validation = round(split.validation * BUCKETS)
    buckets = row_priorities % np.uint64(BUCKETS)
    return np.where(buckets < test, TEST, np.where(buckets < test + validation, VALIDATION, TRAIN)).astype(np.int8)


def label_bits(labels: Any) -> NDArray[np.uint64]:
    """uint64 [rows] of class names (`Codes`, or Arrow strings) or float64 targets: equal labels, equal bits."""
    if isinstance(labels, Codes | pa.Array):
        codes = Codes.of(labels)
        return codes.each(_text_hashes(codes))
    return number_bits(labels)


def occurrence_ranks(row_priorities: NDArray[np.uint64], rows: NDArray[np.int64], file_name: str) -> NDArray[np.uint64]:
    """uint64 [rows], uniform: unlike priorities, those of a row that occurs more than once differ."""
    return mix(row_priorities ^ mix(rows.astype(np.uint64) ^ word(file_name.encode())))


def _digests(items: Any) -> NDArray[np.uint64]:
    return np.frombuffer(b"".join(hashlib.blake2b(item, digest_size=8).digest() for item in items), "<u8")
