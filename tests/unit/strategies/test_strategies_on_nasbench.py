"""The committed table of trained networks, and what strategies find on it."""

import numpy as np
import pytest
from tests.benchmarks.nasbench_digits import landscape, replay
from tests.benchmarks.nasbench_digits.landscape import EPOCHS, SEEDS, Table

from nasflow.strategies.registry import get_strategy

SEARCHES = range(20)


@pytest.fixture(scope="module")
def table() -> Table:
    return Table.read()


@pytest.fixture(scope="module")
def by_chance(table: Table) -> float:
    return _mean_regret("random", table)


def _mean_regret(name: str, table: Table) -> float:
    """Of what was returned after 50, 51, … 100 trainings: a mean over budgets is steadier than one of them."""
    strategy = get_strategy(name, epochs=EPOCHS)
    runs = [replay.search(strategy, table, seed, trainings=100) for seed in SEARCHES]
    regrets = replay.regret(table.final_test(), np.array([run.returned for run in runs]))
    return float(regrets[:, 49:].mean())


def test_every_architecture_has_three_whole_curves(table: Table) -> None:
    assert table.identities.shape == (1230,)
    assert len(set(table.identities.tolist())) == 1230
    for curves in (table.validation, table.test, table.log_loss):
        assert curves.shape == (1230, SEEDS, EPOCHS)
        assert np.isfinite(curves).all()
    assert table.trained.all()
    assert table.validation.max() <= 1.0
    assert table.validation.min() >= 0.0
    assert sorted(set(table.row_of_point.tolist())) == list(range(1230))


def test_a_points_row_is_its_architectures(table: Table) -> None:
    """200 of the 4,096, each built as a graph."""
    space, points = landscape.space(), landscape.points()
    for place in np.random.default_rng(0).choice(len(points), size=200, replace=False):
        identity = space.architecture(points[place]).identity
        assert table.identities[table.row(points[place])] == identity


def test_validation_says_what_test_will(table: Table) -> None:
    """Of means of three seeds; 0.99 where it was measured."""
    assert np.corrcoef(table.final_validation(), table.final_test())[0, 1] > 0.95


@pytest.mark.parametrize("name", ["evolution", "hill_climb", "tpe", "auto"])
def test_what_learns_beats_chance(name: str, table: Table, by_chance: float) -> None:
    assert _mean_regret(name, table) < by_chance
