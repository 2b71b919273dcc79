"""Confidence intervals by the bootstrap: how far a metric moves when other rows had been drawn.

A resample is a vector of weights (how often each row was drawn), so whatever is the same in all resamples (sorting,
losses, ranks) is computed once. Two models judged on the same `Resamples` are paired: the interval of their difference
is that of the gain, narrower than the two intervals suggest.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.metrics import COUNTED, SMALLEST_PROBABILITY, compute, of_counts
from nasflow.core.spec import Metric, is_custom

Array = NDArray[Any]
Weights = NDArray[np.float64]

_CHUNK_CELLS = 2_000_000
"""Weights held at once: 16 MB."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Resamples:
    """The same draws each time they are iterated."""

    rows: int
    count: int
    seed: int
    weights: Weights | None = dataclasses.field(default=None, compare=False)
    """How much each row counts, float64 [rows]; None: all alike. Rows are drawn alike, and count by their weight."""

    def chunks(self) -> Iterator[Weights]:
        """How often each row was drawn, float64 [resamples of this chunk, rows]; each resample sums to `rows`."""
        rng = np.random.default_rng(self.seed)
        step = max(1, _CHUNK_CELLS // max(1, self.rows))
        for start in range(0, self.count, step):
            size = min(step, self.count - start)
            picks = rng.integers(0, self.rows, (size, self.rows))
            picks += np.arange(size)[:, None] * self.rows
            counts = np.bincount(picks.ravel(), minlength=size * self.rows)
            yield counts.reshape(size, self.rows).astype(np.float64)


def values(metric: Metric, labels: Array, predictions: Array, resamples: Resamples) -> NDArray[np.float64]:
    """The metric of every resample, float64 [count]; NaN where it has none (AUC of one class).

    All NaN for predictions that are not finite; empty for no rows.
    """
    if not len(labels):
        return np.empty(0)
    if not np.isfinite(predictions).all():
        return np.full(resamples.count, np.nan)
    if is_custom(metric):
        of_draws = _custom(metric, resamples.weights)(labels, predictions)
        return np.concatenate([of_draws(draws) for draws in resamples.chunks()])
    of_weights = _METRICS[metric](labels, predictions)
    counts: float | Weights = 1.0 if resamples.weights is None else resamples.weights
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.concatenate([of_weights(draws * counts) for draws in resamples.chunks()])


def weighted(metric: Metric, labels: Array, predictions: Array, weights: Weights | None) -> float:
    """`nasflow.core.metrics.compute` of rows that count by their weight, as scikit-learn's ``sample_weight``.

    >>> weighted("accuracy", np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([3.0, 1.0]))
    0.75

    Raises:
        SpecError: see `nasflow.core.metrics.compute`.
    """
    if weights is None or is_custom(metric) or not len(labels) or not np.isfinite(predictions).all():
        return compute(metric, labels, predictions, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(_METRICS[metric](labels, predictions)(np.asarray(weights, np.float64)[None])[0])


def interval(resampled: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentile interval (Efron & Tibshirani 1993, §13.3) of `values`; NaNs are left out; (NaN, NaN) for none.

    >>> interval(np.arange(1001.0))
    (25.0, 975.0)
    """
    finite = resampled[np.isfinite(resampled)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


_OfWeights = Callable[[Weights], NDArray[np.float64]]


def _mean_of(of_rows: Array) -> _OfWeights:
    return lambda weights: weights @ of_rows / weights.sum(1)


def _accuracy(labels: Array, predictions: Array) -> _OfWeights:
    return _mean_of((predictions.argmax(1) == labels).astype(np.float64))


def _log_loss(labels: Array, predictions: Array) -> _OfWeights:
    chosen = predictions[np.arange(len(labels)), labels] / predictions.sum(1)
    return _mean_of(-np.log(np.clip(chosen, SMALLEST_PROBABILITY, 1.0)))


def _counted(metric: Metric) -> Callable[[Array, Array], _OfWeights]:
    """Of the confusion counts of each resample."""

    def of_rows(labels: Array, predictions: Array) -> _OfWeights:
        classes = predictions.shape[1]
        cells = labels * classes + predictions.argmax(1)
        seen, places = np.unique(cells, return_inverse=True)
        members = np.zeros((len(labels), len(seen)))
        members[np.arange(len(labels)), places] = 1.0

        def of_weights(weights: Weights) -> NDArray[np.float64]:
            counts = np.zeros((len(weights), classes * classes))
            counts[:, seen] = weights @ members
            return np.asarray(of_counts(metric, counts.reshape(-1, classes, classes)))

        return of_weights

    return of_rows


def _auc(labels: Array, predictions: Array) -> _OfWeights:
    count = predictions.shape[1]
    which = [1] if count == 2 else [k for k in range(count) if (labels == k).any()]
    parts = [_binary_auc(labels == k, predictions[:, k]) for k in which]

    def of_weights(weights: Weights) -> NDArray[np.float64]:
        scores = np.stack([part(weights) for part in parts])
        defined = np.isfinite(scores)
        return np.asarray(np.where(defined, scores, 0.0).sum(0) / defined.sum(0))  # 0 / 0 is NaN: no class has a value

    return of_weights


def _binary_auc(positive: Array, scores: Array) -> _OfWeights:
    """Mann–Whitney U of weighted rows: each positive beats the negatives below it, and half of those level with it."""
    positives, negatives = np.flatnonzero(positive), np.flatnonzero(~positive)
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    below = np.searchsorted(scores[negatives], scores[positives], side="left")  # negatives below each positive
    upto = np.searchsorted(scores[negatives], scores[positives], side="right")  # … and level with it

    def of_weights(weights: Weights) -> NDArray[np.float64]:
        of_positive = weights[:, positives]
        totals = np.zeros((len(weights), len(negatives) + 1))
        np.cumsum(weights[:, negatives], axis=1, out=totals[:, 1:])
        wins = (totals[:, below] + totals[:, upto]) / 2
        won = np.einsum("ij,ij->i", of_positive, wins)
        return np.asarray(won / (of_positive.sum(1) * totals[:, -1]))

    return of_weights


def _average_precision(labels: Array, predictions: Array) -> _OfWeights:
    count = predictions.shape[1]
    which = [1] if count == 2 else [k for k in range(count) if (labels == k).any()]
    parts = [_binary_average_precision(labels == k, predictions[:, k]) for k in which]

    def of_weights(weights: Weights) -> NDArray[np.float64]:
        scores = np.stack([part(weights) for part in parts])
        defined = np.isfinite(scores)
        return np.asarray(np.where(defined, scores, 0.0).sum(0) / defined.sum(0))

    return of_weights


def _binary_average_precision(positive: Array, scores: Array) -> _OfWeights:
    order = np.argsort(-scores, kind="stable")
    hit = positive[order].astype(np.float64)
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last row ends a group

    def of_weights(weights: Weights) -> NDArray[np.float64]:
        ordered = weights[:, order]
        hits, rows = np.cumsum(ordered * hit, axis=1)[:, ends], np.cumsum(ordered, axis=1)[:, ends]
        precision = hits / np.where(rows > 0, rows, 1.0)
        return np.asarray((np.diff(hits, axis=1, prepend=0.0) * precision).sum(1) / hits[:, -1])

    return of_weights


def _mse(labels: Array, predictions: Array) -> _OfWeights:
    return _mean_of((labels - predictions) ** 2)


def _custom(metric: Metric, weights: Weights | None) -> Callable[[Array, Array], _OfWeights]:
    """Calls the user's function once a resample, with its rows and their weights."""

    def of_rows(labels: Array, predictions: Array) -> _OfWeights:
        def of_draws(draws: Weights) -> NDArray[np.float64]:
            drawn = (np.repeat(np.arange(len(labels)), each.astype(np.int64)) for each in draws)
            return np.array(
                [
                    compute(metric, labels[rows], predictions[rows], None if weights is None else weights[rows])
                    for rows in drawn
                ]
            )

        return of_draws

    return of_rows


def _rmse(labels: Array, predictions: Array) -> _OfWeights:
    mean = _mean_of((labels - predictions) ** 2)
    return lambda weights: np.sqrt(mean(weights))


def _mae(labels: Array, predictions: Array) -> _OfWeights:
    return _mean_of(np.abs(labels - predictions))


def _r2(labels: Array, predictions: Array) -> _OfWeights:
    centred = labels - labels.mean()  # r² does not depend on the origin; sums of squares are exact only near it
    residual, first, second = _mean_of((labels - predictions) ** 2), _mean_of(centred), _mean_of(centred**2)

    def of_weights(weights: Weights) -> NDArray[np.float64]:
        total = second(weights) - first(weights) ** 2
        return np.where(total > 0, 1 - residual(weights) / total, np.nan)

    return of_weights


_METRICS: Mapping[Metric, Callable[[Array, Array], _OfWeights]] = MappingProxyType(
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
