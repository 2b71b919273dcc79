"""One column of a batch → raw values as `nasflow.data.transforms` takes them, and which cells cannot be read.

A reader for each kind; a new kind is one function and one line of `READERS`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.data.codes import Codes
from nasflow.data.raw import FALSE, TRUE
from nasflow.preprocess import cells
from nasflow.preprocess.encoding import Encoder, among, too_long
from nasflow.preprocess.moments import read_dates
from nasflow.preprocess.nested import joined_lists, vectors
from nasflow.preprocess.planned import PlannedColumn

_TRUTHS = ("true", "false")
_NO_LIST = "\x1e"
"""What no list of texts is read as."""
_TOO_LONG = f"text longer than {cells.MAX_TEXT_BYTES:,} bytes"


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """Raw values, and the cells that are wrong: a mask [n] (None: no cell) with the reason."""

    raw: Any
    """By `nasflow.data.schema.RAW_OF`; wrong cells hold anything."""
    wrong: tuple[tuple[NDArray[np.bool_], str], ...] = ()


def read_column(values: pa.Array, column: PlannedColumn, *, csv: bool, encoder: Encoder | None = None) -> Reading:
    """Reads a column of a batch; `encoder` is that of the batches before."""
    return READERS[column.kind](values, column, csv=csv, encoder=encoder or Encoder())


def _numbers(values: pa.Array, column: PlannedColumn, *, csv: bool, encoder: Encoder) -> Reading:
    if pa.types.is_time(values.type) or pa.types.is_duration(values.type):
        return Reading(_seconds(values))
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    found, bad = cells.numbers(values)
    wrong = () if bad is None else ((bad, "not a number"),)
    if column.given and column.kind == "integer":
        with np.errstate(invalid="ignore"):
            fractional = np.isfinite(found) & (found != np.rint(found))
        wrong = (*wrong, (fractional, "not a whole number"))
    return Reading(found, wrong)


def _seconds(values: pa.Array) -> NDArray[np.float64]:
    kind = values.type
    factor = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}[kind.unit]
    whole = values.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64())
    return np.asarray(pc.fill_null(pc.cast(whole, pa.float64(), safe=False), float("nan")), np.float64) * factor


def _booleans(values: pa.Array, column: PlannedColumn, *, csv: bool, encoder: Encoder) -> Reading:
    codes = encoder.codes(column.name, values, _truths)
    bad = ~(among(codes, _TRUTHS) | codes.missing)
    return Reading(codes, ((bad, "neither true nor false"),) if bad.any() else ())


def _truths(different: pa.Array) -> pa.Array:
    """``true``, ``false``, null, or what is none of them as it is."""
    if pa.types.is_boolean(different.type):
        return cells.text(different, csv=False)
    text = pc.utf8_lower(cells.trimmed(different if cells.is_text(different.type) else different.cast(pa.string())))
    text = pc.if_else(pc.is_in(text, value_set=pa.array(sorted(TRUE))), _TRUTHS[0], text)
    return pc.if_else(pc.is_in(text, value_set=pa.array(sorted(FALSE))), _TRUTHS[1], text)


def _categories(values: pa.Array, column: PlannedColumn, *, csv: bool, encoder: Encoder) -> Reading:
    def read(different: pa.Array) -> pa.Array:
        if cells.is_number(different.type):
            return cells.class_names(different, csv=csv)
        return cells.text(different, csv=csv, lower=column.dtype == "bool")

    codes = encoder.codes(column.name, values, read)
    long = too_long(codes)
    return Reading(codes, () if long is None else ((long, _TOO_LONG),))


def _dates(values: pa.Array, column: PlannedColumn, *, csv: bool, encoder: Encoder) -> Reading:
    values = cells.plain(values)
    if pa.types.is_null(values.type):
        return Reading(np.full(len(values), np.nan))
    seconds = read_dates(values, column.format)
    present = cells.trimmed(values) if cells.is_text(values.type) else values
    bad = np.isnan(seconds) & np.asarray(pc.is_valid(present))
    if pa.types.is_floating(values.type):
        bad &= ~np.isnan(cells.numbers(values)[0])
    return Reading(seconds, ((bad, "not a date or time"),) if bad.any() else ())


def _lists(values: pa.Array, column: PlannedColumn, *, csv: bool, encoder: Encoder) -> Reading:
    if not pa.types.is_dictionary(values.type) and not cells.is_text(values.type):
        codes = Codes.of(joined_lists(values, None)[0])
        bad = np.zeros(len(codes), bool)
    else:

        def read(different: pa.Array) -> pa.Array:
            texts, unreadable = joined_lists(cells.plain(different), column.options.separator)
            return pc.if_else(pa.array(unreadable), _NO_LIST, texts)

        codes = encoder.codes(column.name, values, read)
        bad = among(codes, (_NO_LIST,))
    long = too_long(codes)
    wrong = ((bad, "not a list"),) if bad.any() else ()
    return Reading(codes, wrong if long is None else (*wrong, (long, _TOO_LONG)))


def _vectors(values: pa.Array, column: PlannedColumn, *, csv: bool, encoder: Encoder) -> Reading:
    length = column.length or 0
    found, bad = vectors(cells.plain(values), length)
    return Reading(found, ((bad, f"not a list of {length} numbers"),))


READERS: Mapping[str, Callable[..., Reading]] = MappingProxyType(
    {
        "numeric": _numbers,
        "integer": _numbers,
        "boolean": _booleans,
        "categorical": _categories,
        "datetime": _dates,
        "list": _lists,
        "vector": _vectors,
        "text": _categories,
    }
)
