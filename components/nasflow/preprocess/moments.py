"""Dates and times in columns of files → seconds since 1970 (UTC), float64; NaN for what is none."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.data.dates import EARLIEST, LATEST, UNIX, seconds_of
from nasflow.preprocess import cells

_DAYS = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d")
FORMATS: tuple[str | None, ...] = (
    None,
    *(day + time for day in _DAYS for time in ("", " %H:%M", " %H:%M:%S")),
)
"""What is tried on text, in this order; None is ISO 8601."""


def read_dates(values: pa.Array, form: str | None) -> NDArray[np.float64]:
    """Dates, timestamps, text in a format (see `FORMATS`, or any of `strptime`) or numbers (`UNIX`); NaN for null and
    for what cannot be read."""
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zone = kind.tz if pa.types.is_timestamp(kind) else None
        stamps = pc.cast(pc.cast(values, pa.timestamp("us", zone), safe=False), pa.int64())
        seconds = np.asarray(pc.fill_null(pc.cast(stamps, pa.float64(), safe=False), float("nan")), np.float64) / 1e6
    elif cells.is_number(kind):
        seconds = cells.numbers(values)[0] * UNIX.get(form or "unix", 1.0)
    elif form in UNIX:
        seconds = cells.numbers(values)[0] * UNIX[form]
    else:
        seconds = _of_text(cells.trimmed(values), form)
    with np.errstate(invalid="ignore"):
        return np.where((seconds >= EARLIEST) & (seconds < LATEST), seconds, np.nan)


def _of_text(text: pa.Array, form: str | None) -> NDArray[np.float64]:
    for zone in (None, "UTC") if form is None else ():  # all alike, without a zone or all with one: one pass
        try:
            stamps = pc.cast(pc.cast(text, pa.timestamp("us", zone)), pa.int64())
            return np.asarray(pc.fill_null(pc.cast(stamps, pa.float64(), safe=False), float("nan")), np.float64) / 1e6
        except pa.ArrowInvalid:
            continue
    encoded = pc.dictionary_encode(text)
    moments = pa.array([_seconds(value, form) for value in encoded.dictionary.to_pylist()], pa.float64())
    return np.asarray(pc.fill_null(pc.take(moments, encoded.indices), float("nan")), np.float64)


def _seconds(text: str, form: str | None) -> float:
    try:
        if form is None:
            return seconds_of(text)
        moment = dt.datetime.strptime(text, form)  # the zone comes next
    except ValueError:
        return float("nan")
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return aware.timestamp()
