"""Warm start from earlier searches: two of them written by hand over the mlp space, then a whole search."""

import dataclasses
import json

import numpy as np
import pytest

from nasflow.core.artifacts import Candidate, Search, Trials
from nasflow.core.errors import DocumentError, SpecError
from nasflow.core.spec import BudgetSection, ConstraintsSection, SearchSection
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.search import step
from nasflow.search.budget import Budget
from nasflow.search.ledger import Ledger
from nasflow.search.limits import Limits
from nasflow.search.open import open_study as open_place
from nasflow.search.oracle import StrategyOracle, make_oracle
from nasflow.search.spec import SearchSpec
from nasflow.search.study import Study
from nasflow.search.warm_start import read_earlier, warm_start
from nasflow.spaces.mlp import MlpSpace
from nasflow.spaces.parameters import key, sample
from nasflow.strategies._base import Result
from nasflow.strategies.hybrid import Hybrid

INPUTS, OUTPUT = InputSpec(numeric=4), OutputSpec(classes=3)
SPACE = MlpSpace(inputs=INPUTS, output=OUTPUT)


def points(count, seed=0):
    rng = np.random.default_rng(seed)
    return [dict(sample(SPACE.parameters(), rng)) for _ in range(count)]


def publish(folder, found, *, dataset=None, runs=1, **more):
    """A finished Search of these points, best first: scores 0.9, 0.8, …"""
    scored = [(f"{place:04d}", values, 0.9 - place / 10) for place, values in enumerate(found)]
    epochs = more.get("epochs", 2)
    rows, candidates = [], []
    for trial_id, values, score in scored:
        identity = SPACE.architecture(values).identity
        common = {"trial_id": trial_id, "values": values, "score": score, "epochs": epochs, "parameters": 1, "flops": 1}
        candidates.append(Candidate(architecture_id=identity, **common))
        rows.append(
            {**common, "origin": "strategy", "parents": [], "architecture_id": identity, "status": "completed"}
            | {"runs": [score] * runs if runs > 1 else [], "generation": 0, "gain": 0.0}
        )
    content = {"strategy": "random", "space": "mlp", "objective": "accuracy", "epochs": 2, "stopped_by": "trials"}
    search = Search(
        **{**content, **more},
        trials=Trials(completed=len(rows), failed=0, infeasible=0),
        candidates=tuple(candidates),
        inputs={"dataset": dataset.digest if dataset else "another"},
    )
    return search.publish(str(folder), {"trials.json": json.dumps(rows).encode()})


def open_study(ledger):
    return Study(
        space=SPACE,
        limits=Limits(SPACE, ConstraintsSection(), inputs=INPUTS, output=OUTPUT),
        ledger=ledger,
        budget=Budget(BudgetSection(trials=20), 2, ledger),
        metric="accuracy",
        inputs=INPUTS,
        output=OUTPUT,
        seed=0,
    )


def spec(*uris, trials=5, strategy="hill_climb", metric="accuracy", **more):
    budget = BudgetSection(trials=trials, epochs=2)
    section = SearchSection(strategy=strategy, budget=budget, warm_start=uris, **more)
    return SearchSpec(task="tabular_classification", metric=metric, search=section)


def taken(earlier, table, *, epochs=2, trainings=1, space=SPACE, **more):
    return warm_start(earlier, spec(**more), dataset=table, space=space, epochs=epochs, trainings=trainings)


def test_the_best_of_each_come_in_turns_and_never_twice(table, tmp_path):
    a, b, c, d = points(4)
    earlier = [publish(tmp_path / "one", [a, b, c]), publish(tmp_path / "two", [b, d])]
    assert taken(earlier, table).points == (a, b, d)  # a b | b d | c; three by default
    assert taken(earlier, table, warm_points=9).points == (a, b, d, c)
    assert taken(earlier, table, warm_points=0).points == ()


def test_presets_are_tried_anyhow_and_not_counted(table, tmp_path):
    """An earlier search's best are mostly presets: they must not use up the points."""
    a, b, c = points(3)
    earlier = publish(tmp_path / "one", [*(dict(preset) for preset in SPACE.presets()), a, b, c])
    assert taken([earlier], table, warm_points=2).points == (a, b)
    assert taken([earlier], table, warm_points=2, start=(a,)).points == (b, c)


def test_results_are_known_only_where_data_objective_and_epochs_agree(table, tmp_path):
    found = points(2)
    same = publish(tmp_path / "same", found, dataset=table)
    prior = taken([same], table).prior
    assert [(r.trial_id, r.values, r.score, r.prior) for r in prior] == [
        ("earlier0/0000", found[0], 0.9, True),
        ("earlier0/0001", found[1], 0.8, True),
    ]
    assert taken([publish(tmp_path / "data", found)], table).prior == ()
    assert taken([publish(tmp_path / "metric", found, dataset=table, objective="log_loss")], table).prior == ()
    assert taken([same], table, epochs=3).prior == ()
    assert taken([same], table, trainings=5).prior == ()
    folds = publish(tmp_path / "folds", found, dataset=table, runs=5)
    assert len(taken([folds], table, trainings=5).prior) == 2
    minimised = publish(tmp_path / "loss", found, dataset=table, objective="log_loss")
    assert [r.score for r in taken([minimised], table, metric="log_loss").prior] == [-0.9, -0.8]


def test_a_missing_document_says_which_and_what_to_name(tmp_path):
    publish(tmp_path / "one", points(1))
    with pytest.raises(
        DocumentError, match=r"search\.warm_start\[1\]: .*/none: no Search here.*document_uri"
    ) as caught:
        read_earlier([str(tmp_path / "one"), str(tmp_path / "none")])
    assert caught.value.exit_code == 2


def test_a_dataset_is_no_search(table):
    with pytest.raises(DocumentError, match=r"warm_start\[0\]: .*expected a Search, found a 'Dataset'"):
        read_earlier([table.uri])


def test_a_foreign_space_is_refused(table, tmp_path):
    other = publish(tmp_path / "cnn", points(1), space="cnn")
    with pytest.raises(SpecError, match=r"warm_start\[0\]: .*over the space 'cnn', this one is over 'mlp'"):
        taken([other], table)
    foreign = other.model_copy(
        update={"space": "mlp", "candidates": (other.candidates[0].model_copy(update={"values": {"kernel": 3}}),)}
    )
    with pytest.raises(SpecError, match=r"none of its 1 candidates is a point of this space \(kernel: unknown"):
        taken([foreign], table)


def test_results_of_earlier_studies_are_no_turns_of_a_sequence():
    strategy = Hybrid(parts=("random", "greedy"), mode="sequence", trials=(2,))
    old = [Result(trial_id=f"earlier0/{i}", values=p, status="completed", score=0.0, epochs=1, prior=True)
           for i, p in enumerate(points(5))]  # fmt: skip
    assert strategy._turn(old) == 0
    assert strategy._turn([*old, *(Result(trial_id=str(i), values=p, status="completed", score=0.0, epochs=1)
                                   for i, p in enumerate(points(2, seed=9)))]) == 1  # fmt: skip


@pytest.mark.parametrize("strategy", ["hill_climb", "asha", "hyperband"])
def test_points_come_after_the_presets_and_strategies_go_on_from_results(strategy, table, tmp_path):
    presets = [dict(preset) for preset in SPACE.presets()]
    best, second = points(2)
    warm = taken([publish(tmp_path / "earlier", [best, second], dataset=table)], table, warm_points=1)
    seen = []
    for _ in range(2):  # killed after each trial, then gone on with
        ledger = Ledger(str(tmp_path / "ledger"))
        study = dataclasses.replace(open_study(ledger), warm=warm)
        oracle = make_oracle(strategy, study)
        for _ in range(len(presets) - 1 if not ledger.records else 3):
            record = oracle.next()
            ledger.end(record.trial_id, "completed", score=0.5, epochs=record.control.get("tuner/epochs", 2))
            oracle.settle(record.trial_id)
            seen.append((record.origin, record.values))
    assert seen[:-1] == [*(("preset", values) for values in presets), ("earlier", best)]
    assert seen[-1][0] == "strategy"
    assert [result.trial_id for result in study.known if result.prior] == ["earlier0/0001"]
    climbs = strategy == "hill_climb"  # from the best that is known, 0.8, though nothing here scored more than 0.5
    assert study.ledger.records[-1].parents == (("earlier0/0001",) if climbs else ())


@pytest.mark.parametrize(("inherits", "known"), [(False, ["earlier0/0000"]), (True, [])])
def test_strategies_that_let_trials_go_on_are_told_nothing_of_other_studies(inherits, known, table, tmp_path):
    class Listening:
        def suggest(self, parameters, presets, history, n, rng):
            self.heard = [result.trial_id for result in history]
            return points(1, seed=5)

    strategy, ledger = Listening(), Ledger(str(tmp_path / "ledger"))
    strategy.inherits = inherits
    warm = taken([publish(tmp_path / "earlier", points(1), dataset=table)], table, warm_points=0)
    study = dataclasses.replace(open_study(ledger), warm=warm)
    oracle = StrategyOracle(study, strategy)
    for _ in SPACE.presets():
        record = oracle.next()
        ledger.end(record.trial_id, "completed", score=0.5, epochs=2)
        oracle.settle(record.trial_id)
    assert oracle.next().origin == "strategy"
    assert strategy.heard == [*known, *(record.trial_id for record in ledger.ended)]


@pytest.mark.slow
def test_a_search_goes_on_from_an_earlier_one(table, tmp_path):
    presets = [dict(preset) for preset in SPACE.presets()]
    start, best, second = points(3)
    earlier = publish(tmp_path / "earlier", [best, second], dataset=table)
    work, output = str(tmp_path / "work"), str(tmp_path / "output")
    asked = spec(earlier.uri, trials=len(presets) + 3, warm_points=1, start=(start,))
    search = step.run(asked, dataset=table, work_dir=work, output=output)
    trials = search.json("trials.json")
    assert [trial["values"] for trial in trials[:-1]] == [start, *presets, best]
    assert [trial["origin"] for trial in trials] == ["preset"] * (len(presets) + 1) + ["earlier", "strategy"]
    assert key(trials[-1]["values"]) != key(second)  # known already
    assert search.inputs == {"dataset": table.digest, "warm_start.0": earlier.digest}
    assert "earlier study" in search.file("report.html").decode()
    (ledger,) = (tmp_path / "work").glob("search/*/ledger.jsonl")
    place = type("P", (), {"at": lambda self, name: str(ledger)})()
    study = open_place(asked, table, place, read_earlier(asked.search.warm_start))
    assert next(result.trial_id for result in study.known) == "earlier0/0001"  # the best one counts as it went here
    assert len(study.known) == len(Ledger(str(ledger)).ended) + 1
