"""ROC, precision-recall and reliability of probabilities."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Thresholded:
    """Rates at descending thresholds, float64 [thresholds]; the first threshold accepts nothing but certainty."""

    thresholds: Array
    false_positive_rate: Array
    recall: Array
    precision: Array
    """1.0 where nothing is accepted."""

    def points(self) -> list[dict[str, float]]:
        """As KFP's ClassificationMetrics names them."""
        names = ("confidenceThreshold", "falsePositiveRate", "recall")
        columns = (self.thresholds, self.false_positive_rate, self.recall)
        return [dict(zip(names, map(float, row), strict=True)) for row in zip(*columns, strict=True)]


def thresholded(labels: Array, predictions: Array, *, steps: int = 100) -> Thresholded | None:
    """Of class 1 for two classes; else the mean over classes, one against the rest, at the same threshold.

    A row is accepted where its probability ≥ threshold; thresholds are 1 − k/steps. Classes without both positives and
    negatives are left out; None where none is left.
    """
    classes = predictions.shape[1]
    which = [1] if classes == 2 else list(range(classes))
    thresholds = 1.0 - np.arange(steps + 1) / steps
    parts = []
    for k in which:
        positive = labels == k
        if positive.any() and not positive.all():
            parts.append(_rates(positive, predictions[:, k], thresholds))
    if not parts:
        return None
    false_positive_rate, recall, precision = np.mean(parts, axis=0)
    return Thresholded(
        thresholds=thresholds, false_positive_rate=false_positive_rate, recall=recall, precision=precision
    )


def _rates(positive: Array, scores: Array, thresholds: Array) -> tuple[Array, Array, Array]:
    def accepted(of: Array) -> Array:
        return len(of) - np.searchsorted(np.sort(of), thresholds, side="left")

    hits, alarms = accepted(scores[positive]), accepted(scores[~positive])
    precision = np.where(hits + alarms > 0, hits / np.maximum(hits + alarms, 1), 1.0)
    return alarms / (~positive).sum(), hits / positive.sum(), precision


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How often the predicted class is right, by how sure the model is."""

    confidence: Sequence[float]
    """Mean probability of the predicted class in each bin that has rows."""
    accuracy: Sequence[float]
    rows: Sequence[int]
    error: float
    """Expected calibration error: the mean of |accuracy − confidence|, weighted by rows (Naeini et al. 2015)."""


def reliability(labels: Array, predictions: Array, *, bins: int = 10) -> Reliability:
    """Bins of equal width over the probability of the predicted class."""
    confidence, right = predictions.max(1), predictions.argmax(1) == labels
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(places, minlength=bins)
    used = np.flatnonzero(counts)
    mean_confidence = np.bincount(places, confidence, bins)[used] / counts[used]
    accuracy = np.bincount(places, right, bins)[used] / counts[used]
    error = float((np.abs(accuracy - mean_confidence) * counts[used]).sum() / max(1, len(labels)))
    return Reliability(
        confidence=mean_confidence.tolist(), accuracy=accuracy.tolist(), rows=counts[used].tolist(), error=error
    )
