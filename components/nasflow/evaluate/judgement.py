"""Predictions of the model and of its rivals on the same test rows: metrics with intervals, and paired gains."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.artifacts import Estimate
from nasflow.core.bootstrap import Resamples, interval, values, weighted
from nasflow.core.metrics import maximised, reported
from nasflow.core.spec import Metric

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """How much better the model is than a rival; positive is better, in the metric's units."""

    value: float
    """NaN where either has no value."""
    ci95: tuple[float, float]
    """Paired bootstrap; (NaN, NaN) where there is none."""

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 0; False for NaN."""
        return self.ci95[0] > 0 or self.ci95[1] < 0


def estimates(
    labels: Array,
    predictions: Array,
    *,
    classes: int | None,
    resamples: Resamples,
    objective: Metric | None = None,
) -> dict[str, Estimate]:
    """The usual metrics of the task, and the objective, each with its 95 % interval. One without a value (AUC of one
    class, a prediction that is not finite) is left out: a manifest cannot hold NaN."""
    found = {}
    for metric in reported(classes, objective):
        value = weighted(metric, labels, predictions, resamples.weights)
        if np.isfinite(value):
            low, high = interval(values(metric, labels, predictions, resamples))
            finite = bool(np.isfinite([low, high]).all())
            found[str(metric)] = Estimate(value=value, ci95=(low, high) if finite else (value, value))
    return found


def paired_gain(metric: Metric, labels: Array, model: Array, rival: Array, resamples: Resamples) -> Gain:
    """The model's gain over a rival, with both judged on the same resamples of the rows."""
    sign = 1.0 if maximised(metric) else -1.0
    mine, other = (weighted(metric, labels, answers, resamples.weights) for answers in (model, rival))
    value = sign * (mine - other)
    difference = values(metric, labels, model, resamples) - values(metric, labels, rival, resamples)
    return Gain(value=value, ci95=interval(sign * difference))
