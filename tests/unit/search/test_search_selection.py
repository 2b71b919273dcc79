import pytest

from nasflow.search.record import Record
from nasflow.search.selection import select, standard_error


def trial(number, score, *, origin="strategy", epochs=10, parameters=100, architecture=None, status="completed"):
    return Record(
        trial_id=number,
        values={},
        origin=origin,
        status=status,
        score=score,
        epochs=epochs,
        parameters=parameters,
        architecture_id=architecture or number,
    )


def first(*records, metric="accuracy", rows=400, epochs=10):
    selection = select(records, metric, validation_rows=rows, epochs=epochs)
    return selection.order[0].trial_id, selection.reason


def test_a_lead_within_the_noise_goes_to_the_preset():
    # √(.9 · .1 / 400) = .015
    chosen, reason = first(trial("p", 0.90, origin="preset"), trial("c", 0.914))
    assert chosen == "p"
    assert "0.0140 better, with a standard error of 0.0150 on 400 rows: a tie, which goes to the preset" in reason


def test_a_real_lead_wins():
    chosen, reason = first(trial("p", 0.90, origin="preset"), trial("c", 0.916))
    assert chosen == "c"
    assert "a real lead" in reason


def test_the_best_of_the_presets_is_the_one_to_beat():
    assert first(trial("p", 0.7, origin="preset"), trial("q", 0.9, origin="preset"), trial("c", 0.89))[0] == "q"


def test_a_challenger_that_trained_for_too_short_does_not_win():
    assert first(trial("p", 0.8, origin="preset"), trial("c", 0.99, epochs=4))[0] == "p"
    assert first(trial("p", 0.8, origin="preset"), trial("c", 0.99, epochs=4), trial("d", 0.9, epochs=5))[0] == "d"


def test_minimised_metrics():
    # rmse 10 on 50 rows: standard error 10 / √100 = 1
    assert first(trial("p", 10.0, origin="preset"), trial("c", 9.1), metric="rmse", rows=50)[0] == "p"
    assert first(trial("p", 10.0, origin="preset"), trial("c", 8.9), metric="rmse", rows=50)[0] == "c"


def test_order_is_by_score_then_size_then_time_and_each_architecture_once():
    records = [
        trial("a", 0.5),
        trial("b", 0.9, parameters=50),
        trial("c", 0.9, parameters=20),
        trial("d", 0.9, parameters=20),
        trial("e", 0.7, architecture="b"),
        trial("f", None, status="failed"),
    ]
    order = select(records, "accuracy", validation_rows=100, epochs=10).order
    assert [record.trial_id for record in order] == ["c", "d", "b", "a"]


def test_the_longest_training_speaks_for_an_architecture():
    records = [
        trial("p", 0.8, origin="preset"),
        trial("short", 0.95, epochs=3, architecture="a"),
        trial("whole", 0.94, epochs=10, architecture="a"),
    ]
    order = select(records, "accuracy", validation_rows=400, epochs=10).order
    assert [record.trial_id for record in order] == ["whole", "p"]


def test_nothing_completed():
    selection = select([trial("f", None, status="failed")], "accuracy", validation_rows=10, epochs=1)
    assert (selection.order, selection.reason) == ((), "no trial completed")


@pytest.mark.parametrize(
    ("metric", "score", "expected"),
    [
        ("accuracy", 0.5, 0.05),
        ("auc", 0.8, 0.04),
        ("rmse", 10.0, 0.7071),
        ("mae", 10.0, 0.756),
        ("log_loss", 0.3, 0.03),
    ],
)
def test_standard_errors_on_100_rows(metric, score, expected):
    assert standard_error(metric, score, 100) == pytest.approx(expected, abs=1e-4)


def test_a_perfect_score_is_not_certain():
    assert standard_error("accuracy", 1.0, 50) == pytest.approx(0.0141, abs=1e-4)  # √(.99 · .01 / 50)
