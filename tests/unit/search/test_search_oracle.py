"""Oracles over a ledger, with trials that cost nothing: the score is a function of the values."""

import dataclasses
import functools
import math

import numpy as np
import pytest

from nasflow.core.errors import SpecError, UserError
from nasflow.core.spec import BudgetSection, ConstraintsSection
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.search.budget import Budget
from nasflow.search.hyperparameters import declare, point
from nasflow.search.ledger import Ledger
from nasflow.search.limits import Limits
from nasflow.search.oracle import make_oracle
from nasflow.search.study import Study
from nasflow.spaces.mlp import MlpSpace
from nasflow.spaces.parameters import key, problems

INPUTS, OUTPUT = InputSpec(numeric=4), OutputSpec(classes=3)
SPACE = MlpSpace(inputs=INPUTS, output=OUTPUT)
BAYESIAN = "bayesian"
OURS = ["random", "evolution", "auto", "grid", "greedy", "hill_climb", "genetic", "tpe", "reinforce", "hybrid"]
PREDICTOR = pytest.param("predictor", marks=pytest.mark.slow)  # loads scikit-learn
STRATEGIES = [*OURS, "asha", "pasha", PREDICTOR, "hyperband", BAYESIAN]


def open_study(uri, *, trials=14, constraints=None, metric="accuracy"):
    ledger = Ledger(str(uri))
    return Study(
        space=SPACE,
        limits=Limits(SPACE, constraints or ConstraintsSection(), inputs=INPUTS, output=OUTPUT),
        ledger=ledger,
        budget=Budget(BudgetSection(trials=trials), 9, ledger),
        metric=metric,
        inputs=INPUTS,
        output=OUTPUT,
        seed=0,
    )


def outcome(record):
    """Every fifth trial fails."""
    if int(record.trial_id) % 5 == 4:
        return {"status": "failed", "message": "made to fail"}
    score = 1 / (1 + abs(math.log(record.values.get("width", 8) / 90))) - abs(
        math.log10(record.values["learning_rate"] / 3e-3)
    )
    return {"status": "completed", "score": score, "epochs": record.control.get("tuner/epochs", 9)}


def search(study, strategy, *, stop_after=None, leave_running=False):
    """Runs a study; stops as a killed process does: after `stop_after` trials, one more left running where asked."""
    oracle = make_oracle(strategy, study)
    done = 0
    while True:
        record = study.ledger.running[0] if study.ledger.running else oracle.next()
        if record is None:
            return oracle
        if done == stop_after and leave_running:
            return oracle
        result = outcome(record)
        study.ledger.end(record.trial_id, result.pop("status"), **result)
        oracle.settle(record.trial_id)
        done += 1
        if done == stop_after and not leave_running:
            return oracle


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """strategy → its study of 14 trials, searched once for all tests that only look at it."""

    @functools.cache
    def searched(strategy):
        study = open_study(tmp_path_factory.mktemp(strategy) / "ledger")
        assert search(study, strategy).stopped_by == "trials"
        return study

    return searched


def values(study):
    return [(r.trial_id, r.values, r.control, r.origin, r.parents, r.status) for r in study.ledger.records]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_resumed_study_equals_the_uninterrupted_one(strategy, whole, tmp_path):
    assert whole(strategy).ledger.trained == 14
    parts = tmp_path / "parts"
    for stop_after, leave_running in ((2, True), (3, False), (5, True), (None, False)):
        study = open_study(parts)
        search(study, strategy, stop_after=stop_after, leave_running=leave_running)
    assert values(study) == values(whole(strategy))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_presets_enter_first_and_every_value_is_active(strategy, whole):
    study = whole(strategy)
    presets = [dict(preset) for preset in SPACE.presets()]
    assert [r.values for r in study.ledger.records][: len(presets)] == presets
    assert {r.origin for r in study.ledger.records[len(presets) :]} == {"strategy"}
    for record in study.ledger.records:
        assert problems(SPACE.parameters(), record.values) == []


@pytest.mark.parametrize("strategy", [*OURS, PREDICTOR, BAYESIAN])
def test_no_point_is_tried_twice(strategy, whole):
    study = whole(strategy)
    assert len(study.tried()) == len(study.ledger.records)


def test_hyperband_promotes_the_best_of_a_bracket_to_more_epochs(tmp_path):
    study = open_study(tmp_path / "ledger", trials=24)
    search(study, "hyperband")
    promoted = [record for record in study.ledger.records if record.parents]
    assert promoted
    for record in promoted:
        parent = study.ledger.get(record.parents[0])
        assert record.values == parent.values
        assert record.control["tuner/epochs"] > parent.control["tuner/epochs"]
    assert [r.control["tuner/epochs"] for r in study.ledger.records[: len(SPACE.presets())]] == [9] * len(
        SPACE.presets()
    )


def test_asha_promotes_to_more_epochs_and_starts_from_scratch(tmp_path):
    study = open_study(tmp_path / "ledger", trials=30)
    search(study, "asha")
    presets = len(SPACE.presets())
    assert [r.control for r in study.ledger.records[:presets]] == [{}] * presets  # all epochs
    asked = [r.control["tuner/epochs"] for r in study.ledger.records[presets:]]
    assert set(asked) == {1, 3, 9}
    for record in study.ledger.records[presets:]:
        if record.control["tuner/epochs"] > 1:
            parent = study.ledger.get(record.parents[0])
            assert record.values == parent.values
            assert record.control["tuner/epochs"] == 3 * parent.control["tuner/epochs"]


def test_asha_goes_on_with_a_training_where_nothing_is_lost_by_it(tmp_path):
    study = open_study(tmp_path / "ledger", trials=40)
    oracle = make_oracle("asha", study, settings={"promote": "continue"})
    assert oracle.inherits
    while (record := oracle.next()) is not None:
        study.ledger.end(record.trial_id, **outcome(record))
        oracle.settle(record.trial_id)
    promoted = [record for record in study.ledger.records if record.inherit]
    assert {record.control["tuner/epochs"] for record in promoted} == {3, 9}
    assert all(record.inherit == record.parents[0] and record.horizon == 9 for record in promoted)
    first = [record for record in study.ledger.records if record.control.get("tuner/epochs") == 1]
    assert {record.horizon for record in first} == {9}  # the schedule of the last rung, from the start
    assert [record.inherit for record in study.ledger.records] == [r.inherit for r in Ledger(study.ledger.uri).records]
    scratch = open_study(tmp_path / "scratch", trials=40)
    search(scratch, "asha")
    for record in scratch.ledger.records:
        if record.parents:
            assert (record.inherit is not None) == (record.values.get("schedule") == "constant")


def test_side_by_side_suggestions_differ(tmp_path):
    for strategy in ("random", "grid", "auto", "tpe", "asha", "pasha"):
        study = open_study(tmp_path / strategy, trials=12)
        oracle = make_oracle(strategy, study)
        for _ in range(5):
            oracle.next()
        running = study.ledger.running
        assert len(running) == 5
        assert len({key(record.values) for record in running}) == 5
        # The trials end in another order than they started; a new oracle is brought to the same place.
        for record in (running[3], running[0]):
            study.ledger.end(record.trial_id, **outcome(record))
            oracle.settle(record.trial_id)
        again = make_oracle(strategy, study)
        assert list(again.ongoing_trials) == list(oracle.ongoing_trials)
        assert again.next().values == oracle.study.ledger.records[-1].values


def test_settings_reach_the_strategy_of_a_study(tmp_path):
    study = open_study(tmp_path / "ledger")
    oracle = make_oracle("asha", study, settings={"rungs": 2, "factor": 9})
    assert oracle._strategy.ladder() == (1, 9)
    with pytest.raises(SpecError, match=r"search\.settings\.rung: unknown setting of asha; did you mean 'rungs'"):
        make_oracle("asha", study, settings={"rung": 2})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_trained_never_breaks_a_limit(strategy, tmp_path):
    constraints = ConstraintsSection(parameters=2_000, flops=6_000)
    study = open_study(tmp_path / "ledger", trials=8, constraints=constraints)
    search(study, strategy)
    trained = [record for record in study.ledger.records if record.status != "infeasible"]
    rejected = [record for record in study.ledger.records if record.status == "infeasible"]
    assert len(trained) == 8
    assert all(record.parameters <= 2_000 and record.flops <= 6_000 for record in trained)
    assert all("> constraints." in record.message and record.score is None for record in rejected)
    assert len({key(record.values) for record in trained}) >= 6  # Hyperband trains a point again when it is promoted


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_impossible_constraint_says_the_smallest_found(strategy, tmp_path):
    study = open_study(tmp_path / "ledger", constraints=ConstraintsSection(parameters=5))
    with pytest.raises(UserError, match=r"nothing within constraints\.parameters 5.*nearest found has \d+ parameters"):
        search(study, strategy)
    assert study.ledger.trained == 0


def test_failed_trials_look_worst_to_keras_tuner(tmp_path):
    study = open_study(tmp_path / "ledger", metric="log_loss")
    assert study.worst_score("0000") == pytest.approx(-2 * math.log(3))


def test_keras_tuner_sees_conditions_and_gives_valid_points_back():
    import keras_tuner
    from keras_tuner.src.engine.hyperparameters import HyperParameters

    space = declare(SPACE.parameters())
    assert [hp.name for hp in space.space] == [parameter.name for parameter in SPACE.parameters()]
    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("score", "max"), hyperparameters=space, max_trials=50, seed=1
    )
    for _ in range(50):
        drawn = oracle._random_values()
        assert problems(SPACE.parameters(), drawn) == []
        trial = space.copy()
        trial.values = drawn
        sent = HyperParameters.from_proto(trial.to_proto()).values  # floats become float32 on the way
        repaired = point(SPACE.parameters(), sent, np.random.default_rng(0))
        for name, value in drawn.items():
            assert repaired[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value)


def test_shrinking_moves_a_point_no_further_than_it_must(tmp_path):
    limits = Limits(SPACE, ConstraintsSection(parameters=20_000), inputs=INPUTS, output=OUTPUT)
    preset = SPACE.presets()[0]
    assert limits.shrink(preset, np.random.default_rng(0)).values == preset or limits.draft(preset).excess > 0
    big = {**preset, "width": 512} if "width" in preset else preset
    draft = limits.shrink(big, np.random.default_rng(0))
    assert draft.excess == 0
    assert draft.parameters <= 20_000


def test_points_to_start_at_come_before_the_presets(tmp_path):
    first, second, *_ = SPACE.presets()
    study = dataclasses.replace(open_study(tmp_path / "ledger"), first=(second,))
    draft, _ = study.next_given()
    assert draft.values == second
    study.start("0000", draft, "preset")
    assert study.next_given()[0].values == first


@pytest.mark.slow
def test_the_gaussian_process_learns_from_300_trials_at_most(tmp_path):
    study = open_study(tmp_path / "ledger", trials=320)
    oracle = make_oracle(BAYESIAN, study)
    oracle.num_initial_points = 10**6  # all random: only what it would learn from is looked at
    while (record := oracle.next()) is not None:
        study.ledger.end(record.trial_id, **outcome(record))
        oracle.settle(record.trial_id)
    x, y = oracle._vectorize_trials()
    assert len(oracle.trials) == 320
    assert 200 <= len(x) == len(y) <= 300
    assert min(y) == -max(trial.score for trial in oracle.trials.values())  # the best one is among them, minimised


def test_why_a_search_ends_is_said_of_its_last_question(tmp_path, monkeypatch):
    """With trials running, "too late for any suggestion" is no end: the next question may have another answer."""
    study = open_study(tmp_path / "ledger")
    oracle = search(study, "random", stop_after=len(SPACE.presets()))
    with monkeypatch.context() as late:
        late.setattr(Study, "too_long", lambda self, draft, epochs: "it would take two hours")
        assert oracle.next() is None
        assert oracle.stopped_by == "hours"
    monkeypatch.setattr(oracle, "_fresh", lambda rng: None)
    assert oracle.next() is None
    assert oracle.stopped_by == "exhausted"
