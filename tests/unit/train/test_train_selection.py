import math

import pytest

from nasflow.core.errors import NasflowError
from nasflow.train.selection import choose, judged


def test_judged_by_hand():
    # mean 0.92, sample standard deviation 0.02·√2
    assert judged("accuracy", [0.90, 0.94]) == pytest.approx(0.92 - 0.02 * math.sqrt(2))
    assert judged("rmse", [2.0, 4.0]) == pytest.approx(3 + math.sqrt(2))
    assert judged("auc", [0.7]) == 0.7
    assert math.isnan(judged("auc", [0.7, math.nan]))
    assert math.isnan(judged("auc", []))


def test_the_steadier_of_two_equal_means_wins():
    choice = choose("accuracy", {0: [0.80, 1.00], 1: [0.89, 0.91]})
    assert (choice.candidate, choice.seed) == (1, 1)  # 0.9 − 0.0141 beats 0.9 − 0.141; its second seed was better
    assert choice.judged == pytest.approx((0.9 - 0.1 * math.sqrt(2), 0.9 - 0.01 * math.sqrt(2)))


def test_minimised_metrics_are_turned_around():
    choice = choose("log_loss", {0: [0.30, 0.10], 1: [0.22, 0.20]})
    assert (choice.candidate, choice.seed) == (1, 1)  # 0.21 + 0.014 beats 0.20 + 0.141


def test_ties_go_to_the_search_ranking_and_the_first_seed():
    choice = choose("accuracy", {0: [0.9, 0.9], 1: [0.9, 0.9]})
    assert (choice.candidate, choice.seed) == (0, 0)


def test_a_candidate_with_a_failed_seed_loses_and_all_failed_is_an_error():
    assert choose("accuracy", {0: [0.99, math.nan], 1: [0.5, 0.5]}).candidate == 1
    with pytest.raises(NasflowError, match="none of 2 candidates"):
        choose("accuracy", {0: [math.nan], 1: [0.9, math.nan]})
