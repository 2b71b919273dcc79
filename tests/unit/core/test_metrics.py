"""Metrics against scikit-learn, and by hand; the weighted bootstrap against drawing the rows for real."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.core import bootstrap, metrics
from nasflow.core.spec import CLASSIFICATION_METRICS, REGRESSION_METRICS


def _classification(seed: int, rows: int = 60, classes: int = 3, *, ties: bool = False):
    rng = np.random.default_rng(seed)
    predictions = rng.dirichlet(np.ones(classes), rows)
    if ties:
        predictions = np.round(predictions * 4) + 0.5
        predictions /= predictions.sum(1, keepdims=True)
    return rng.integers(0, classes, rows).astype(np.int32), predictions


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("ties", [False, True])
def test_classification_metrics_are_scikit_learns(seed, classes, ties):
    from sklearn import metrics as sk

    labels, predictions = _classification(seed, classes=classes, ties=ties)
    picked = predictions.argmax(1)
    scores = predictions[:, 1] if classes == 2 else predictions
    everyone = list(range(classes))
    expected = {
        "accuracy": sk.accuracy_score(labels, picked),
        "f1_macro": sk.f1_score(labels, picked, average="macro"),
        "auc": sk.roc_auc_score(labels, scores, multi_class="ovr", labels=everyone),
        "log_loss": sk.log_loss(labels, predictions, labels=everyone),
    }
    assert {name: metrics.compute(name, labels, predictions) for name in expected} == pytest.approx(expected)
    assert (metrics.confusion(labels, predictions) == sk.confusion_matrix(labels, picked, labels=everyone)).all()


@pytest.mark.parametrize("seed", range(5))
def test_regression_metrics_are_scikit_learns(seed):
    from sklearn import metrics as sk

    rng = np.random.default_rng(seed)
    labels = rng.normal(1e3, 5, 50)
    predictions = labels + rng.normal(0, 2, 50)
    expected = {
        "rmse": sk.root_mean_squared_error(labels, predictions),
        "mae": sk.mean_absolute_error(labels, predictions),
        "r2": sk.r2_score(labels, predictions),
    }
    assert {name: metrics.compute(name, labels, predictions) for name in expected} == pytest.approx(expected)


def test_auc_by_hand():
    # positives score 0.9 and 0.4, negatives 0.4 and 0.1: 0.9 beats both, 0.4 beats one and ties with one: 3.5 of 4
    labels = np.array([1, 1, 0, 0])
    predictions = np.array([[0.1, 0.9], [0.6, 0.4], [0.6, 0.4], [0.9, 0.1]])
    assert metrics.compute("auc", labels, predictions) == 3.5 / 4


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_prediction_that_is_not_finite_makes_every_metric_nan(bad):
    predictions = np.array([[0.5, 0.5], [bad, 0.5]])
    for name in CLASSIFICATION_METRICS:
        assert np.isnan(metrics.compute(name, np.array([0, 1]), predictions))
        draws = bootstrap.Resamples(rows=2, count=10, seed=0)
        assert np.isnan(bootstrap.values(name, np.array([0, 1]), predictions, draws)).all()


def test_auc_of_one_class_and_r2_of_equal_labels_and_no_rows_are_nan():
    ones = np.full((3, 2), 0.5)
    assert np.isnan(metrics.compute("auc", np.zeros(3, np.int32), ones))
    assert np.isnan(metrics.compute("r2", np.ones(3), np.arange(3.0)))
    assert np.isnan(metrics.compute("rmse", np.empty(0), np.empty(0)))


def _drawn(name, labels, predictions, weights):
    """The metric with every row repeated as often as it was drawn."""
    rows = np.repeat(np.arange(len(labels)), weights.astype(int))
    return metrics.compute(name, labels[rows], predictions[rows])


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000), classes=st.integers(2, 5), rows=st.integers(1, 25), ties=st.booleans(), data=st.data()
)
def test_weighted_resamples_equal_drawing_the_rows(seed, classes, rows, ties, data):
    draws = bootstrap.Resamples(rows=rows, count=12, seed=seed)
    weights = np.concatenate(list(draws.chunks()))
    assert (weights.sum(1) == rows).all()
    name = data.draw(st.sampled_from([*CLASSIFICATION_METRICS, *REGRESSION_METRICS]))
    if name in CLASSIFICATION_METRICS:
        labels, predictions = _classification(seed, rows, classes, ties=ties)
    else:
        rng = np.random.default_rng(seed)
        labels, predictions = rng.normal(10, 1, rows), rng.normal(10, 1, rows)
    found = bootstrap.values(name, labels, predictions, draws)
    expected = [_drawn(name, labels, predictions, row) for row in weights]
    if name == "r2":  # a resample of one repeated row has no total sum of squares, up to rounding
        keep = np.array([len(np.unique(np.flatnonzero(row))) > 1 for row in weights])
        found, expected = found[keep], np.asarray(expected)[keep]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_resamples_do_not_depend_on_the_chunk(monkeypatch):
    draws = bootstrap.Resamples(rows=7, count=9, seed=3)
    whole = np.concatenate(list(draws.chunks()))
    monkeypatch.setattr(bootstrap, "_CHUNK_CELLS", 14)  # two resamples a chunk
    parts = list(draws.chunks())
    assert [len(part) for part in parts] == [2, 2, 2, 2, 1]
    assert (np.concatenate(parts) == whole).all()


def test_the_interval_is_that_of_the_normal_approximation():
    # accuracy 0.8 on 2,000 rows: standard error √(0.8·0.2/2000) = 0.00894, so 0.8 ± 1.96·0.00894
    labels = np.zeros(2000, np.int32)
    predictions = np.tile([[0.9, 0.1]], (2000, 1))
    predictions[:400] = [0.1, 0.9]
    low, high = bootstrap.interval(
        bootstrap.values("accuracy", labels, predictions, bootstrap.Resamples(rows=2000, count=4000, seed=0))
    )
    assert low == pytest.approx(0.8 - 0.01753, abs=0.0015)
    assert high == pytest.approx(0.8 + 0.01753, abs=0.0015)


def test_no_rows_have_no_interval():
    draws = bootstrap.Resamples(rows=0, count=100, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low, high = bootstrap.interval(bootstrap.values("mae", np.empty(0), np.empty(0), draws))
    assert np.isnan([low, high]).all()
