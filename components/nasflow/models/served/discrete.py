"""Numbers as categories in the served graph: `nasflow.data.transforms.discrete`."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from nasflow.data.transforms._base import FIRST_ID, MISSING_ID, SMALLEST_NORMAL, UNKNOWN_ID
from nasflow.data.transforms.discrete import DiscreteTransform
from nasflow.models.served._base import Slots


class ServedDiscrete(tf.Module):
    """Numbers → ids: the same comparisons, exact in float64."""

    def __init__(self, columns: tuple[DiscreteTransform, ...]) -> None:
        super().__init__(name="discrete")
        self._columns = columns

    def __call__(self, raw: Mapping[str, Any]) -> Slots:
        return {"discrete": tf.stack([_places(raw[column.name], column) for column in self._columns], axis=1)}


def _places(values: Any, transform: DiscreteTransform) -> Any:
    known = tf.constant(transform.values, tf.float64)
    numbers = tf.where(tf.abs(values) < SMALLEST_NORMAL, tf.zeros_like(values), values)
    # Not tf.searchsorted, whose reshape refuses an empty batch.
    places = tf.raw_ops.LowerBound(sorted_inputs=known[None], values=numbers[None], out_type=tf.int32)[0]
    places = tf.minimum(places, len(transform.values) - 1)
    ids = tf.where(tf.equal(tf.gather(known, places), numbers), places + FIRST_ID, UNKNOWN_ID)
    return tf.where(tf.math.is_finite(numbers), ids, MISSING_ID)
