"""Single-feature screen and suspect labels."""

import numpy as np
import pyarrow as pa
import pytest

from nasflow.preprocess import leaks
from nasflow.preprocess.suspects import confident


def test_what_a_feature_alone_predicts() -> None:
    rng = np.random.default_rng(0)
    rows = 2000
    noise = rng.normal(size=rows)
    label = np.where(noise > 0.3, "yes", "no")
    columns = {
        "threshold": noise,
        "noise": rng.normal(size=rows),
        "only missing": np.where(label == "yes", np.nan, rng.normal(size=rows)),
        "text": pa.array(np.where(label == "yes", "paid", "open")),
        "identifier": pa.array([f"r{n}" for n in range(rows)]),
        "constant": np.zeros(rows),
    }
    found = leaks.scores(columns, pa.array(label))
    assert {name for name, score in found.items() if score >= leaks.AUC} == {"threshold", "only missing", "text"}
    assert found["only missing"] == found["text"] == 1.0
    assert found["noise"] == pytest.approx(0.5, abs=0.05)
    assert found["identifier"] == pytest.approx(0.5, abs=0.05)
    assert found["constant"] == pytest.approx(0.5, abs=0.05)


def test_regression_looks_at_ranks() -> None:
    rng = np.random.default_rng(0)
    cause = rng.normal(size=2000)
    found = leaks.scores({"cause": cause, "noise": rng.normal(size=2000)}, np.exp(4 * cause))
    assert found["cause"] > leaks.R2
    assert found["noise"] < 0.05


def test_few_rows_or_one_class_say_nothing() -> None:
    assert leaks.scores({"x": np.arange(99.0)}, pa.array(["a", "b", "c"] * 33)) == {}
    assert leaks.scores({"x": np.arange(200.0)}, pa.array(["a"] * 200)) == {}


def test_area_by_hand() -> None:
    # Of the 2 × 2 pairs one is in the wrong order, one is tied: (2 + 0.5) / 4. The other class mirrors it.
    member = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float64)
    predicted = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.4, 0.6]])
    assert leaks.auc(member, predicted) == pytest.approx(2.5 / 4)


def test_out_of_fold_means_by_hand() -> None:
    # Two rows a fold, one bin; fold 0 holds 1 and 1, the other eight rows hold 0: mean 0, shrunk by one row of 0.
    answers = np.zeros((10, 1))
    answers[[0, 5]] = 1.0
    found = leaks.out_of_fold(np.zeros(10, np.int64), answers, np.arange(10) % 5)
    assert found[[0, 5], 0].tolist() == [0.0, 0.0]
    assert found[1, 0] == pytest.approx(0.25)  # two ones among eight


def test_confident_learning_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.1, 0.9], [0.75, 0.25]])
    given = np.array([0, 0, 0, 1, 1, 1])
    # thresholds: (0.9 + 0.7 + 0.2) / 3 = 0.6 and (0.6 + 0.9 + 0.25) / 3 = 0.583
    # row 2 reaches only class 1, row 5 only class 0; row 3 reaches its own class
    assert confident(probabilities, given).tolist() == [-1, -1, 1, -1, -1, 0]


def test_a_row_that_reaches_no_threshold_stays() -> None:
    probabilities = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9], [0.5, 0.5]])
    assert confident(probabilities, np.array([0, 1, 1, 0])).tolist() == [-1, -1, -1, -1]
