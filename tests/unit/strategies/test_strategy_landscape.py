"""The synthetic landscape of research/keras_tuner.md: 10 edges with one of 5 operations each, additive worths."""

import numpy as np
import pytest

from nasflow.spaces.parameters import Choice
from nasflow.strategies._base import Result
from nasflow.strategies.auto import Auto
from nasflow.strategies.evolution import RegularizedEvolution
from nasflow.strategies.random_search import RandomSearch

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


@pytest.mark.parametrize("strategy", [RegularizedEvolution(), Auto()], ids=["evolution", "auto"])
def test_beats_random_search_on_every_seed(strategy):
    for seed in range(5):
        assert best_after(strategy, trials=120, seed=seed) > best_after(RandomSearch(), trials=120, seed=seed)
