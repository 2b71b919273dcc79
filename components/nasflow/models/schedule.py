"""Learning rates by step."""

import math
from typing import Any

import keras

from nasflow.core.errors import TrialFailedError

WARM_UP = 0.2
"""Share of the steps in which ``one_cycle`` rises."""
_START = 0.1
"""``one_cycle`` starts at this share of the peak."""
_END = 1e-3
"""Schedules fall to this share of the peak."""
NAMES = ("one_cycle", "cosine", "constant")


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """``one_cycle``: linearly up to the peak in the first 20 % of the steps, then a cosine down to nearly 0 (after
    Smith & Topin 2018). ``cosine``: only the way down. ``constant``: the peak."""

    def __init__(self, kind: str, *, peak: float, steps: int) -> None:
        if kind not in NAMES:
            raise TrialFailedError(f"recipe.schedule: unknown {kind!r}; use one of {', '.join(NAMES)}")
        self._kind, self._peak, self._steps = kind, peak, max(1, steps)

    def __call__(self, step: Any) -> Any:
        """The rate of a step, counted from 0; float32."""
        ops = keras.ops
        if self._kind == "constant":
            return ops.convert_to_tensor(self._peak, dtype="float32")
        share = ops.cast(step, "float32") / self._steps
        warm_up = WARM_UP if self._kind == "one_cycle" else 0.0
        falling = ops.clip((share - warm_up) / (1 - warm_up), 0.0, 1.0)
        factor = ops.maximum(0.5 * (1 + ops.cos(math.pi * falling)), _END)
        if warm_up:
            factor = ops.where(share < warm_up, _START + (1 - _START) * share / warm_up, factor)
        return self._peak * factor

    def get_config(self) -> dict[str, Any]:
        return {"kind": self._kind, "peak": self._peak, "steps": self._steps}
