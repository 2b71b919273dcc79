"""The column that a split goes by (`data.split.key`): read from a batch, to what the split needs of it."""

import dataclasses
import datetime as dt
import math
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.core.artifacts import SPLITS
from nasflow.data.codes import Codes
from nasflow.preprocess import cells
from nasflow.preprocess.split import fingerprint_columns

MISSING = "split key is missing"
NO_TIME = "split key is neither a number nor an ISO 8601 date or time"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlan:
    """How the key is read."""

    name: str
    by: Literal["group", "time", "column"]
    numeric: bool
    """Time only: numbers, compared as they are; else dates, in microseconds since 1970, UTC where they name no zone."""
    splits: tuple[str, ...] = SPLITS
    """Column only: what it may say; without test where the test set is a source of its own."""


def suits(kind: pa.DataType, by: str) -> bool:
    """Whether a column of this type can be a key."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if cells.is_text(kind) or (cells.is_number(kind) and by != "column"):
        return True
    if by == "time":
        return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))
    return by == "group" and bool(pa.types.is_temporal(kind) or pa.types.is_boolean(kind))


def read_keys(values: pa.Array, plan: KeyPlan, *, csv: bool) -> tuple[NDArray[Any], NDArray[np.bool_], str]:
    """Keys [n], which rows have none that can be used, and why.

    group: uint64 hashes of the text, in which ``1``, ``1.0`` and the number 1 are one group. time: float64. column:
    int8 places in `SPLITS`, whatever the case.
    """
    values = cells.plain(values)
    if plan.by == "group":
        groups = Codes.of(_group_names(values, csv=csv))
        return fingerprint_columns({"": groups}, len(groups)), groups.missing, MISSING  # whatever the column is called
    if plan.by == "time":
        times = _times(values, plan)
        return times, ~np.isfinite(times), NO_TIME
    text = pc.utf8_lower(pc.utf8_trim_whitespace(values.cast(pa.string())))
    places = pc.fill_null(pc.index_in(text, value_set=pa.array(plan.splits)), -1)
    reason = f"split is none of {', '.join(plan.splits)}"
    return np.asarray(places, np.int8), np.asarray(pc.less(places, 0)), reason


def shown(time: float | None, plan: KeyPlan) -> float | str | None:
    """A time as a person writes it.

    >>> shown(86_400e6, KeyPlan(name="day", by="time", numeric=False))
    '1970-01-02T00:00:00+00:00'
    """
    return time if time is None or plan.numeric else (_EPOCH + time * _MICROSECOND).isoformat()


def _group_names(values: pa.Array, *, csv: bool) -> pa.Array:
    if pa.types.is_null(values.type):
        return values.cast(pa.string())
    if pa.types.is_temporal(values.type):
        return values.cast(pa.string())
    return cells.class_names(values, csv=csv)


def _times(values: pa.Array, plan: KeyPlan) -> NDArray[np.float64]:
    """float64 [n], NaN where there is no time."""
    kind = values.type
    if plan.numeric:
        return cells.numbers(values)[0]
    if cells.is_text(kind):
        return _iso_times(cells.trimmed(values))
    if pa.types.is_null(kind):
        return np.full(len(values), np.nan)
    zone = kind.tz if pa.types.is_timestamp(kind) else None
    stamps = pc.cast(pc.cast(values, pa.timestamp("us", zone), safe=False), pa.int64())
    return np.asarray(pc.fill_null(pc.cast(stamps, pa.float64(), safe=False), math.nan), np.float64)


def _iso_times(text: pa.Array) -> NDArray[np.float64]:
    try:
        stamps = pc.cast(pc.cast(text, pa.timestamp("us")), pa.int64())  # all alike and without a zone: at one pass
    except pa.ArrowInvalid:
        encoded = pc.dictionary_encode(text)
        times = pa.array([_iso_time(value) for value in encoded.dictionary.to_pylist()], pa.float64())
        return np.asarray(pc.fill_null(pc.take(times, encoded.indices), math.nan), np.float64)
    return np.asarray(pc.fill_null(pc.cast(stamps, pa.float64(), safe=False), math.nan), np.float64)


def _iso_time(text: str) -> float:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return math.nan
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return float((aware - _EPOCH) // _MICROSECOND)
