"""Five-field cron, as people write it, to KFP's six fields."""

import re

from nasflow.core.errors import UserError

_FIELD = re.compile(r"[\d*?,/\-A-Za-z#]+")
_LIMITS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))


def six_fields(cron: str) -> str:
    """KFP's cron has the seconds first; five fields get ``0`` there, six are kept.

    >>> six_fields("30 4 * * 1")
    '0 30 4 * * 1'

    Raises:
        UserError: not five or six fields, or a number that its field cannot hold.
    """
    fields = cron.split()
    if len(fields) not in (5, 6) or not all(_FIELD.fullmatch(field) for field in fields):
        raise UserError(
            f"--cron: expected `minute hour day-of-month month day-of-week` (or six fields, seconds first), "
            f"got {cron!r}; for half past four every Monday write '30 4 * * 1'"
        )
    for (name, low, high), field in zip(_LIMITS, fields[-5:], strict=True):
        values = re.sub(r"/\d+", "", field)  # a step is no value of the field
        for number in re.findall(r"\d+", values):
            if not low <= int(number) <= high:
                raise UserError(f"--cron: {name} must be {low} to {high}, got {number} in {cron!r}")
    return cron if len(fields) == 6 else f"0 {' '.join(fields)}"
