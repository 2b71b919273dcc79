import numpy as np
import pytest

from nasflow.evaluate.curves import reliability, thresholded
from nasflow.evaluate.residuals import points, residuals


def test_binary_points_by_hand():
    # positives 0.9 and 0.4, negatives 0.4 and 0.1; accepted where ≥ threshold
    scores = np.array([0.9, 0.4, 0.4, 0.1])
    rates = thresholded(np.array([1, 1, 0, 0]), np.stack([1 - scores, scores], 1), steps=2)
    assert rates.thresholds.tolist() == [1.0, 0.5, 0.0]
    assert rates.recall.tolist() == [0.0, 0.5, 1.0]
    assert rates.false_positive_rate.tolist() == [0.0, 0.0, 1.0]
    assert rates.precision.tolist() == [1.0, 1.0, 0.5]
    assert rates.points()[1] == {"confidenceThreshold": 0.5, "falsePositiveRate": 0.0, "recall": 0.5}


def test_several_classes_are_the_mean_of_one_against_the_rest():
    # class 2 never occurs: only 0 and 1 count.
    # At 0.5 class 0 finds both its rows, class 1 one of two and one alarm of two
    predictions = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    rates = thresholded(np.array([0, 0, 1, 1]), predictions, steps=2)
    assert rates.recall[1] == (1.0 + 0.5) / 2
    assert rates.false_positive_rate[1] == 0.0
    assert thresholded(np.array([0, 0]), predictions[:2], steps=2) is None


def test_reliability_by_hand():
    # bin 0.9: two rows, confidence 0.95, one right; bin 0.6: two rows, confidence 0.65, both right
    predictions = np.array([[0.95, 0.05], [0.95, 0.05], [0.65, 0.35], [0.35, 0.65]])
    found = reliability(np.array([0, 1, 0, 1]), predictions)
    assert found.confidence == pytest.approx([0.65, 0.95])
    assert found.accuracy == [1.0, 0.5]
    assert found.rows == [2, 2]
    assert found.error == pytest.approx((0.35 + 0.45) / 2)


def test_certainty_falls_into_the_last_bin():
    assert reliability(np.array([0]), np.array([[1.0, 0.0]])).error == 0


def test_residuals_by_hand():
    found = residuals(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 1.0]))
    assert found["quantiles"]["0.0"] == -2.0
    assert found["quantiles"]["0.5"] == 0.0
    assert found["quantiles"]["1.0"] == 1.0
    assert (found["labels"], found["predictions"]) == ([1.0, 2.0, 3.0], [1.0, 3.0, 1.0])
    assert residuals(np.ones(2), np.array([np.nan, 2.0]))["predictions"] == [None, 2.0]
    assert len(points(100_000)) == 2000
    assert points(100_000)[-1] == 99_999
