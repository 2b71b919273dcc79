"""The metrics of the YAML, in NumPy: `search` ranks by them, `evaluate` reports them.

Classification takes ``labels`` int [rows] and ``predictions`` float [rows, classes] (probabilities); regression takes
two float arrays [rows]. Where a prediction is not finite, every metric is NaN: a broken model never looks good.

`f1`, `precision` and `recall` are those of class 1 of two; `_macro` is the mean over the classes that occur among
labels or predictions, `_weighted` the mean by their share of the labels. A share of nothing counts as 0, as in
scikit-learn.
"""

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import SpecError
from nasflow.core.spec import BINARY_METRICS, CLASSIFICATION_METRICS, REGRESSION_METRICS, Metric, is_custom

Array = NDArray[Any]

_MINIMISED = frozenset({"log_loss", "mse", "rmse", "mae"})
COUNTED: tuple[Metric, ...] = (
    "f1",
    "f1_macro",
    "f1_weighted",
    "precision",
    "precision_macro",
    "recall",
    "recall_macro",
)
"""Those that follow from the confusion counts."""

SMALLEST_PROBABILITY = 1e-7
"""Log loss never takes the logarithm of less."""


def maximised(metric: Metric) -> bool:
    """Whether more is better.

    >>> maximised("auc"), maximised("mse"), maximised("minimise shop.scores:cost")
    (True, False, False)
    """
    return metric not in _MINIMISED and not metric.startswith("minimise ")


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
    if classes is None:
        return REGRESSION_METRICS
    return tuple(name for name in CLASSIFICATION_METRICS if classes == 2 or name not in BINARY_METRICS)


def reported(classes: int | None, objective: Metric | None = None) -> tuple[Metric, ...]:
    """What an evaluation tells: not every variant of every metric, but always the objective."""
    always: tuple[Metric, ...] = ("rmse", "mae", "r2")
    if classes is not None:
        always = ("accuracy", "f1_macro", "auc", "log_loss")
        always += ("f1", "precision", "recall", "average_precision") if classes == 2 else ()
    return always if objective is None or objective in always else (*always, objective)


def check_metric(metric: Metric, classes: int | None) -> None:
    """Refuses a metric that the labels do not have, or a function that is not there.

    Raises:
        SpecError: says what to use instead.
    """
    if is_custom(metric):
        _custom(metric)
    elif metric not in metrics_of(classes):
        found = "numbers" if classes is None else f"{classes} classes"
        instead = ", ".join(metrics_of(classes))
        raise SpecError([f"objective: {metric} cannot be computed of {found}; use one of {instead}"])


def compute(metric: Metric, labels: Array, predictions: Array, weights: Array | None = None) -> float:
    """One metric. NaN for no rows, and for `auc` with only one class among the labels.

    `weights` are for functions of the user's only, which are called with a third argument then; for weighted rows in
    general see `nasflow.core.bootstrap.weighted`.

    Raises:
        SpecError: a function of the user's that cannot be imported, fails, or returns no number.

    >>> compute("accuracy", np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    0.5
    """
    if len(labels) == 0 or not np.isfinite(predictions).all():
        return float("nan")
    if is_custom(metric):
        return _call(metric, labels, predictions, weights)
    return float(_METRICS[metric](labels, predictions))


def _custom(metric: Metric) -> Callable[..., Any]:
    module, _, name = metric.rpartition(" ")[2].partition(":")
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        where = f"{module}:{name}"
        raise SpecError([f"objective: cannot import {where!r} ({error}); is its package on PYTHONPATH?"]) from error
    return function


def _call(metric: Metric, labels: Array, predictions: Array, weights: Array | None) -> float:
    function = _custom(metric)
    try:
        return float(function(labels, predictions) if weights is None else function(labels, predictions, weights))
    except Exception as error:  # whatever the user's function does, it is the user's to mend
        problem = (
            f"objective: {metric.rpartition(' ')[2]!r} failed: {type(error).__name__}: {error}; it is called with "
            f"labels {labels.dtype} {list(labels.shape)} and predictions {list(predictions.shape)}"
            f"{'' if weights is None else f', and with weights {list(weights.shape)}'}"
        )
        raise SpecError([problem]) from error


def confusion(labels: Array, predictions: Array) -> NDArray[np.int64]:
    """Counts [true class, predicted class]; the lower class wins a tie."""
    classes = predictions.shape[1]
    flat = np.bincount(labels * classes + predictions.argmax(1), minlength=classes * classes)
    return flat.reshape(classes, classes)


def _accuracy(labels: Array, predictions: Array) -> float:
    return float((predictions.argmax(1) == labels).mean())


def of_counts(metric: Metric, counts: Array) -> Array:
    """A metric of confusion counts [..., true class, predicted class], weighted or not: shape [...]; NaN where there is
    nothing to count."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    true, predicted = counts.sum(-1), counts.sum(-2)
    kind, _, average = metric.partition("_")
    above, below = {
        "f1": (2 * hits, true + predicted),
        "precision": (hits, predicted),
        "recall": (hits, true),
    }[kind]
    each = above / np.where(below > 0, below, 1)
    if not average:
        return np.asarray(np.where(true.sum(-1) > 0, each[..., 1], np.nan))
    shares = true if average == "weighted" else ((true + predicted) > 0).astype(np.float64)
    total = shares.sum(-1)
    return np.asarray(np.where(total > 0, (each * shares).sum(-1) / np.where(total > 0, total, 1), np.nan))


def _counted(metric: Metric) -> Callable[[Array, Array], float]:
    return lambda labels, predictions: float(of_counts(metric, confusion(labels, predictions)))


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


def _average_precision(labels: Array, predictions: Array) -> float:
    """Binary: of class 1. Several classes: the mean over the classes present (scikit-learn's macro average of
    one-vs-rest; a class without labels is left out)."""
    classes = predictions.shape[1]
    which = [1] if classes == 2 else range(classes)
    values = [_binary_average_precision(labels == k, predictions[:, k]) for k in which]
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def _binary_average_precision(positive: Array, scores: Array) -> float:
    """Σ (recallₖ − recallₖ₋₁) · precisionₖ over the distinct scores, highest first; NaN without positives."""
    if not positive.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last row ends a group
    precision = hits[ends] / (ends + 1)
    return float((np.diff(hits[ends] / hits[-1], prepend=0.0) * precision).sum())


def _mse(labels: Array, predictions: Array) -> float:
    return float(np.mean((labels - predictions) ** 2))


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
        "auc": _auc,
        "average_precision": _average_precision,
        "log_loss": _log_loss,
        "mse": _mse,
        "rmse": _rmse,
        "mae": _mae,
        "r2": _r2,
        **{name: _counted(name) for name in COUNTED},
    }
)
