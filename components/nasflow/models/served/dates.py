"""Dates in the served graph: `nasflow.data.transforms.dates`, the same whole numbers."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from nasflow.data.dates import EARLIEST, LATEST
from nasflow.data.transforms._base import FIRST_ID, MISSING_ID, SMALLEST_NORMAL
from nasflow.data.transforms.dates import CYCLES, DAY_SECONDS, DateTransform, circle
from nasflow.models.served._base import Slots


class ServedDates(tf.Module):
    """Seconds since 1970 → numbers, points of circles, ids, flags."""

    def __init__(self, columns: tuple[DateTransform, ...]) -> None:
        super().__init__(name="dates")
        self._columns = columns

    def __call__(self, raw: Mapping[str, Any]) -> Slots:
        found: dict[str, list[Any]] = {"numeric": [], "plain": [], "categorical": [], "missing": []}
        for column in self._columns:
            _fill(found, raw[column.name], column)
        return {slot: tf.stack(columns, axis=1) for slot, columns in found.items() if columns}


def _fill(found: dict[str, list[Any]], seconds: Any, column: DateTransform) -> None:
    usable = (seconds >= EARLIEST) & (seconds < LATEST)  # False for NaN
    counts = usable & (tf.abs(seconds) >= SMALLEST_NORMAL)
    parts = date_parts(tf.where(counts, seconds, tf.zeros_like(seconds)))
    zero = tf.zeros_like(seconds)
    for number in column.numbers:
        value = (tf.cast(parts[number.part], tf.float64) - number.mean) / number.std
        value = tf.clip_by_value(value, -column.clip, column.clip)
        found["numeric"].append(tf.cast(tf.where(usable, value, zero), tf.float32))
    for part in column.cyclical:
        for wave in circle(part):
            value = tf.gather(tf.constant(wave, tf.float64), parts[part] - CYCLES[part][0])
            found["plain"].append(tf.cast(tf.where(usable, value, zero), tf.float32))
    if column.weekend:
        found["plain"].append(tf.cast(usable & (parts["weekday"] >= 5), tf.float32))
    for part in column.ids:
        ids = tf.cast(parts[part] - CYCLES[part][0] + FIRST_ID, tf.int32)
        found["categorical"].append(tf.where(usable, ids, MISSING_ID))
    if column.indicator:
        found["missing"].append(tf.cast(~usable, tf.float32))


def date_parts(seconds: Any) -> dict[str, Any]:
    """`nasflow.data.transforms.dates.date_parts`, operation by operation."""
    whole = tf.cast(tf.floor(seconds), tf.int64)
    days = whole // DAY_SECONDS
    shifted = days + 719_468
    era = shifted // 146_097
    day_of_era = shifted - era * 146_097
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_march_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    march_month = (5 * day_of_march_year + 2) // 153
    day = day_of_march_year - (153 * march_month + 2) // 5 + 1
    month = tf.where(march_month < 10, march_month + 3, march_month - 9)
    year = year_of_era + era * 400 + tf.cast(month <= 2, tf.int64)
    before = year - 1
    new_year = 365 * before + before // 4 - before // 100 + before // 400 - 719_162
    return {
        "elapsed_days": seconds / DAY_SECONDS,
        "year": year,
        "month": month,
        "day": day,
        "weekday": (days + 3) % 7,
        "hour": (whole - days * DAY_SECONDS) // 3_600,
        "day_of_year": days - new_year + 1,
    }
