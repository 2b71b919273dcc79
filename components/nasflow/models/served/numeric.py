"""Numbers in the served graph: `nasflow.data.transforms.numeric`, all columns at once."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from nasflow.data.transforms.numeric import NumericTransform
from nasflow.models.served._base import Slots


class ServedNumbers(tf.Module):
    """(x − mean) / std in float64, clipped; 0 and a flag where not finite."""

    def __init__(self, columns: tuple[NumericTransform, ...]) -> None:
        super().__init__(name="numbers")
        self._columns = columns

    def __call__(self, raw: Mapping[str, Any]) -> Slots:
        values = tf.stack([raw[column.name] for column in self._columns], axis=1)
        mean, std, clip = (
            np.asarray([getattr(column, field) for column in self._columns], np.float64)
            for field in ("mean", "std", "clip")
        )
        usable = tf.math.is_finite(values)
        scaled = (tf.where(usable, values, mean) - mean) / std
        scaled = tf.where(usable, tf.clip_by_value(scaled, -clip, clip), tf.zeros_like(scaled))
        slots = {"numeric": tf.cast(scaled, tf.float32)}
        if flagged := [place for place, column in enumerate(self._columns) if column.indicator]:
            slots["missing"] = tf.cast(tf.gather(~usable, flagged, axis=1), tf.float32)
        return slots
