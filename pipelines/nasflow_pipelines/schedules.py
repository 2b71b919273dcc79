"""Cron as people write it, checked, and in the forms that Kubeflow Pipelines and Argo take."""

import re
import zoneinfo
from typing import NamedTuple

from nasflow.core.errors import UserError


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    """What may be written for the numbers from `low` on."""


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")),
    _Field("day of week", 0, 6, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")),
)
_SECOND = _Field("second", 0, 59)
_ITEM = re.compile(r"(?:[*?]|([0-9]+|[A-Za-z]{3})(?:-([0-9]+|[A-Za-z]{3}))?)(?:/([1-9][0-9]*))?")
"""Of a list: everything, a value or a range, and a step. Both servers parse with Go's robfig/cron: it takes no more."""


def six_fields(cron: str) -> str:
    """KFP's cron has the seconds first; five fields get ``0`` there, six are kept.

    >>> six_fields("30 4 * * 1")
    '0 30 4 * * 1'

    Raises:
        UserError: not five or six fields, or a value that its field cannot hold.
    """
    fields = cron.split()
    if len(fields) not in (5, 6):
        raise UserError(_expected("`minute hour day-of-month month day-of-week` (or six fields, seconds first)", cron))
    if len(fields) == 5:
        fields.insert(0, "0")
    for text, field in zip(fields, (_SECOND, *_FIELDS), strict=True):
        _check(text, field, cron)
    return " ".join(fields)


def five_fields(cron: str) -> str:
    """Argo's cron has no seconds.

    >>> five_fields(" 30  4 * * MON-FRI")
    '30 4 * * MON-FRI'

    Raises:
        UserError: not five fields, or a value that its field cannot hold.
    """
    fields = cron.split()
    if len(fields) != 5:
        raise UserError(_expected("`minute hour day-of-month month day-of-week`", cron))
    for text, field in zip(fields, _FIELDS, strict=True):
        _check(text, field, cron)
    return " ".join(fields)


def time_zone(name: str) -> str:
    """A time zone by its IANA name.

    Raises:
        UserError: there is none of that name.
    """
    if name not in zoneinfo.available_timezones():
        raise UserError(f"--timezone: no time zone {name!r}; write an IANA name such as Europe/Berlin or Etc/UTC")
    return name


def _expected(form: str, cron: str) -> str:
    return f"--cron: expected {form}, got {cron!r}; for half past four every Monday write '30 4 * * 1'"


def _check(text: str, field: _Field, cron: str) -> None:
    for item in text.split(","):
        found = _ITEM.fullmatch(item)
        if found is None:
            form = f"a value, a range, or * (each with /step if need be) as the {field.name}"
            raise UserError(_expected(form, cron))
        values = [_value(each, field, cron) for each in found.groups()[:2] if each is not None]
        if values != sorted(values):
            raise UserError(
                f"--cron: {field.name}: the range {item} is empty, its end is before its start, in {cron!r}"
            )


def _value(text: str, field: _Field, cron: str) -> int:
    if text.upper() in field.names:
        return field.names.index(text.upper()) + field.low
    if not text.isdigit() or not field.low <= int(text) <= field.high:
        names = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
        sunday = ", where 0 is Sunday" if text == "7" and field.name == "day of week" else ""
        raise UserError(
            f"--cron: {field.name} must be {field.low} to {field.high}{names}{sunday}, got {text} in {cron!r}"
        )
    return int(text)
