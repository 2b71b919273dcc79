"""Every metric against scikit-learn's, on random labels and predictions with ties and absent classes."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from nasflow.core import bootstrap
from nasflow.core.errors import SpecError
from nasflow.core.metrics import check_metric, compute, maximised, metrics_of
from nasflow.core.spec import CLASSIFICATION_METRICS, REGRESSION_METRICS, ExperimentSpec, parse_metric

sys.path.insert(0, str(Path(__file__).parent))


def cost_of_misses(labels, predictions):
    """A user's own metric: five for a missed positive, one for a false alarm, per row."""
    chosen = predictions.argmax(1)
    return float((5 * ((labels == 1) & (chosen == 0)) + ((labels == 0) & (chosen == 1))).mean())


def no_number(labels, predictions):
    return "high"


def sklearn_value(metric, labels, predictions):
    chosen = predictions.argmax(1) if predictions.ndim == 2 else predictions
    classes = predictions.shape[1] if predictions.ndim == 2 else None
    binary = classes == 2
    names = list(range(classes)) if classes else None
    one_hot = np.eye(classes)[labels] if classes else None
    match metric:
        case "accuracy":
            return sk.accuracy_score(labels, chosen)
        case "log_loss":
            return sk.log_loss(labels, np.clip(predictions, 1e-7, 1), labels=names)
        case "auc":
            if binary:
                return sk.roc_auc_score(labels, predictions[:, 1])
            return sk.roc_auc_score(labels, predictions, multi_class="ovr", average="macro", labels=names)
        case "average_precision":
            if binary:
                return sk.average_precision_score(labels, predictions[:, 1])
            return sk.average_precision_score(one_hot, predictions, average="macro")
        case "rmse":
            return sk.root_mean_squared_error(labels, predictions)
        case "mse":
            return sk.mean_squared_error(labels, predictions)
        case "mae":
            return sk.mean_absolute_error(labels, predictions)
        case "r2":
            return sk.r2_score(labels, predictions)
    kind, _, average = metric.partition("_")
    function = {"f1": sk.f1_score, "precision": sk.precision_score, "recall": sk.recall_score}[kind]
    return function(labels, chosen, average=average or "binary", zero_division=0)


def draw(rows, classes, seed):
    """Labels of every class, and probabilities rounded so that many are equal."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=rows)])
    raw = (
        np.round(rng.random((len(labels), classes)), 1)
        + 0.05
        + (rng.random(len(labels)) < 0.4)[:, None] * np.eye(classes)[labels]
    )
    return labels, raw / raw.sum(1, keepdims=True)


@pytest.mark.parametrize("metric", CLASSIFICATION_METRICS)
@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 60), classes=st.integers(2, 5), seed=st.integers(0, 10_000))
def test_classification_equals_scikit_learn(metric, rows, classes, seed):
    labels, predictions = draw(rows, classes, seed)
    if metric in metrics_of(classes):
        assert compute(metric, labels, predictions) == pytest.approx(
            sklearn_value(metric, labels, predictions), abs=1e-9
        )


@pytest.mark.parametrize("metric", REGRESSION_METRICS)
def test_regression_equals_scikit_learn(metric):
    rng = np.random.default_rng(1)
    labels, predictions = rng.normal(size=50), rng.normal(size=50)
    assert compute(metric, labels, predictions) == pytest.approx(sklearn_value(metric, labels, predictions))


def test_classes_that_nobody_predicts_and_nobody_has():
    labels = np.array([0, 0, 1, 1, 2])
    predictions = np.eye(4)[[0, 0, 0, 1, 1]]  # class 2 is never predicted, class 3 is nowhere
    # precision 2/3, 1/2, 0; recall 1, 1/2, 0; F1 0.8, 0.5, 0; class 3 does not count
    assert compute("precision_macro", labels, predictions) == pytest.approx((2 / 3 + 1 / 2) / 3)
    assert compute("recall_macro", labels, predictions) == pytest.approx(0.5)
    assert compute("f1_macro", labels, predictions) == pytest.approx(1.3 / 3)
    assert compute("f1_weighted", labels, predictions) == pytest.approx((0.8 * 2 + 0.5 * 2) / 5)


@pytest.mark.parametrize(
    "metric", [*CLASSIFICATION_METRICS, *REGRESSION_METRICS, "test_metrics_sklearn:cost_of_misses"]
)
def test_a_resample_is_the_metric_of_its_rows(metric):
    metric = parse_metric(metric)
    if metric in REGRESSION_METRICS:
        rng = np.random.default_rng(0)
        labels, predictions = rng.normal(size=40), rng.normal(size=40)
    else:
        labels, predictions = draw(40, 2, 3)
    resamples = bootstrap.Resamples(rows=len(labels), count=5, seed=1)
    found = bootstrap.values(metric, labels, predictions, resamples)
    (weights,) = list(resamples.chunks())
    for value, each in zip(found, weights, strict=True):
        rows = np.repeat(np.arange(len(labels)), each.astype(int))
        assert value == pytest.approx(compute(metric, labels[rows], predictions[rows]), abs=1e-9)


def test_a_metric_of_the_users_has_a_direction():
    labels, predictions = np.array([1, 0, 0]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    assert compute("minimise test_metrics_sklearn:cost_of_misses", labels, predictions) == 2.0  # (5 + 1) / 3
    assert not maximised("minimise test_metrics_sklearn:cost_of_misses")
    assert maximised(parse_metric("test_metrics_sklearn:cost_of_misses"))
    with pytest.raises(SpecError, match="'test_metrics_sklearn:no_number' failed: ValueError"):
        compute("maximise test_metrics_sklearn:no_number", labels, predictions)
    with pytest.raises(SpecError, match="cannot import 'nowhere:f'"):
        check_metric("maximise nowhere:f", 2)


def test_what_the_labels_cannot_have_is_refused():
    with pytest.raises(SpecError, match="f1 cannot be computed of 3 classes; use one of accuracy, f1_macro"):
        check_metric("f1", 3)
    with pytest.raises(SpecError, match="accuracy cannot be computed of numbers; use one of rmse, mse"):
        check_metric("accuracy", None)
    check_metric("f1", 2)


def test_objectives_of_the_yaml():
    content = {"task": "tabular_classification", "data": {"train": "a.csv", "label": "y"}}
    named = ExperimentSpec.model_validate({**content, "objective": "minimise shop.scores:cost"})
    assert named.metric == "minimise shop.scores:cost"
    with pytest.raises(ValueError, match="unknown metric 'f1_marco'; did you mean 'f1_macro'"):
        ExperimentSpec.model_validate({**content, "objective": "f1_marco"})
    with pytest.raises(ValueError, match="'rmse' does not fit task tabular_classification"):
        ExperimentSpec.model_validate({**content, "objective": "rmse"})
