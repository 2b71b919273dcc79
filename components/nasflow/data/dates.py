"""Dates and times as people and files write them ↔ seconds since 1970-01-01 in UTC, as float64.

A date that names no zone is taken as UTC. What lies outside of the years 1 to 9999 is no date.
"""

import datetime as dt
import math

EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_800.0
"""Seconds: the beginning of the year 1, and of the year 10000 (which is left out)."""
UNIX = {"unix": 1.0, "unix_ms": 1e-3}
"""Formats of numbers, with the length of their unit in seconds."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def seconds_of(text: str, form: str | None = None) -> float:
    """Seconds of an ISO 8601 date or time, or one in a form of `strptime`.

    >>> seconds_of("1970-01-02"), seconds_of("1970-01-01T01:00:00.5+01:00"), seconds_of("02.01.1970", "%d.%m.%Y")
    (86400.0, 0.5, 86400.0)

    Raises:
        ValueError: it is none.
    """
    try:
        moment = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        if form is None or form in UNIX:
            raise
        moment = dt.datetime.strptime(text.strip(), form)  # the zone comes next
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return ((aware - _EPOCH) // _MICROSECOND) / 1e6


def iso_text(seconds: float) -> str | None:
    """ISO 8601 in UTC; None for what is no date.

    >>> iso_text(86400.0), iso_text(0.5), iso_text(float("nan"))
    ('1970-01-02T00:00:00', '1970-01-01T00:00:00.500000', None)
    """
    if not (math.isfinite(seconds) and EARLIEST <= seconds < LATEST):
        return None
    microseconds = min(round(seconds * 1e6), round(LATEST * 1e6) - 1)
    return (_EPOCH + microseconds * _MICROSECOND).replace(tzinfo=None).isoformat()
