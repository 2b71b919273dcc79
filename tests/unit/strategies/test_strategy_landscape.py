"""The synthetic landscape of research/keras_tuner.md: 10 edges with one of 5 operations each, additive worths."""

import numpy as np
import pytest

from nasflow.spaces.parameters import Choice
from nasflow.strategies._base import Result
from nasflow.strategies.auto import Auto
from nasflow.strategies.evolution import RegularizedEvolution
from nasflow.strategies.genetic import Genetic
from nasflow.strategies.greedy import GreedySearch
from nasflow.strategies.hill_climb import HillClimb
from nasflow.strategies.hybrid import Hybrid
from nasflow.strategies.predictor import Predictor
from nasflow.strategies.random_search import RandomSearch
from nasflow.strategies.reinforce import Reinforce
from nasflow.strategies.tpe import TreeParzen

EDGES = tuple(Choice(name=f"edge{i}", values=("skip", "conv1", "conv3", "conv5", "pool")) for i in range(10))


def best_after(strategy, *, trials: int, seed: int) -> float:
    worths = np.random.default_rng(seed).normal(size=(10, 5))
    history: list[Result] = []
    for number in range(trials):
        rng = np.random.default_rng([seed, number])
        (values,) = strategy.suggest(EDGES, (), history, 1, rng)
        score = sum(worths[i, edge.values.index(values[edge.name])] for i, edge in enumerate(EDGES))
        history.append(Result(trial_id=str(number), values=values, status="completed", score=float(score), epochs=1))
    return max(result.score for result in history)


CHEAP = {
    "evolution": RegularizedEvolution(),
    "auto": Auto(),
    "greedy": GreedySearch(),
    "hill_climb": HillClimb(),
    "genetic": Genetic(),
    "tpe": TreeParzen(),
    "reinforce": Reinforce(),
    "mixture": Hybrid(parts=("evolution", "hill_climb", "random"), weights=None),
}


@pytest.mark.parametrize("name", CHEAP)
def test_beats_random_search_on_every_seed(name):
    for seed in range(5):
        assert best_after(CHEAP[name], trials=120, seed=seed) > best_after(RandomSearch(), trials=120, seed=seed)


@pytest.mark.slow
def test_the_predictor_beats_random_search_on_every_seed():
    for seed in range(3):
        assert best_after(Predictor(trees=24), trials=100, seed=seed) > best_after(
            RandomSearch(), trials=100, seed=seed
        )


def test_one_greedy_pass_finds_the_optimum_of_an_additive_landscape():
    """A random point, then 4 other values of each of 10 genes."""
    for seed in range(5):
        worths = np.random.default_rng(seed).normal(size=(10, 5))
        assert best_after(GreedySearch(), trials=41, seed=seed) == pytest.approx(worths.max(axis=1).sum())
