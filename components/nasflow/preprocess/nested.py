"""Lists in cells: Arrow lists, JSON arrays in text, or text with a separator."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.data.schema import LIST_SEPARATOR
from nasflow.preprocess import cells


def json_lists(values: pa.Array) -> pa.Array | None:
    """Arrow lists of text that holds JSON arrays, all of numbers or all of text; None where one is something else."""
    try:
        return pa.array([None if text is None else _parsed(text) for text in values.to_pylist()])
    except (ValueError, pa.ArrowException):
        return None


def _parsed(text: str) -> list[Any]:
    found = json.loads(text)
    if not isinstance(found, list) or any(isinstance(element, list | dict) for element in found):
        raise ValueError("no flat array")
    return found


def lengths(values: pa.Array) -> NDArray[np.int64]:
    """Of the lists that are not null."""
    return np.asarray(pc.drop_null(pc.list_value_length(values)), np.int64)


def joined_lists(values: pa.Array, separator: str | None) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Strings [n] of elements joined by `LIST_SEPARATOR` (null where there are none), and which cells are no lists.

    Elements are trimmed, empty ones dropped; numbers become decimal text, booleans ``true`` and ``false``.
    """
    bad = np.zeros(len(values), bool)
    if cells.is_text(values.type):
        text = cells.trimmed(values)
        if separator is not None:
            return _joined(pc.split_pattern(text, separator)), bad
        lists, bad = _readable(text)
        return _joined(lists), bad
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), pa.string()), bad
    return _joined(values), bad


def vectors(values: pa.Array, length: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """float64 [n, length], NaN where a number or the whole list is missing; and which cells are no such lists."""
    bad = np.zeros(len(values), bool)
    if cells.is_text(values.type):
        values, bad = _readable(cells.trimmed(values))
    found = np.full((len(values), length), np.nan)
    if pa.types.is_null(values.type) or not len(values):
        return found, bad
    sizes = np.asarray(pc.fill_null(pc.list_value_length(values), -1), np.int64)
    fits = sizes == length
    bad = bad | ~(fits | (sizes < 0))
    flat = pc.list_flatten(values.filter(pa.array(fits)))
    if len(flat):
        numbers, wrong = cells.numbers(flat)
        found[fits] = numbers.reshape(-1, length)
        if wrong is not None:
            bad[np.flatnonzero(fits)[wrong.reshape(-1, length).any(axis=1)]] = True
    return found, bad


def _readable(text: pa.Array) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Lists of strings; null for missing and for cells that are no JSON arrays, which the mask names."""
    bad = np.zeros(len(text), bool)
    rows: list[list[str | None] | None] = []
    for place, cell in enumerate(text.to_pylist()):
        try:
            rows.append(None if cell is None else [_text(element) for element in _parsed(cell)])
        except ValueError:
            bad[place] = True
            rows.append(None)
    return pa.array(rows, pa.list_(pa.string())), bad


def _text(element: Any) -> str | None:
    if isinstance(element, bool):
        return "true" if element else "false"
    return None if element is None else str(element)


def _joined(lists: pa.Array) -> pa.Array:
    parents = np.asarray(pc.list_parent_indices(lists), np.int64)
    flat = pc.list_flatten(lists)
    if pa.types.is_boolean(flat.type):
        flat = pc.if_else(flat, "true", "false")
    elif not pa.types.is_string(flat.type):
        flat = flat.cast(pa.string())
    flat = pc.utf8_trim_whitespace(pc.replace_substring(flat, LIST_SEPARATOR, " "))
    kept = np.asarray(pc.fill_null(pc.not_equal(flat, ""), fill_value=False))
    flat, parents = flat.filter(pa.array(kept)), parents[kept]
    offsets = np.searchsorted(parents, np.arange(len(lists) + 1)).astype(np.int32)
    texts = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), flat), LIST_SEPARATOR)
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def elements(texts: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """All elements of joined lists, and the row of each."""
    split = pc.split_pattern(pc.drop_null(texts), LIST_SEPARATOR)
    rows = np.flatnonzero(np.asarray(pc.is_valid(texts)))
    return pc.list_flatten(split), rows[np.asarray(pc.list_parent_indices(split), np.int64)]
