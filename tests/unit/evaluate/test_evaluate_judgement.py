import numpy as np
import pytest

from nasflow.core.bootstrap import Resamples
from nasflow.evaluate.judgement import estimates, paired_gain

LABELS = np.array([0, 1] * 200)


def _predictions(right):
    """Certain probabilities; `right` [rows] says where they are right."""
    predictions = np.empty((len(LABELS), 2))
    predictions[np.arange(len(LABELS)), LABELS] = np.where(right, 0.9, 0.1)
    predictions[np.arange(len(LABELS)), 1 - LABELS] = np.where(right, 0.1, 0.9)
    return predictions


def _resamples(rows=400):
    return Resamples(rows=rows, count=500, seed=0)


def test_every_metric_has_its_interval_around_it():
    found = estimates(LABELS, _predictions(np.arange(400) % 10 > 0), classes=2, resamples=_resamples())
    assert list(found) == [
        *("accuracy", "f1_macro", "auc", "log_loss"),
        *("f1", "precision", "recall", "average_precision"),
    ]
    assert found["accuracy"].value == 0.9
    # −(0.9·ln 0.9 + 0.1·ln 0.1)
    assert found["log_loss"].value == pytest.approx(0.3250830)
    assert found["recall"].value == found["recall"].ci95[0] == 1.0  # no 1 is missed here, in any resample
    for name, estimate in found.items():
        assert estimate.ci95[0] < estimate.value < estimate.ci95[1] or name == "recall"


def test_metrics_without_a_value_are_left_out():
    assert estimates(LABELS, _predictions(LABELS == 0) * np.nan, classes=2, resamples=_resamples()) == {}
    one = estimates(np.zeros(4, int), np.full((4, 2), 0.5), classes=2, resamples=_resamples(4))
    assert list(one) == ["accuracy", "f1_macro", "log_loss", "f1", "precision", "recall"]
    # r² of a single row has no total sum of squares
    assert sorted(estimates(np.ones(1), np.ones(1), classes=None, resamples=_resamples(1))) == ["mae", "rmse"]


def test_a_paired_gain_is_narrower_than_two_intervals_suggest():
    # 80 rows wrong for both; the model repairs 10 of them and breaks none: every resample shows a gain ≥ 0
    rival = np.arange(400) >= 80
    model = np.arange(400) >= 70
    gain = paired_gain("accuracy", LABELS, _predictions(model), _predictions(rival), _resamples())
    assert gain.value == pytest.approx(10 / 400)
    # sd of a mean of 400 rows, each 1 with p = 0.025: √(0.025·0.975/400) = 0.0078; ±1.96 of it is 0.010 … 0.040
    assert gain.ci95 == pytest.approx((0.0102, 0.0403), abs=0.004)
    assert gain.significant
    back = paired_gain("accuracy", LABELS, _predictions(rival), _predictions(model), _resamples())
    assert back.ci95 == pytest.approx((-gain.ci95[1], -gain.ci95[0]))


def test_a_gain_is_positive_where_less_is_better_and_less_it_is():
    labels = np.arange(10.0)
    gain = paired_gain("mae", labels, labels + 1, labels + 3, _resamples(10))
    assert (gain.value, gain.ci95) == (2.0, (2.0, 2.0))
    assert paired_gain("mae", labels, labels + 3, labels - 1, _resamples(10)).value == -2.0
    nothing = paired_gain("mae", labels, labels * np.nan, labels, _resamples(10))
    assert np.isnan([nothing.value, *nothing.ci95]).all()
    assert not nothing.significant
