"""Values of one column: from what the file holds to float64 numbers or text, and which of them cannot be read."""

import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.data import schema
from nasflow.preprocess.sources.csv_files import MISSING

MAX_TEXT_BYTES = schema.MAX_TEXT_BYTES
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity)$"
"""What counts as a number in text; every match is one that Arrow's parser takes."""
_WHOLE = re.compile(r"([+-]?\d+)\.0+")


def is_text(kind: pa.DataType) -> bool:
    """Strings of any width."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    """Integers, floats, decimals."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def plain(values: pa.Array) -> pa.Array:
    """Dictionary-encoded and wide strings as plain ones."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values.cast(pa.string()) if is_text(values.type) and not pa.types.is_string(values.type) else values


def trimmed(values: pa.Array) -> pa.Array:
    """CSV text without spaces around it; null where what is left means "no value"."""
    text = pc.utf8_trim_whitespace(values)
    return pc.if_else(pc.is_in(text, value_set=pa.array(MISSING)), pa.scalar(None, pa.string()), text)


def numbers(values: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    """float64 [n] with NaN for missing, and which cells are text that is no number (None: all are fine).

    Infinities stay: they are counted, and later treated as missing.
    """
    values = plain(values)
    bad = None
    if is_text(values.type):
        try:
            values = pc.cast(values, pa.float64())  # the clean case, at one pass
        except pa.ArrowInvalid:
            text = trimmed(values)
            fine = pc.match_substring_regex(text, NUMBER)  # null stays null
            bad = np.asarray(pc.fill_null(pc.invert(fine), fill_value=False))
            text = pc.if_else(pc.fill_null(fine, fill_value=False), text, pa.scalar(None, pa.string()))
            values = pc.cast(text, pa.float64())
            bad = bad if bad.any() else None
    else:
        values = pc.cast(values, pa.float64(), safe=False)
    return np.asarray(pc.fill_null(values, float("nan")), np.float64), bad


def text(values: pa.Array, *, csv: bool, lower: bool = False) -> pa.Array:
    """Strings with null for missing; booleans become ``true`` and ``false``."""
    values = plain(values)
    if pa.types.is_null(values.type):  # of this file, which has no value in the column
        return values.cast(pa.string())
    if pa.types.is_boolean(values.type):
        return pc.if_else(values, "true", "false")
    found = trimmed(values) if csv else pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    return pc.utf8_lower(found) if lower else found


def too_long(values: pa.Array) -> NDArray[np.bool_] | None:
    """Which strings are longer than `MAX_TEXT_BYTES`; None where none are."""
    sizes = pc.binary_length(values)
    if (pc.max(sizes).as_py() or 0) <= MAX_TEXT_BYTES:
        return None
    return np.asarray(pc.fill_null(pc.greater(sizes, MAX_TEXT_BYTES), fill_value=False))


def class_names(values: pa.Array, *, csv: bool) -> pa.Array:
    """Labels as text, null for missing: ``1``, ``1.0`` and the number 1 are one class.

    Infinite floats become ``inf`` or ``-inf``; no class can have that name by way of a number.
    """
    values = plain(values)
    if pa.types.is_boolean(values.type) or pa.types.is_null(values.type) or is_text(values.type):
        found = text(values, csv=csv)
    elif pa.types.is_integer(values.type):
        return pc.cast(values, pa.string())
    else:
        numeric = pc.cast(values, pa.float64(), safe=False)
        found = pc.if_else(pc.is_nan(numeric), pa.scalar(None, pa.string()), _float_text(numeric))
    if not csv and not is_number(values.type):
        return found
    encoded = pc.dictionary_encode(found)
    names = [_canonical(name) for name in encoded.dictionary.to_pylist()]
    return pc.take(pa.array(names, pa.string()), encoded.indices)


def renamed(names: pa.Array, mapping: Mapping[str, str]) -> pa.Array:
    """Text with some values replaced; null stays.

    >>> renamed(pa.array(["<=50K.", None, ">50K"]), {"<=50K.": "<=50K"}).to_pylist()
    ['<=50K', None, '>50K']
    """
    if not mapping:
        return names
    places = pc.index_in(names, value_set=pa.array(list(mapping), pa.string()))
    return pc.coalesce(pc.take(pa.array(list(mapping.values()), pa.string()), places), names)


def class_order(name: str) -> tuple[float, str]:
    """Sort key among classes that are all numbers."""
    return float(name), name


def sorted_classes(names: set[str]) -> tuple[str, ...]:
    """As text; numerically where every name is a number.

    >>> sorted_classes({"10", "9", "1"}), sorted_classes({"10", "9", "b"})
    (('1', '9', '10'), ('10', '9', 'b'))
    """
    if all(re.fullmatch(NUMBER, name) for name in names):
        return tuple(sorted(names, key=class_order))
    return tuple(sorted(names))


def _canonical(name: str | None) -> str | None:
    match = _WHOLE.fullmatch(name) if name is not None else None
    return match[1] if match else name


def _float_text(values: pa.Array) -> pa.Array:
    """Python's shortest round-trip text, by distinct value."""
    encoded = pc.dictionary_encode(values)
    names = [None if value is None else repr(value) for value in encoded.dictionary.to_pylist()]
    return pc.take(pa.array(names, pa.string()), encoded.indices)
