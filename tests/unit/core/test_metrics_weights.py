"""Metrics of rows that count by their weight: scikit-learn's numbers, and whole weights as repeated rows."""

import numpy as np
import pytest
from sklearn import metrics as sk

from nasflow.core.bootstrap import Resamples, values, weighted
from nasflow.core.errors import SpecError
from nasflow.core.metrics import compute, metrics_of

RNG = np.random.default_rng(7)
ROWS = 300


def _of_classes(classes):
    labels = RNG.integers(0, classes, ROWS)
    scores = RNG.random((ROWS, classes)) + 0.7 * np.eye(classes)[labels]
    return labels, np.round(scores / scores.sum(1, keepdims=True), 2) + 1e-3  # rounded: ties


def _sklearn(metric, labels, predictions, weights):
    classes = predictions.shape[1] if predictions.ndim == 2 else None
    if classes is None:
        of = {"mse": sk.mean_squared_error, "rmse": sk.root_mean_squared_error, "mae": sk.mean_absolute_error}
        return (of | {"r2": sk.r2_score})[metric](labels, predictions, sample_weight=weights)
    chosen, shares = predictions.argmax(1), predictions / predictions.sum(1, keepdims=True)
    if metric == "accuracy":
        return sk.accuracy_score(labels, chosen, sample_weight=weights)
    if metric == "log_loss":
        return sk.log_loss(labels, shares, sample_weight=weights)
    if metric in ("auc", "average_precision"):
        of = sk.roc_auc_score if metric == "auc" else sk.average_precision_score
        if classes == 2:
            return of(labels, predictions[:, 1], sample_weight=weights)
        return np.mean([of(labels == k, predictions[:, k], sample_weight=weights) for k in range(classes)])
    kind, _, average = metric.partition("_")
    of = {"f1": sk.f1_score, "precision": sk.precision_score, "recall": sk.recall_score}[kind]
    return of(labels, chosen, average=average or "binary", sample_weight=weights)


@pytest.mark.parametrize("classes", [2, 4, None])
def test_weighted_metrics_are_scikit_learns(classes) -> None:
    weights = RNG.exponential(size=ROWS) * (RNG.random(ROWS) > 0.1)  # some count for nothing
    if classes is None:
        labels = RNG.normal(50, 3, ROWS)
        predictions = labels + RNG.normal(0, 1, ROWS)
    else:
        labels, predictions = _of_classes(classes)
    for metric in metrics_of(classes):
        expected = _sklearn(metric, labels, predictions, weights)
        assert weighted(metric, labels, predictions, weights) == pytest.approx(expected, rel=1e-9), metric
        assert weighted(metric, labels, predictions, None) == compute(metric, labels, predictions)


def test_a_weight_of_three_is_the_row_three_times_over_in_every_resample() -> None:
    labels, predictions = _of_classes(2)
    times = RNG.integers(0, 4, ROWS)
    rows = np.repeat(np.arange(ROWS), times)
    for metric in metrics_of(2):
        repeated = compute(metric, labels[rows], predictions[rows])
        assert weighted(metric, labels, predictions, times.astype(float)) == pytest.approx(repeated)
    resamples = Resamples(rows=ROWS, count=40, seed=1, weights=times.astype(float))
    found = values("accuracy", labels, predictions, resamples)
    hit = predictions.argmax(1) == labels
    (draws,) = resamples.chunks()
    assert found == pytest.approx((draws * times) @ hit / (draws @ times))


def third(labels, predictions, weights):
    return float(weights @ (labels == 1) / weights.sum())


def two(labels, predictions):
    return 0.5


def test_a_function_of_the_users_is_given_the_weights() -> None:
    labels, predictions = np.array([0, 1, 1]), np.full((3, 2), 0.5)
    weights = np.array([2.0, 1.0, 1.0])
    assert weighted(f"maximise {__name__}:third", labels, predictions, weights) == 0.5  # (1 + 1) / 4
    resamples = Resamples(rows=3, count=5, seed=0, weights=weights)
    (draws,) = resamples.chunks()
    expected = (draws * weights) @ (labels == 1) / (draws @ weights)
    assert values(f"maximise {__name__}:third", labels, predictions, resamples) == pytest.approx(expected)
    with pytest.raises(SpecError, match=r"'[\w.]+:two' failed: TypeError.*and with weights \[3\]"):
        weighted(f"maximise {__name__}:two", labels, predictions, weights)
