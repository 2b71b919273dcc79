"""PASHA, with rungs of 1, 3 and 9 epochs."""

import numpy as np
import pytest

from nasflow.core.errors import SpecError
from nasflow.spaces.parameters import Choice
from nasflow.strategies._base import Result
from nasflow.strategies.asha import Asha
from nasflow.strategies.pasha import Pasha, agree, crossed_twice
from nasflow.strategies.registry import check_strategy, get_strategy

SPACE = (Choice(name="x", values=tuple(range(60))),)
PASHA = Pasha(epochs=9)


def result(x, score, granted, *, curve=(), scores=None):
    return Result(
        trial_id=f"{x}/{granted}",
        values={"x": x},
        status="completed",
        score=score,
        epochs=granted,
        granted=granted,
        curve=curve,
        scores=scores or {},
    )


def low(**scores):
    return [result(int(x[1:]), score, 1) for x, score in scores.items()]


def next_of(strategy, history):
    return strategy.suggest(SPACE, (), history, 1, np.random.default_rng(0))[0]


def test_the_third_rung_opens_only_when_two_rungs_disagree():
    history = [*low(x0=0.0, x1=0.1, x2=0.2, x3=0.3, x4=0.4, x5=0.5), result(5, 0.9, 3)]
    assert PASHA.open_rungs(history) == (1, 3)
    assert PASHA.open_rungs([*history, result(4, 0.8, 3)]) == (1, 3)  # 5 before 4 in both
    assert PASHA.open_rungs([*history, result(4, 0.95, 3)]) == (1, 3, 9)
    assert PASHA.open_rungs([*history, result(4, 0.95, 3), result(3, 0.1, 3)]) == (1, 3, 9)  # it stays open


def test_asha_promotes_to_the_last_rung_where_pasha_has_not_opened_it():
    """Six of the rung of 3, ranked alike: ASHA promotes two of them to 9 epochs, PASHA the best one alone."""
    history = low(**{f"x{i}": i / 100 for i in range(18)})
    history += [result(x, x / 10, 3) for x in range(17, 11, -1)]
    history.append(result(17, 2.0, 9))
    promoted = next_of(Asha(epochs=9), history)
    assert (dict(promoted), promoted.epochs) == ({"x": 16}, 9)
    assert next_of(PASHA, history).epochs == 1


def test_the_best_of_the_highest_open_rung_gets_one_whole_trial():
    history = [*low(**{f"x{i}": i / 10 for i in range(9)}), result(8, 0.8, 3), result(7, 0.7, 3)]
    assert next_of(PASHA, history).epochs == 3  # two of the rung: not yet; 6 is promoted
    history.append(result(6, 0.6, 3))
    whole = next_of(PASHA, history)
    assert (dict(whole), whole.epochs, whole.parents) == ({"x": 8}, 9, ("8/3",))
    assert next_of(PASHA, [*history, result(8, 0.85, 9)]).epochs == 1


def test_soft_ranking_by_hand():
    below = low(x0=0.50, x1=0.48, x2=0.30)
    top = [result(1, 0.9, 3), result(0, 0.8, 3), result(2, 0.7, 3)]  # 0 and 1 have changed places, 0.02 apart
    assert not agree(top, below, 0.0)
    assert not agree(top, below, 0.019)
    assert agree(top, below, 0.021)
    assert agree([*top, result(9, 5.0, 3)], below, 0.021)  # a preset is in one of the rungs only: not compared


def test_noise_is_the_gap_of_curves_that_crossed_twice():
    one = result(0, 0.6, 3, curve=(0.2, 0.3, 0.6))
    assert crossed_twice(one, result(1, 0.5, 3, curve=(0.1, 0.4, 0.5))) == pytest.approx(0.1)
    assert crossed_twice(one, result(1, 0.5, 3, curve=(0.3, 0.4, 0.5))) is None  # once
    assert crossed_twice(one, result(1, 0.5, 3)) is None  # no curve
    ranks = result(0, -1.0, 3, curve=(0.2, 0.3, 0.6), scores={"accuracy": 0.6})
    assert crossed_twice(ranks, result(1, 0.5, 3, curve=(0.1, 0.4, 0.5))) is None


def test_a_swap_within_the_noise_opens_nothing():
    """4 and 5 swap. Below they are 0.05 apart; their curves crossed twice and end 0.1 apart, so ε is 0.1."""
    noisy = [result(5, 0.5, 3, curve=(0.1, 0.4, 0.5)), result(4, 0.6, 3, curve=(0.2, 0.3, 0.6))]
    assert PASHA.open_rungs([*low(x4=0.40, x5=0.45), *noisy]) == (1, 3)
    assert PASHA.open_rungs([*low(x4=0.30, x5=0.45), *noisy]) == (1, 3, 9)  # 0.15 apart: more than noise


def test_with_two_rungs_it_is_asha():
    history = [*low(x0=0.0, x1=0.1, x2=0.2), result(2, 0.1, 3)]
    assert next_of(Pasha(epochs=3), history) == next_of(Asha(epochs=3), history)


def test_it_is_known_by_name_and_no_part_of_a_mixture():
    assert get_strategy("pasha", {"factor": 4}, epochs=9) == Pasha(factor=4, epochs=9)
    with pytest.raises(SpecError, match="'pasha' cannot be one of parts"):
        check_strategy("hybrid", {"parts": ["tpe", "pasha"], "weights": None})
