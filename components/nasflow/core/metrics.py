"""The metrics of the YAML, in NumPy: `search` ranks by them, `evaluate` reports them.

Classification takes ``labels`` int [rows] and ``predictions`` float [rows, classes] (probabilities); regression takes
two float arrays [rows]. Where a prediction is not finite, every metric is NaN: a broken model never looks good.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.spec import CLASSIFICATION_METRICS, REGRESSION_METRICS, Metric

Array = NDArray[Any]

SMALLEST_PROBABILITY = 1e-7
"""Log loss never takes the logarithm of less."""


def maximised(metric: Metric) -> bool:
    """Whether more is better."""
    return metric in ("accuracy", "f1_macro", "auc", "r2")


def better(metric: Metric, a: float, b: float) -> bool:
    """Whether `a` is better than `b`; NaN is never better, and always worse than a number.

    >>> better("accuracy", 0.9, 0.8), better("rmse", 0.9, 0.8), better("rmse", 1.0, float("nan"))
    (True, False, True)
    """
    if np.isnan(a):
        return False
    return bool(np.isnan(b) or (a > b if maximised(metric) else a < b))


def gain(metric: Metric, value: float, baseline: float) -> float:
    """How much better `value` is than `baseline`, positive where better, in the metric's units."""
    return value - baseline if maximised(metric) else baseline - value


def metrics_of(classes: int | None) -> tuple[Metric, ...]:
    """The metrics that apply: `classes` as in OutputSpec."""
    return REGRESSION_METRICS if classes is None else CLASSIFICATION_METRICS


def compute(metric: Metric, labels: Array, predictions: Array) -> float:
    """One metric. NaN for no rows, and for `auc` with only one class among the labels.

    >>> compute("accuracy", np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    0.5
    """
    if len(labels) == 0 or not np.isfinite(predictions).all():
        return float("nan")
    return float(_METRICS[metric](labels, predictions))


def confusion(labels: Array, predictions: Array) -> NDArray[np.int64]:
    """Counts [true class, predicted class]; the lower class wins a tie."""
    classes = predictions.shape[1]
    flat = np.bincount(labels * classes + predictions.argmax(1), minlength=classes * classes)
    return flat.reshape(classes, classes)


def _accuracy(labels: Array, predictions: Array) -> float:
    return float((predictions.argmax(1) == labels).mean())


def _f1_macro(labels: Array, predictions: Array) -> float:
    """Mean over the classes that occur among labels or predictions, as scikit-learn's f1_score(average="macro")."""
    counts = confusion(labels, predictions)
    hits, sizes = np.diag(counts), counts.sum(0) + counts.sum(1)
    present = sizes > 0
    return float((2 * hits[present] / sizes[present]).mean())


def _log_loss(labels: Array, predictions: Array) -> float:
    chosen = predictions[np.arange(len(labels)), labels] / predictions.sum(1)
    return float(-np.log(np.clip(chosen, SMALLEST_PROBABILITY, 1.0)).mean())


def _auc(labels: Array, predictions: Array) -> float:
    """Binary: of class 1. Several classes: one-vs-rest, macro mean over the classes present (Hand & Till 2001 use
    one-vs-one; scikit-learn's ``multi_class="ovr"`` is this)."""
    classes = predictions.shape[1]
    which = [1] if classes == 2 else range(classes)
    values = [_binary_auc(labels == k, predictions[:, k]) for k in which]
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def _binary_auc(positive: Array, scores: Array) -> float:
    """Mann–Whitney U over the mean ranks; ties count half. NaN without both classes."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean_ranks = ends - (counts - 1) / 2
    rank_sum = float(mean_ranks[inverse][positive].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def _rmse(labels: Array, predictions: Array) -> float:
    return float(np.sqrt(np.mean((labels - predictions) ** 2)))


def _mae(labels: Array, predictions: Array) -> float:
    return float(np.abs(labels - predictions).mean())


def _r2(labels: Array, predictions: Array) -> float:
    """1 − residual / total sum of squares; NaN where all labels are equal."""
    total = float(((labels - labels.mean()) ** 2).sum())
    return float("nan") if total == 0 else 1 - float(((labels - predictions) ** 2).sum()) / total


_METRICS: Mapping[Metric, Callable[[Array, Array], float]] = MappingProxyType(
    {
        "accuracy": _accuracy,
        "f1_macro": _f1_macro,
        "auc": _auc,
        "log_loss": _log_loss,
        "rmse": _rmse,
        "mae": _mae,
        "r2": _r2,
    }
)
