"""What kind of values a column has, from its type and a sample; how sure that is; and what the YAML says instead.

source                                   kind                              confidence
numbers, booleans, dates of a typed file  numeric, integer, boolean, datetime   1
text of a typed file, or CSV              the share of sampled values that are read as that kind, less where another
                                          reading is as good (codes that are whole numbers, days and months below 13)
lists                                     vector where all rows have so many numbers, else list
`data.columns`                            what it says                      1
"""

import dataclasses
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nasflow.core.errors import DataError
from nasflow.core.spec import ColumnSection
from nasflow.data.dates import UNIX
from nasflow.data.schema import Kind
from nasflow.preprocess import cells
from nasflow.preprocess.moments import FORMATS, read_dates
from nasflow.preprocess.nested import json_lists, lengths
from nasflow.preprocess.planned import PlannedColumn
from nasflow.preprocess.prose import prose
from nasflow.preprocess.reading import read_column

_NUMERIC_SHARE = 0.99
_ENOUGH = 20
_DATES = 1_000
"""Values that formats of dates are tried on."""
_CODES = 10
"""So few different whole numbers may be codes of categories."""
_BOOLEAN = r"^(?i:true|false)$"
_DATE = r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]\d{1,2}:\d{2}.*)?$"
_LIST = r"^\s*\[.*\]\s*$"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a column of one file is."""

    kind: Kind | None
    """None: nothing that can be used."""
    dtype: str
    """Arrow type, or ``null``."""
    reason: str
    confidence: float = 1.0
    length: int | None = None
    format: str | None = None


NOTHING = Found(kind=None, dtype="null", reason="no value in any row")


def infer(values: pa.Array, *, csv: bool, options: ColumnSection | None = None) -> Found:
    """The kind of a sample of values, or the one that `options` gives, checked against them.

    Raises:
        DataError: they cannot be of that kind; the column's name is left to the caller.
    """
    values = cells.plain(values)
    options = options or ColumnSection()
    if pa.types.is_null(values.type):
        return NOTHING
    if options.kind is not None:
        return _given(values, options.kind, options, csv=csv)
    found = _of_type(values, csv=csv, options=options)
    if found.kind is not None:
        try:
            options.check_kind(found.kind)
        except ValueError as error:
            raise DataError(f"{error}, or say its kind") from error
    return found


def _of_type(values: pa.Array, *, csv: bool, options: ColumnSection) -> Found:
    dtype, name = values.type, str(values.type)
    if options.format is not None or options.parts is not None or options.encodings is not None:
        return _given(values, "datetime", options, csv=csv)
    if options.length is not None or options.least_rows is not None:
        return _given(values, "text", options, csv=csv)
    if options.separator is not None:
        return _given(values, "list", options, csv=csv)
    if pa.types.is_boolean(dtype):
        return Found(kind="boolean", dtype="bool", reason="true or false")
    if pa.types.is_integer(dtype):
        return Found(kind="integer", dtype=name, reason=f"whole numbers ({name})")
    if cells.is_number(dtype):
        return Found(kind="numeric", dtype=name, reason=f"numbers ({name})")
    if pa.types.is_timestamp(dtype) or pa.types.is_date(dtype):
        return Found(kind="datetime", dtype=name, reason=f"dates ({name})")
    if pa.types.is_time(dtype) or pa.types.is_duration(dtype):
        return Found(kind="numeric", dtype=name, reason=f"a time of day or a duration ({name}), in seconds")
    if _is_list(dtype):
        return _of_list(values)
    if not cells.is_text(dtype):
        return Found(kind=None, dtype=name, reason=f"{name} values are not supported")
    return _of_text(values, csv=csv)


def _of_text(values: pa.Array, *, csv: bool) -> Found:
    """Numbers where nearly all values of a CSV file parse as such; one slip of the pen does not make it text. In typed
    files numbers that are text stay text: somebody wrote them so."""
    present = pc.drop_null(cells.trimmed(values))
    if not len(present):
        return NOTHING if csv else Found(kind="categorical", dtype="string", reason="text")
    if csv and (numeric := _numbers(present)) is not None:
        return numeric
    share = _share(present, _DATE)
    if share >= _NUMERIC_SHARE:
        return _date_text(present)
    if _share(present, _BOOLEAN) == 1.0:
        return Found(kind="boolean", dtype="bool", reason="true or false")
    if _share(present, _LIST) >= _NUMERIC_SHARE and (lists := json_lists(present)) is not None:
        return _of_list(lists, written="JSON arrays as text: ")
    if (read := prose(present)) is not None:
        return Found(kind="text", dtype="string", reason=read[1], confidence=read[0])
    return Found(kind="categorical", dtype="string", reason="text")


def _numbers(present: pa.Array) -> Found | None:
    found, bad = cells.numbers(present)
    wrong = 0 if bad is None else int(bad.sum())
    if wrong > max((1 - _NUMERIC_SHARE) * len(present), 1 if len(present) >= _ENOUGH else 0):
        return None
    finite = found[np.isfinite(found)]
    share = 1 - wrong / len(present)
    said = "" if not wrong else f" ({share:.1%} of the sampled values)"
    if not (finite == np.rint(finite)).all():
        return Found(kind="numeric", dtype="double", reason=f"numbers{said}", confidence=round(share, 4))
    different = len(np.unique(finite))
    if different <= _CODES < len(finite):
        said += f"; only {different} different ones, which may be codes: if so, say kind: categorical"
        share *= 0.8
    return Found(kind="integer", dtype="int64", reason=f"whole numbers{said}", confidence=round(share, 4))


def _date_text(present: pa.Array) -> Found:
    """The first format that reads nearly all; a second one that reads as many makes it unsure."""
    some = present.take(pa.array(np.unique(np.linspace(0, len(present) - 1, _DATES).astype(np.int64))))
    shares = {form: float(np.isfinite(read_dates(some, form)).mean()) for form in FORMATS}
    best = max(shares, key=lambda form: shares[form])  # of equals the first
    if shares[best] < _NUMERIC_SHARE:
        reason = "looks like dates, but none of the known formats reads them; say data.columns.NAME.format"
        return Found(kind="categorical", dtype="string", reason=f"text that {reason}", confidence=0.5)
    other = next((form for form, share in shares.items() if form != best and share >= _NUMERIC_SHARE), None)
    said = "ISO 8601" if best is None else best
    reason = f"dates as text ({said})"
    confidence = shares[best]
    if other is not None and best is not None:
        reason += f", which {other} reads as well: say data.columns.NAME.format if it is that"
        confidence /= 2
    return Found(kind="datetime", dtype="string", reason=reason, confidence=round(confidence, 4), format=best)


def _of_list(values: pa.Array, written: str = "") -> Found:
    inner, name = values.type.value_type, "string" if written else str(values.type)
    if cells.is_number(inner):
        sizes = lengths(values)
        if len(sizes) and sizes.min() == sizes.max() > 0:
            fixed = pa.types.is_fixed_size_list(values.type)
            return Found(
                kind="vector",
                dtype=name,
                reason=f"{written}{sizes[0]} numbers in every row",
                confidence=1.0 if fixed else 0.9,
                length=int(sizes[0]),
            )
        if not pa.types.is_integer(inner):
            return Found(kind=None, dtype=name, reason=f"{written}lists of different numbers of fractions")
        return Found(kind="list", dtype=name, reason=f"{written}lists of whole numbers, as categories", confidence=0.8)
    if cells.is_text(inner) or pa.types.is_boolean(inner) or pa.types.is_null(inner):
        return Found(kind="list", dtype=name, reason=f"{written}lists of categories", confidence=0.9 if written else 1)
    return Found(kind=None, dtype=name, reason=f"{name} values are not supported")


def _given(values: pa.Array, kind: Kind, options: ColumnSection, *, csv: bool) -> Found:
    """What the YAML says, as far as the values bear it."""
    dtype, name = values.type, str(values.type)
    said = f"data.columns says {kind}" if options.kind else f"an option in data.columns is for {kind} columns"
    textual = cells.is_text(dtype)
    found = Found(kind=kind, dtype="string" if textual else name, reason=said)
    if kind in ("numeric", "integer"):
        fits = textual or cells.is_number(dtype) or pa.types.is_boolean(dtype) or _is_duration(dtype)
        if textual:
            found = dataclasses.replace(found, dtype="int64" if kind == "integer" else "double")
    elif kind == "boolean":
        fits = textual or pa.types.is_boolean(dtype) or cells.is_number(dtype)
        found = dataclasses.replace(found, dtype="bool" if pa.types.is_boolean(dtype) else found.dtype)
    elif kind in ("categorical", "text"):
        fits = textual or pa.types.is_boolean(dtype) or cells.is_number(dtype)
    elif kind == "datetime":
        fits = textual or pa.types.is_timestamp(dtype) or pa.types.is_date(dtype) or cells.is_number(dtype)
        form = options.format
        if form is None and textual:
            form = _date_text(pc.drop_null(cells.trimmed(values))).format
        if cells.is_number(dtype):
            form = form if form in UNIX else "unix"
        found = dataclasses.replace(found, format=form)
    elif kind in ("list", "vector"):
        return _given_list(values, kind, options, found)
    else:
        fits = textual or pa.types.is_binary(dtype) or pa.types.is_large_binary(dtype)
    if not fits:
        raise DataError(f"kind: {kind} cannot be read from {name} values")
    if csv and kind in ("numeric", "integer", "boolean", "datetime"):
        _check_some(values, found)
    return found


def _given_list(values: pa.Array, kind: Kind, options: ColumnSection, found: Found) -> Found:
    lists: Any = values
    if cells.is_text(values.type):
        if options.separator is not None:
            return found
        lists = json_lists(pc.drop_null(cells.trimmed(values)))
        if lists is None:
            raise DataError(f"kind: {kind} needs JSON arrays, or a separator, in text; say data.columns.NAME.separator")
    if not _is_list(lists.type):
        raise DataError(f"kind: {kind} cannot be read from {values.type} values")
    if kind == "list":
        return found
    sizes = lengths(lists)
    if not cells.is_number(lists.type.value_type) or not len(sizes):
        raise DataError(f"kind: vector needs lists of numbers, got {values.type}")
    common = int(np.bincount(sizes).argmax())
    return dataclasses.replace(found, length=common, reason=f"{found.reason}; most rows have {common} numbers")


def _check_some(values: pa.Array, found: Found) -> None:
    """A kind that no value has is a mistake in the YAML, not a million dead letters."""
    present = pc.drop_null(cells.trimmed(values)) if cells.is_text(values.type) else pc.drop_null(values)
    if not len(present) or found.kind is None:
        return
    column = PlannedColumn(name="", kind=found.kind, dtype=found.dtype, reason="", format=found.format, given=True)
    bad = [mask for mask, _ in read_column(present, column, csv=True).wrong]
    if bad and np.logical_or.reduce(bad).mean() > 0.5:
        example = present[int(np.flatnonzero(np.logical_or.reduce(bad))[0])].as_py()
        raise DataError(f"kind: {found.kind} fits less than half of the values, for example not {example!r:.60}")


def _is_list(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype))


def _is_duration(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_time(dtype) or pa.types.is_duration(dtype))


def _share(values: pa.Array, pattern: str) -> float:
    return float(pc.mean(pc.match_substring_regex(values, pattern)).as_py())


def odd_one(values: pa.Array, least: float) -> tuple[float, str] | None:
    """The share of numbers among text that is mostly numbers, and one that is none."""
    present = pc.drop_null(cells.trimmed(values))
    if not len(present):
        return None
    share = _share(present, cells.NUMBER)
    if not least <= share < 1.0:
        return None
    return share, next(v for v in present.to_pylist() if not re.fullmatch(cells.NUMBER, v))
