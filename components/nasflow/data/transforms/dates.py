"""Dates and times: time that passes as numbers, what comes round again as ids, and as points of a circle.

A raw date is seconds since 1970-01-01 in UTC, float64. The calendar is Gregorian at all times (as Python's `datetime`);
year, month and day are counted in whole numbers after Hinnant (chrono-compatible low-level date algorithms, 2013),
which a graph computes exactly alike.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.spec import DatePart
from nasflow.data.dates import EARLIEST, LATEST
from nasflow.data.transforms._base import FIRST_ID, MISSING_ID, ColumnTransform, Frozen, Part, RawColumn, normal
from nasflow.data.transforms.numeric import distinct_edges, flag

CYCLES: Mapping[DatePart, tuple[int, int]] = MappingProxyType(
    {"month": (1, 12), "day": (1, 31), "weekday": (0, 7), "hour": (0, 24), "day_of_year": (1, 366)}
)
"""Parts that come round again: the first value, and how many there are. Monday is weekday 0."""
DAY_SECONDS = 86_400


class DateNumber(Frozen):
    """A part as a number: (x − mean) / std, clipped."""

    part: DatePart
    """``elapsed_days`` (since 1970, with fractions) or ``year``."""
    mean: float
    std: float
    """> 0."""
    edges: tuple[float, ...] = ()
    """In the part's own units; see `NumericTransform.edges`."""


class DateTransform(ColumnTransform):
    """A date's parts, each in the encodings that it has. A missing date (NaN, ±inf, outside of the years 1 to 9999) is
    0 everywhere, and 1.0 in the indicator."""

    numbers: tuple[DateNumber, ...] = ()
    ids: tuple[DatePart, ...] = ()
    """As categories: 0 missing, 2.. the value in its order."""
    cyclical: tuple[DatePart, ...] = ()
    """As (sin, cos) of the turn that the value is of its cycle."""
    weekend: bool = False
    """Whether Saturdays and Sundays have a 1.0."""
    clip: float = 10.0
    indicator: bool

    @property
    def parts(self) -> tuple[Part, ...]:
        here = f"date/{self.name}"
        return (
            *(Part(slot="numeric", name=f"{here}/{n.part}", edges=_edges(n, self.clip)) for n in self.numbers),
            *(Part(slot="plain", name=f"{here}/{part}/{wave}") for part in self.cyclical for wave in ("sin", "cos")),
            *((Part(slot="plain", name=f"{here}/is_weekend"),) if self.weekend else ()),
            *(Part(slot="categorical", name=f"{here}/{part}/id", ids=CYCLES[part][1] + FIRST_ID) for part in self.ids),
            *((flag(self.name),) if self.indicator else ()),
        )

    def apply(self, values: RawColumn) -> list[NDArray[np.generic]]:
        seconds = np.asarray(values, np.float64)
        usable = is_date(seconds)
        found = date_parts(np.where(usable, normal(seconds), 0.0))  # else the floor of −5e-324 would be −1
        columns: list[NDArray[np.generic]] = []
        for number in self.numbers:
            scaled = np.clip((found[number.part] - number.mean) / number.std, -self.clip, self.clip)
            columns.append(np.where(usable, scaled, 0.0).astype(np.float32))
        for part in self.cyclical:
            place = _place(part, found)
            columns += [np.where(usable, wave[place], 0.0).astype(np.float32) for wave in circle(part)]
        if self.weekend:
            columns.append((usable & (found["weekday"] >= 5)).astype(np.float32))
        ids = [np.where(usable, _place(part, found) + FIRST_ID, MISSING_ID) for part in self.ids]
        columns += [each.astype(np.int32) for each in ids]
        if self.indicator:
            columns.append((~usable).astype(np.float32))
        return columns


def is_date(seconds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which are in the years 1 to 9999."""
    with np.errstate(invalid="ignore"):
        return (seconds >= EARLIEST) & (seconds < LATEST)


def circle(part: DatePart) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sine and cosine for each value of a cycle, float64 [size]: tables, so that a graph has the same bits."""
    size = CYCLES[part][1]
    turns = [2 * math.pi * place / size for place in range(size)]
    return np.array([math.sin(turn) for turn in turns]), np.array([math.cos(turn) for turn in turns])


def date_parts(seconds: NDArray[np.float64]) -> dict[DatePart, NDArray[Any]]:
    """All parts of dates in the years 1 to 9999: ``elapsed_days`` float64, the others int64.

    >>> found = date_parts(np.array([951_782_400.0 + 3_600 * 13]))  # 29 February 2000, a Tuesday, one o'clock
    >>> [int(found[part][0]) for part in ("year", "month", "day", "weekday", "hour", "day_of_year", "is_weekend")]
    [2000, 2, 29, 1, 13, 60, 0]
    """
    whole = np.floor(seconds).astype(np.int64)
    days = whole // DAY_SECONDS
    shifted = days + 719_468  # since 1 March of the year 0
    era = shifted // 146_097
    day_of_era = shifted - era * 146_097
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_march_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    march_month = (5 * day_of_march_year + 2) // 153
    day = day_of_march_year - (153 * march_month + 2) // 5 + 1
    month = np.where(march_month < 10, march_month + 3, march_month - 9)
    year = year_of_era + era * 400 + (month <= 2)
    before = year - 1
    new_year = 365 * before + before // 4 - before // 100 + before // 400 - 719_162
    weekday = (days + 3) % 7
    return {
        "elapsed_days": seconds / DAY_SECONDS,
        "year": year,
        "month": month,
        "day": day,
        "weekday": weekday,
        "hour": (whole - days * DAY_SECONDS) // 3_600,
        "day_of_year": days - new_year + 1,
        "is_weekend": (weekday >= 5).astype(np.int64),
    }


def _place(part: DatePart, found: Mapping[DatePart, NDArray[Any]]) -> NDArray[np.int64]:
    return found[part] - CYCLES[part][0]


def _edges(number: DateNumber, clip: float) -> tuple[float, ...]:
    scaled = (np.asarray(number.edges, np.float64) - number.mean) / number.std
    return distinct_edges(np.clip(scaled, -clip, clip))
