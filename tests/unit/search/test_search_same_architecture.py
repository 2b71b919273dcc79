"""Points that mean an architecture and recipe tried before are answered, not trained."""

import collections
import dataclasses

import numpy as np
import pytest

from nasflow.core.spec import BudgetSection, ConstraintsSection
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.search.budget import Budget
from nasflow.search.ledger import Ledger
from nasflow.search.limits import Limits
from nasflow.search.oracle import make_oracle
from nasflow.search.study import Study
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Recipe
from nasflow.spaces.cell import CellSpace
from nasflow.spaces.graph import Graph
from nasflow.spaces.parameters import Choice, Real, key

INPUTS, OUTPUT = InputSpec(image=(8, 8, 1)), OutputSpec(classes=10)
CELL = CellSpace(
    inputs=INPUTS, output=OUTPUT, nodes=3, operations=("none", "skip", "conv_1x1"), stages=1, cells=1, width=4,
    recipe="none",
)  # fmt: skip
"""Three edges, 0→1, 0→2, 1→2, and three operations: 27 points."""
ARCHITECTURES = 9
"""By hand: a cell is the sum of its edge 0→2 (missing, skip, conv) and its path 0→1→2 (missing in 5 of 9 pairs, else
skip, conv, or two convs): 12 sums. Skip or conv alone may be either of the two, and so may skip + conv: 12 − 3."""


def open_study(uri, *, space=CELL, trials=None, **section):
    ledger = Ledger(str(uri))
    return Study(
        space=space,
        limits=Limits(space, ConstraintsSection(), inputs=INPUTS, output=OUTPUT),
        ledger=ledger,
        budget=Budget(BudgetSection(trials=trials or 10_000, **section), 9, ledger),
        metric="accuracy",
        inputs=INPUTS,
        output=OUTPUT,
        seed=0,
    )


def score(record):
    """A function of the architecture, as training is."""
    return int(record.architecture_id[:6], 16) / 2**24


def search(study, strategy, *, stop_after=None, **arguments):
    oracle = make_oracle(strategy, study, **arguments)
    done = 0
    while done != stop_after and (record := (study.ledger.running or [None])[0] or oracle.next()) is not None:
        epochs = record.control.get("tuner/epochs", 9)
        study.ledger.end(record.trial_id, "completed", score=score(record), epochs=epochs, seconds=1.0)
        oracle.settle(record.trial_id)
        done += 1
    return oracle


def test_the_space_has_so_many_architectures():
    points = [p for p in _points() if CELL.architecture(p)]
    assert (len(points), len({CELL.architecture(point).identity for point in points})) == (27, ARCHITECTURES)


def _points():
    names = [parameter.name for parameter in CELL.parameters()]
    assert len(names) == 3
    operations = ("none", "skip", "conv_1x1")
    return [dict(zip(names, (a, b, c), strict=True)) for a in operations for b in operations for c in operations]


ENUMERATING = ["random", "grid", "auto", "evolution", "genetic", "hill_climb", "tpe", "reinforce", "greedy", "hybrid"]


@pytest.mark.parametrize("strategy", ENUMERATING)
def test_every_architecture_is_trained_once_then_the_space_is_exhausted(strategy, tmp_path):
    study = open_study(tmp_path / "ledger")
    settings = {"parts": ("evolution", "hill_climb", "random"), "weights": None} if strategy == "hybrid" else {}
    oracle = search(study, strategy, settings=settings)
    assert oracle.stopped_by == "exhausted"
    trained = [r for r in study.ledger.records if r.same_as is None]
    assert len({r.architecture_id for r in trained}) == len(trained) == study.ledger.trained == ARCHITECTURES
    assert len({key(r.values) for r in study.ledger.records}) == len(study.ledger.records) == 27
    assert len(study.history) == 27


def test_a_known_point_costs_nothing_and_has_the_result_of_its_twin(tmp_path):
    study = open_study(tmp_path / "ledger", trials=8)
    assert search(study, "random").stopped_by == "trials"
    same = [r for r in study.ledger.records if r.status == "same"]
    assert study.ledger.trained == 8
    assert same
    for record in same:
        twin = study.ledger.get(record.same_as)
        assert twin.same_as is None
        assert (twin.architecture_id, twin.score) == (record.architecture_id, record.score)
        assert record.seconds == record.cpu_seconds == 0.0
    results = {result.trial_id: result for result in study.history}
    assert all(results[r.trial_id].score == results[r.same_as].score for r in same)
    assert all(results[r.trial_id].same_as == r.same_as for r in same)
    assert study.ledger.seconds == 8.0
    assert Ledger(study.ledger.uri).records == study.ledger.records


@pytest.mark.parametrize("strategy", ["random", "evolution", "hill_climb", "asha", "hyperband"])
def test_a_killed_study_goes_on_with_what_it_knows(strategy, tmp_path):
    trials = 13 if strategy == "asha" else 8
    whole = open_study(tmp_path / "whole", trials=trials)
    search(whole, strategy)
    for stop_after in (3, 2, 4, None):
        parts = open_study(tmp_path / "parts", trials=trials)
        search(parts, strategy, stop_after=stop_after)
    assert parts.ledger.records == whole.ledger.records
    assert any(record.status == "same" for record in whole.ledger.records)


def test_other_epochs_are_another_trial(tmp_path):
    """Rungs train a point again; another point of the same architecture is answered in each of them."""
    study = open_study(tmp_path / "ledger", trials=14)
    search(study, "asha")
    records = study.ledger.records
    trained = [(r.architecture_id, r.control.get("tuner/epochs", 9)) for r in records if r.same_as is None]
    assert len(trained) == len(set(trained)) == 14
    assert max(collections.Counter(identity for identity, _ in trained).values()) == 3
    for record in records:
        if record.same_as is not None:
            twin = study.ledger.get(record.same_as)
            assert record.control.get("tuner/epochs", 9) == twin.control.get("tuner/epochs", 9)


def test_a_twin_of_a_running_trial_waits_for_its_result(tmp_path):
    study = open_study(tmp_path / "ledger")
    oracle = make_oracle("grid", study)
    while oracle.next() is not None:  # as many workers as there are architectures, and none has ended
        pass
    assert len(study.ledger.running) == ARCHITECTURES
    assert len(study.ledger.waiting) == 27 - ARCHITECTURES
    assert not study.history
    twin = study.ledger.waiting[0]
    for record in study.ledger.running:
        failed = record.trial_id == twin.same_as
        study.ledger.end(record.trial_id, "failed" if failed else "completed", score=None if failed else score(record))
        oracle.settle(record.trial_id)
    assert not study.ledger.waiting
    assert not oracle.ongoing_trials
    results = {result.trial_id: result for result in study.history}
    assert len(results) == 27
    assert results[twin.trial_id].status == "failed"
    assert not make_oracle("grid", study).ongoing_trials  # brought to the same place by the ledger


class Ignorant(Space):
    """A real-valued parameter that changes nothing: it can be drawn for ever."""

    name = "ignorant"

    def parameters(self):
        return (Choice(name="units", values=(4, 8)), Real(name="unused", low=0.0, high=1.0))

    def presets(self):
        return ({"units": 4, "unused": 0.5},)

    def architecture(self, values):
        graph = Graph()
        flat = graph.add("flatten", graph.add("input", tensor="image"))
        return graph.finish(graph.add("dense", flat, units=values["units"], bias=True), Recipe())


def test_a_space_that_cannot_be_listed_is_exhausted_after_a_thousand_known_points_in_a_row(tmp_path):
    study = open_study(tmp_path / "ledger", space=Ignorant())
    oracle = search(study, "random")
    assert oracle.stopped_by == "exhausted"
    assert study.ledger.trained == 2
    assert 1_000 <= len(study.ledger.records) <= 1_100


def test_a_pareto_search_ranks_each_architecture_once(tmp_path):
    study = dataclasses.replace(open_study(tmp_path / "ledger"), objectives=("accuracy", "parameters"))
    oracle = make_oracle("random", study)
    while (record := oracle.next()) is not None:
        study.ledger.end(record.trial_id, "completed", score=score(record), metrics={"accuracy": score(record)})
        oracle.settle(record.trial_id)
    results = {result.trial_id: result for result in study.history}
    twins = [result for result in results.values() if result.same_as is not None]
    assert len(twins) == 27 - ARCHITECTURES
    assert all((r.score, r.scores) == (results[r.same_as].score, results[r.same_as].scores) for r in twins)
    assert max(result.score for result in results.values()) > -1.0  # an extreme of the first front, not crowded out


def test_a_promoted_twin_starts_from_the_trial_it_is_the_same_as(tmp_path):
    study = open_study(tmp_path / "ledger")
    points = np.random.default_rng(0).permutation(np.array(_points(), dtype=object))
    drafts = [study.limits.draft(point) for point in points]
    for number, draft in enumerate(drafts):
        study.start(str(number), draft, "strategy", control={"tuner/epochs": 3}, horizon=9)
        if study.ledger.get(str(number)).same_as is None:
            study.ledger.end(str(number), "completed", score=0.5, epochs=3)
    for number, draft in enumerate(drafts):
        promoted = f"p{number}"
        study.start(promoted, draft, "strategy", control={"tuner/epochs": 9}, inherit=str(number), horizon=9)
        record, start = study.ledger.get(promoted), study.ledger.get(str(number))
        assert record.inherit == (start.same_as or start.trial_id)  # whose weights there are
        assert (record.same_as is None) == (start.same_as is None)
    assert study.ledger.trained == 2 * ARCHITECTURES
