"""Numbers in the served graph: `nasflow.data.transforms.numeric`; all that are scaled by mean and std at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nasflow.data.transforms._base import SMALLEST_NORMAL
from nasflow.data.transforms.numeric import NumericTransform
from nasflow.models.served._base import Slots


class ServedNumbers(tf.Module):
    """Bounded, scaled, imputed; flags where not finite."""

    def __init__(self, columns: tuple[NumericTransform, ...]) -> None:
        super().__init__(name="numbers")
        self._columns = columns
        ranked = [column.scaling in ("quantile_uniform", "quantile_normal") for column in columns]
        self._affine = [place for place, rank in enumerate(ranked) if not rank]
        self._ranked = [place for place, rank in enumerate(ranked) if rank]

    def __call__(self, raw: Mapping[str, Any]) -> Slots:
        values = tf.stack([raw[column.name] for column in self._columns], axis=1)
        usable = tf.math.is_finite(values)
        # 0.0 for no fill is what the arithmetic of `apply` does, too: its result is thrown away below.
        filled = tf.where(usable, values, self._array("fill", 0.0))
        low, high = self._array("low", -np.inf), self._array("high", np.inf)
        if np.isfinite(low).any() or np.isfinite(high).any():
            filled = tf.minimum(tf.maximum(filled, low), high)
        keep = usable | np.array([column.fill is not None for column in self._columns])
        scaled = tf.where(keep, self._scaled(filled), tf.zeros_like(filled))
        slots = {"numeric": tf.cast(scaled, tf.float32)}
        if flagged := [place for place, column in enumerate(self._columns) if column.indicator]:
            slots["missing"] = tf.cast(tf.gather(~usable, flagged, axis=1), tf.float32)
        return slots

    def _scaled(self, values: Any) -> Any:
        if not self._ranked:
            return self._of_affine(values, range(len(self._columns)))
        parts = [between(values[:, place], self._columns[place])[:, None] for place in self._ranked]
        if self._affine:
            parts.append(self._of_affine(tf.gather(values, self._affine, axis=1), self._affine))
        order = np.argsort([*self._ranked, *self._affine])
        return tf.gather(tf.concat(parts, axis=1), order, axis=1)

    def _of_affine(self, values: Any, places: Sequence[int]) -> Any:
        columns = [self._columns[place] for place in places]
        logarithmic = np.array([column.scaling == "log" for column in columns])
        if logarithmic.any():
            values = tf.where(logarithmic, tf.sign(values) * tf.math.log1p(tf.abs(values)), values)
        mean, std, clip = (
            np.array([getattr(column, field) for column in columns], np.float64) for field in ("mean", "std", "clip")
        )
        return tf.clip_by_value((values - mean) / std, -clip, clip)

    def _array(self, field: str, default: float) -> Any:
        found = [getattr(column, field) for column in self._columns]
        return np.array([default if value is None else value for value in found], np.float64)


def between(values: Any, column: NumericTransform) -> Any:
    """`nasflow.data.transforms.numeric.between`, operation by operation."""
    numbers = tf.where(tf.abs(values) < SMALLEST_NORMAL, tf.zeros_like(values), values)
    knots, targets = tf.constant(column.knots, tf.float64), tf.constant(column.targets, tf.float64)
    inside = tf.clip_by_value(numbers, column.knots[0], column.knots[-1])
    # Not tf.searchsorted, whose reshape refuses an empty batch.
    right = tf.raw_ops.UpperBound(sorted_inputs=knots[None], values=inside[None], out_type=tf.int32)[0]
    left = tf.clip_by_value(right - 1, 0, len(column.knots) - 2)
    low, high = tf.gather(knots, left), tf.gather(knots, left + 1)
    share = (inside - low) / (high - low)
    return tf.gather(targets, left) + share * (tf.gather(targets, left + 1) - tf.gather(targets, left))
