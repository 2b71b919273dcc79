"""Vectors in the served graph: `nasflow.data.transforms.vectors`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from nasflow.data.transforms.vectors import VectorTransform
from nasflow.models.served._base import Slots


class ServedVectors(tf.Module):
    """(x − mean) / std of each place; 0 and a flag where not finite."""

    def __init__(self, columns: tuple[VectorTransform, ...]) -> None:
        super().__init__(name="vectors")
        self._columns = columns

    def __call__(self, raw: Mapping[str, Any]) -> Slots:
        scaled, flags = [], []
        for column in self._columns:
            values = raw[column.name]
            usable = tf.math.is_finite(values)
            mean, std = np.asarray(column.mean), np.asarray(column.std)
            found = tf.clip_by_value((tf.where(usable, values, mean) - mean) / std, -column.clip, column.clip)
            scaled.append(tf.cast(tf.where(usable, found, tf.zeros_like(found)), tf.float32))
            if column.indicator:
                flags.append(tf.cast(~tf.reduce_all(usable, axis=1), tf.float32))
        slots = {"plain": tf.concat(scaled, axis=1)}
        return slots | ({"missing": tf.stack(flags, axis=1)} if flags else {})
