"""The replay of nasbench_digits, on tables made up here, whose numbers are known."""

import numpy as np
import pytest
from tests.benchmarks.nasbench_digits import landscape, replay
from tests.benchmarks.nasbench_digits.landscape import EPOCHS, OPERATIONS, SEEDS, Table
from tests.benchmarks.nasbench_digits.levers import filter_rule, stop_rule
from tests.benchmarks.nasbench_digits.replay import Trainings

from nasflow.core.spec import FilterSection, StoppingSection
from nasflow.search.stopping import below_median
from nasflow.strategies._base import Result
from nasflow.strategies.registry import get_strategy

POINTS = len(OPERATIONS) ** 6


def made_up(*, alike: int = 1, noise: float = 0.0) -> Table:
    """`alike` points in a row are one architecture. Its accuracy after all epochs is the sum of its first point's
    places in `OPERATIONS` over 18, the last point's is 1; after e epochs it is e/12 of that; the second and third
    training get `noise` and twice `noise` more."""
    digits = np.array([[place // 4**edge % 4 for edge in range(6)] for place in range(0, POINTS, alike)])
    final = digits.sum(axis=1) / 18
    curves = final[:, None, None] * np.arange(1, EPOCHS + 1) / EPOCHS + noise * np.arange(SEEDS)[:, None]
    curves = curves.astype(np.float32)
    return Table(
        identities=np.array([f"{row:04d}" for row in range(len(final))]),
        trained=np.ones(len(final), bool),
        row_of_point=(np.arange(POINTS) // alike).astype(np.int16),
        parameters=np.arange(len(final), dtype=np.int32),
        validation=curves,
        test=curves,
        log_loss=curves,
        about={},
    )


def test_a_points_row_is_where_points_lists_it() -> None:
    table, points = made_up(), landscape.points()
    assert [table.row(points[place]) for place in (0, 1, 7, 64, 4095)] == [0, 1, 7, 64, 4095]


def test_epochs_are_paid_once_and_a_known_architecture_costs_nothing() -> None:
    """Two points an architecture, a budget of 2 × 12 epochs."""
    trained, points = Trainings(made_up(alike=2), 0, trainings=2), landscape.points()
    assert trained.train(points[4095], 4)[-1] == pytest.approx(17 / 18 * 4 / 12)  # its architecture's first is 4094
    assert trained.train(points[4094], 12)[-1] == pytest.approx(17 / 18)  # 8 epochs more
    trained.train(points[4095], 12)
    assert trained.returned == (2047, 2047)
    trained.train(points[0], 11)
    assert not trained.over
    trained.train(points[0], 12)
    assert trained.over
    assert trained.architectures == 2


def test_by_points_every_point_is_a_training_with_the_next_seed() -> None:
    trained, points = Trainings(made_up(alike=2, noise=0.01), 7, trainings=9, by_identity=False), landscape.points()
    scores = [trained.train(points[place])[-1] for place in (0, 1, 0)]
    scores.append(trained.train(points[1], afresh=True)[-1])
    assert scores[0] == scores[2]
    assert sorted(round(float(score), 3) for score in (scores[0], scores[1], scores[3])) == [0.0, 0.01, 0.02]


def test_a_short_training_is_returned_only_where_there_is_no_long_one() -> None:
    trained, points = Trainings(made_up(), 0, trainings=3), landscape.points()
    trained.train(points[4095], 5)
    trained.train(points[3], 7)  # 3/18 at most, but more than half of the epochs
    assert trained.returned == (3, 3, 3)
    trained.train(points[4095], 12)
    assert trained.returned[1:] == (4095, 4095)


def test_a_training_that_the_budget_cuts_off_is_not_returned() -> None:
    trained, points = Trainings(made_up(), 0, trainings=1), landscape.points()
    trained.train(points[1], 6)
    trained.train(points[4095], 12)
    assert trained.over
    assert trained.returned == (1,)


def test_greedy_needs_19_trainings_of_a_sum() -> None:
    """A random point, then three other values of each of six edges."""
    found = replay.search(get_strategy("greedy"), made_up(), 3, trainings=30)
    assert found.returned[18:] == (4095,) * 12
    assert found.returned == replay.search(get_strategy("greedy"), made_up(), 3, trainings=30).returned


def test_asha_pays_for_the_epochs_that_a_promotion_adds() -> None:
    """Rungs of 1, 4 and 12 epochs, so that 10 trainings' worth buys many more than 10 architectures."""
    found = replay.search(get_strategy("asha", {"promote": "continue"}, epochs=EPOCHS), made_up(), 0, trainings=10)
    assert 40 < found.architectures < 120


def test_the_median_rule_of_the_levers_is_that_of_the_search() -> None:
    """Curves of chance; some of the others were stopped themselves."""
    rng = np.random.default_rng(0)
    stop = stop_rule(StoppingSection(median=True, after=3))
    history: list[Result] = []
    for number in range(60):
        curve, others = rng.random(EPOCHS).cumsum() / EPOCHS, [result.curve for result in history]
        late = [epoch for epoch in range(1, EPOCHS) if below_median(curve[:epoch].tolist(), others)]
        epochs = stop(curve, history)
        assert epochs == (EPOCHS if len(history) < 3 else next(iter(late), EPOCHS))
        kept = tuple(curve[:epochs].tolist())
        history.append(
            Result(trial_id=str(number), values={}, status="completed", score=kept[-1], epochs=epochs, curve=kept)
        )
    assert 10 < sum(result.epochs < EPOCHS for result in history) < 50


def test_a_filter_keeps_what_is_among_the_best_half_of_its_window() -> None:
    """After two that are trained whatever they score: 3 is the best of three, 0 the worst of four, 2 a tie."""
    keep = filter_rule(FilterSection(keep=0.5, after=2), np.arange(5.0))
    assert [keep(row) for row in (1, 2, 3, 0, 2, 4)] == [True, True, True, False, True, True]


def test_what_is_left_out_costs_nothing_and_what_is_stopped_only_its_epochs() -> None:
    table, seen = made_up(), []
    strategy = get_strategy("random")
    replay.search(strategy, table, 0, trainings=5, watch=lambda row, each: seen.append((row, each)), stop=lambda *_: 6)
    assert [each.epochs for _, each in seen] == [6] * 10
    odd: list[int] = []
    replay.search(strategy, table, 0, trainings=5, watch=lambda row, _: odd.append(row), keep=lambda row: row % 2 == 1)
    assert len(odd) == 5
    assert all(row % 2 for row in odd)


def test_regret_is_in_points_and_worst_before_anything_was_trained() -> None:
    assert replay.regret(np.array([0.5, 0.75]), np.array([[-1, 0, 1]])).tolist() == [[25.0, 25.0, 0.0]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["RandomSearch", "GridSearch", "Hyperband"])
def test_keras_tuners_oracles_spend_the_budget(kind: str) -> None:
    from tests.benchmarks.nasbench_digits import peers

    found = peers.keras_tuner_search(kind, made_up(), 1, trainings=12)
    assert len(found.returned) == 12
    assert found.points == 12 if kind != "Hyperband" else found.points > 12
    assert peers.keras_tuner_search(kind, made_up(), 1, trainings=12).returned == found.returned
