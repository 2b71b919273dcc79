"""Limits and goals: budgets of devices and money, Pareto searches, measured limits, the cost model."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from nasflow.core.errors import UserError
from nasflow.core.spec import BudgetSection, ConstraintsSection, ExperimentSpec, SearchSection
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.search import returned, step
from nasflow.search.budget import Budget
from nasflow.search.cost_model import calibrate
from nasflow.search.ledger import Ledger
from nasflow.search.limits import Limits
from nasflow.search.objectives import oriented
from nasflow.search.oracle import make_oracle
from nasflow.search.pareto import hypervolume
from nasflow.search.record import Record
from nasflow.search.selection import select_front
from nasflow.search.spec import SearchSpec
from nasflow.search.study import Study
from nasflow.spaces.mlp import MlpSpace


def trial(number, accuracy, parameters, **more):
    return Record(
        **{
            "trial_id": f"{number:04d}",
            "values": {},
            "origin": "strategy",
            "status": "completed",
            "score": accuracy,
            "epochs": 5,
            "architecture_id": f"a{number}",
            "metrics": {"accuracy": accuracy},
            "costs": {"parameters": parameters},
        }
        | more
    )


def content(**more):
    return {"task": "tabular_classification", "data": {"train": "a.csv", "label": "y"}, **more}


def test_money_and_device_hours_end_a_search(tmp_path):
    ledger = Ledger(str(tmp_path / "ledger.jsonl"))
    # 3 per hour and 1.5 in all: half an hour of trials, whatever the wall clock says
    budget = Budget(BudgetSection(trials=None, money=1.5, price_per_device_hour=3.0), 10, ledger, lambda: 0.0)
    assert budget.device_seconds_left == 1800
    for number, seconds in enumerate((700.0, 700.0)):
        assert budget.ended() is None
        ledger.start(trial(number, 0.5, 10))
        ledger.end(f"{number:04d}", "completed", score=0.5, epochs=10, seconds=seconds, elapsed=700.0)
    assert budget.spent == pytest.approx(3.0 * 1400 / 3600)
    assert budget.seconds_left is None
    assert budget.device_seconds_left == 400  # half of a usual trial takes 350 s
    assert budget.ended() is None
    assert not budget.has_time_for(401)
    budget.unrecorded = lambda: 60.0
    assert budget.ended() == "money"
    hours = Budget(BudgetSection(trials=None, device_hours=0.4), 10, ledger, lambda: 0.0)
    assert hours.ended() == "device_hours"


def test_budgets_that_cannot_be():
    with pytest.raises(ValidationError, match="money is 5, but not the price: set price_per_device_hour"):
        BudgetSection(money=5)
    with pytest.raises(ValidationError, match="a search without a limit never ends"):
        BudgetSection(trials=None)


def test_objectives_of_the_yaml():
    spec = ExperimentSpec.model_validate(content(objective=["parameters", "f1_macro", "latency_ms"]))
    assert spec.objectives == ("parameters", "f1_macro", "latency_ms")
    assert spec.metric == "f1_macro"
    assert SearchSpec.of(spec).objectives == spec.objectives
    assert SearchSpec.of(ExperimentSpec.model_validate(content(objective="auc"))).objectives == ()
    for objective, message in (
        (["parameters", "flops"], "objective needs a metric, got only costs"),
        (["accuracy", "accuracy"], "names something twice"),
        (["accuracy", "rmse"], "'rmse' does not fit task"),
        (["accuracy", "weight"], "unknown metric 'weight'"),
    ):
        with pytest.raises(ValidationError, match=message):
            ExperimentSpec.model_validate(content(objective=objective))


def test_the_knee_comes_first_then_its_front():
    records = [
        trial(0, 0.90, 1000),
        trial(1, 0.88, 200),  # the knee: nearly as good, a fifth of the size
        trial(2, 0.60, 100),
        trial(3, 0.59, 150),  # trial 2 is better in both
        trial(4, 0.87, 1000),
        trial(5, None, 10, status="failed"),
    ]
    selection, front = select_front(records, ("accuracy", "parameters"))
    assert selection.order[0].trial_id == "0001"
    assert front.trial_ids[0] == "0001"
    assert set(front.trial_ids) == {"0000", "0001", "0002"}
    assert {record.trial_id for record in selection.order[3:]} == {"0003", "0004"}
    # accuracy scaled by .59–.90, parameters by 1000–100: (1, 0), (.9355, .8889), (.0323, 1)
    assert front.hypervolume == pytest.approx(0.9355 * 0.8889 + 0.0323 * (1 - 0.8889), abs=1e-3)
    assert "knee of a front of 3: accuracy 0.88, parameters 200" in selection.reason


def test_a_pareto_search_returns_a_front(table, tmp_path):
    search = step.run(
        SearchSpec(
            task="tabular_classification",
            metric="accuracy",
            objectives=("accuracy", "parameters", "log_loss"),
            search=SearchSection(strategy="evolution", budget=BudgetSection(trials=7, epochs=2)),
        ),
        dataset=table,
        work_dir=str(tmp_path / "work"),
        output=str(tmp_path / "output"),
    )
    assert search.objectives == ("accuracy", "parameters", "log_loss")
    assert search.candidates[0].trial_id == search.front[0]
    assert 0 < search.hypervolume <= 1.01
    points = {
        c.trial_id: np.array([c.measures["accuracy"], -c.parameters, -c.measures["log_loss"]])
        for c in search.candidates
    }
    for trial_id in search.front:
        for other in points.values():
            mine = points[trial_id]
            assert not ((other >= mine).all() and (other > mine).any())
    trials = search.json("trials.json")
    presets = [each["score"] for each in trials if each["origin"] == "preset"]
    assert all(each["gain"] == pytest.approx(each["score"] - max(presets)) for each in trials)
    assert "Hypervolume" in search.file("report.html").decode()


def test_costs_count_as_less_is_better():
    records = [trial(0, 0.9, 100), trial(1, 0.8, 200), trial(2, 0.7, 50)]
    assert [oriented(record, ("accuracy", "parameters")) for record in records] == [
        [0.9, -100],
        [0.8, -200],
        [0.7, -50],
    ]


def test_what_breaks_a_measured_limit_is_not_returned(monkeypatch, tmp_path):
    fast = {"0000": 9.0, "0001": 2.0, "0002": 7.0, "0003": 3.0}

    def measured(record, study, dataset):
        return {"latency_ms": fast[record.trial_id], "size_mb": 1.0}

    monkeypatch.setattr(returned, "measure", measured)
    records = [trial(number, 0.9, 100) for number in range(4)]
    found = returned.within(records, None, ConstraintsSection(latency_ms=5), None)
    assert [record.trial_id for record in found.records] == ["0001", "0003"]
    assert found.measured["0001"] == {"latency_ms": 2.0, "size_mb": 1.0}
    assert found.dropped == (
        "trial 0000: latency_ms 9 > constraints.latency_ms 5",
        "trial 0002: latency_ms 7 > constraints.latency_ms 5",
    )
    with pytest.raises(UserError, match=r"none of the best 4 candidates.*Raise constraints\.latency_ms"):
        returned.within(records, None, ConstraintsSection(latency_ms=1), None)
    assert returned.within(records, None, ConstraintsSection(), None).records == tuple(records)


def costed(number, flops, activations, parameters, seconds):
    history = [{"number": n, "score": 0.5, "loss": 1.0, "seconds": seconds + (n == 1)} for n in (1, 2, 3)]
    costs = {"flops": flops, "activations": activations, "parameters": parameters, "batch": 64}
    return trial(number, 0.5, parameters, costs=costs, history=history, seconds=3 * seconds + 3)


def test_the_cost_model_finds_the_machines_coefficients():
    rng = np.random.default_rng(0)
    true = np.array([0.05, 0.002, 10.0, 0.03])  # ms per M multiply-adds, k activations, M parameters / batch, example
    records = []
    for number in range(30):
        flops, activations, parameters = rng.uniform(1e5, 4e7), rng.uniform(1e3, 1e5), rng.uniform(1e3, 1e6)
        features = np.array([flops / 2e6, activations / 1e3, parameters / 1e6 / 64, 1.0])
        records.append(costed(number, flops, activations, parameters, 1000 * float(features @ true) / 1000))
    model = calibrate(records, rows=1000)
    assert model.trials == 30
    assert model.error < 0.02
    assert model.start_seconds == pytest.approx(3.0)  # 3 epochs as measured after the first, and 3 s
    flops, activations, parameters = 1e7, 5e4, 2e5
    expected = float(np.array([5.0, 50.0, 0.2 / 64, 1.0]) @ true)
    costs = {"flops": flops, "activations": activations, "parameters": parameters, "batch": 64}
    assert model.seconds(costs, epochs=10, rows=1000) == pytest.approx(3 + 10 * expected, rel=0.03)


def test_one_trial_corrects_the_scale_and_none_is_the_published_guess():
    costs = {"flops": 2e7, "activations": 1e5, "parameters": 0.0, "batch": 64}
    guess = 0.021 * 10 + 0.0061 * 100 + 0.01
    assert calibrate([], rows=100).seconds(costs, epochs=1, rows=1000) == pytest.approx(1.5 + guess)
    twice = calibrate([costed(0, 2e7, 1e5, 0.0, 2 * guess)], rows=1000)
    assert twice.seconds(costs, epochs=1, rows=1000) == pytest.approx(3.0 + 2 * guess)


@pytest.mark.slow
def test_latency_and_size_are_those_of_the_export(tmp_path):
    """On a Dataset with golden rows; see the train step's tests for one."""
    from tests.unit.train.made_data import dataset as make_dataset

    dataset = make_dataset(tmp_path)
    search = step.run(
        SearchSpec(
            task="tabular_classification",
            metric="accuracy",
            constraints=ConstraintsSection(latency_ms=200, size_mb=50, memory_mb=10),
            search=SearchSection(strategy="random", budget=BudgetSection(trials=3, epochs=2)),
        ),
        dataset=dataset,
        work_dir=str(tmp_path / "work"),
        output=str(tmp_path / "output"),
    )
    for candidate in search.candidates:
        assert 0 < candidate.measures["latency_ms"] <= 200
        assert candidate.parameters * 4 / 1e6 < candidate.measures["size_mb"] <= 50
        assert candidate.measures["memory_mb"] <= 10


def front_of(strategy, seed, folder):
    """Hypervolume over (score, −log10 parameters) of 50 trials whose score grows with the size and with good genes."""
    objectives = ("accuracy", "parameters")
    ledger = Ledger(str(folder / f"{strategy}{seed}"))
    inputs, output = InputSpec(numeric=4), OutputSpec(classes=3)
    space = MlpSpace(inputs=inputs, output=output)
    study = Study(
        space=space,
        limits=Limits(space, ConstraintsSection(), inputs=inputs, output=output),
        ledger=ledger,
        budget=Budget(BudgetSection(trials=50), 9, ledger),
        metric="accuracy",
        inputs=inputs,
        output=output,
        seed=seed,
        objectives=objectives,
    )
    oracle = make_oracle(strategy, study)
    while (record := oracle.next()) is not None:
        size = math.log10(record.costs["parameters"] + 1)
        genes = abs(math.log10(record.values["learning_rate"] / 3e-3)) + 0.5 * (record.values["schedule"] != "cosine")
        score = 1 - 0.5 * math.exp(-size / 2) - 0.1 * genes
        ledger.end(record.trial_id, "completed", score=score, metrics={"accuracy": score}, epochs=9)
        oracle.settle(record.trial_id)
    assert all(result.scores for result in study.history)
    points = np.array([oriented(record, objectives) for record in ledger.ended])
    points[:, 1] = -np.log10(-points[:, 1])
    return hypervolume(points, np.array([0.0, -7.0]))


def test_strategies_that_see_ranks_cover_more_than_random_search(tmp_path):
    covered = {
        strategy: np.mean([front_of(strategy, seed, tmp_path) for seed in range(4)])
        for strategy in ("random", "auto", "genetic")
    }
    assert covered["auto"] > covered["random"]
    assert covered["genetic"] > covered["random"]
