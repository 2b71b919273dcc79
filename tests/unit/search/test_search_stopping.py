"""Stopping across trials, on curves that can be followed by hand."""

import numpy as np
import pytest

from nasflow.core.spec import BudgetSection, ConstraintsSection, StoppingSection
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.search.budget import Budget
from nasflow.search.job import Report
from nasflow.search.ledger import Ledger
from nasflow.search.limits import Limits
from nasflow.search.record import Record
from nasflow.search.stopping import Stopping, chance_to_beat
from nasflow.search.study import Study
from nasflow.spaces.mlp import MlpSpace

INPUTS, OUTPUT = InputSpec(numeric=4), OutputSpec(classes=3)
SPACE = MlpSpace(inputs=INPUTS, output=OUTPUT)


@pytest.fixture
def study(tmp_path):
    ledger = Ledger(str(tmp_path / "ledger.jsonl"))
    return Study(
        space=SPACE,
        limits=Limits(SPACE, ConstraintsSection(), inputs=INPUTS, output=OUTPUT),
        ledger=ledger,
        budget=Budget(BudgetSection(trials=20), 4, ledger),
        metric="accuracy",
        inputs=INPUTS,
        output=OUTPUT,
        seed=0,
    )


def start(study, trial_id, *, origin="strategy", epochs=None):
    control = {} if epochs is None else {"tuner/epochs": epochs}
    study.ledger.start(Record(trial_id=trial_id, values={"width": int(trial_id)}, origin=origin, control=control))


def completed(study, trial_id, scores, **more):
    start(study, trial_id, **more)
    history = [{"number": n, "score": s} for n, s in enumerate(scores, 1)]
    study.ledger.end(trial_id, "completed", score=scores[-1], epochs=len(scores), history=history)


def reports(stopping, trial_id, scores):
    """Why it is stopped after each epoch."""
    return [
        stopping(Report(trial_id=trial_id, run=0, number=n, loss=1.0, score=s, seconds=1.0, spent=1.0))
        for n, s in enumerate(scores, 1)
    ]


def test_the_median_rule_stops_what_is_below_the_others(study):
    for number, scores in enumerate(([0.2, 0.4, 0.5, 0.6], [0.4, 0.6, 0.7, 0.8], [0.1, 0.1, 0.2, 0.3])):
        completed(study, f"{number:04d}", scores)
    stopping = Stopping(study, StoppingSection(median=True, after=3))
    start(study, "0003")
    # running means after 1, 2 epochs: .2 .4 .1 → .2; .3 .5 .1 → .3
    assert reports(stopping, "0003", [0.2, 0.29]) == [
        "",
        "its best score is below the median of the others' running means",
    ]
    start(study, "0004")
    assert reports(stopping, "0004", [0.2, 0.31, 0.4, 0.1]) == [""] * 4  # its best counts; the last epoch is too late


def test_nothing_is_stopped_before_enough_trials_of_as_many_epochs_have_ended(study):
    for number in range(3):
        completed(study, f"{number:04d}", [0.8] * 4)
    start(study, "0003", epochs=2)
    start(study, "0004", origin="preset")
    start(study, "0005")
    three = Stopping(study, StoppingSection(median=True, after=3))
    assert reports(three, "0003", [0.0]) == [""]  # of 2 epochs: none of the others had so few
    assert reports(three, "0004", [0.0]) == [""]  # a preset is what the others are held against
    assert reports(three, "0005", [0.0]) != [""]
    assert reports(Stopping(study, StoppingSection(median=True, after=4)), "0005", [0.0]) == [""]


def test_a_score_that_is_not_finite_is_the_worst(study):
    for number in range(3):
        completed(study, f"{number:04d}", [0.8] * 4)
    start(study, "0003")
    for section in (StoppingSection(median=True, after=3), StoppingSection(curve=True, after=3)):
        assert reports(Stopping(study, section), "0003", [None]) != [""]


def test_curves_that_end_where_they_were_heading():
    rng = np.random.default_rng(0)
    # score after epoch 2 = x, the last one = x + 0.2 ± 0.01
    others = [[x - 0.1, x, x + 0.1, x + 0.2 + rng.normal(scale=0.01)] for x in rng.uniform(0.3, 0.6, 20)]
    best = max(each[-1] for each in others)
    assert chance_to_beat(best, [best - 0.45, best - 0.35], others) < 0.01  # heading for best − 0.15
    assert chance_to_beat(best, [best - 0.25, best - 0.15], others) > 0.99  # heading for best + 0.05
    assert 0.3 < chance_to_beat(best, [best - 0.3, best - 0.2], others) < 0.7
    assert chance_to_beat(best, [0.0], others[:2]) == 1.0  # two examples say nothing


def test_the_curve_rule_stops_a_trial_without_a_chance(study):
    rng = np.random.default_rng(0)
    for number, x in enumerate(rng.uniform(0.5, 0.7, 8)):
        completed(study, f"{number:04d}", [x, x + 0.05, x + 0.1, x + 0.15 + rng.normal(scale=0.005)])
    stopping = Stopping(study, StoppingSection(curve=True, after=5))
    start(study, "0008")
    assert "its chance to beat the best one is 0.0%" in reports(stopping, "0008", [0.3])[0]
    start(study, "0009")
    assert reports(stopping, "0009", [0.75, 0.8, 0.85]) == [""] * 3
