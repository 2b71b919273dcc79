"""A study of many trials: what is kept up as trials end equals a look at the whole ledger, and is not one."""

import itertools
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.core.spec import BudgetSection, ConstraintsSection, FilterSection, StoppingSection
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.search import pareto, weights
from nasflow.search.budget import Budget
from nasflow.search.cost_model import calibrate
from nasflow.search.features import Features
from nasflow.search.job import Report
from nasflow.search.ledger import Ledger
from nasflow.search.limits import Limits
from nasflow.search.objectives import oriented
from nasflow.search.oracle import make_oracle
from nasflow.search.record import FREE, Record
from nasflow.search.stopping import Stopping
from nasflow.search.study import Study
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Recipe
from nasflow.spaces.graph import Graph
from nasflow.spaces.parameters import Choice, Real, key
from nasflow.strategies._base import Result

INPUTS, OUTPUT = InputSpec(numeric=4), OutputSpec(classes=3)


class Chain(Space):
    """Layers that are there or not, in pairs of one width: 3 ** (layers / 2) architectures of 2 ** layers points."""

    name = "chain"

    def __init__(self, layers, *, rate=False):
        self.layers, self.rate = layers, rate

    def parameters(self):
        found = tuple(Choice(name=f"layer{place}", values=("no", "yes")) for place in range(self.layers))
        return (*found, Real(name="rate", low=0.001, high=0.1)) if self.rate else found

    def presets(self):
        preset = {f"layer{place}": "no" for place in range(self.layers)}
        return ({**preset, "rate": 0.01} if self.rate else preset,)

    def architecture(self, values):
        graph = Graph()
        x = graph.add("input", tensor="numeric")
        for place in range(self.layers):
            if values[f"layer{place}"] == "yes":
                x = graph.add("dense", x, units=8 + 8 * (place // 2), bias=True)
        return graph.finish(x, Recipe(learning_rate=values.get("rate", 0.01)))


def open_study(uri, space, *, trials=10**6, constraints=None, prior=(), **more):
    from nasflow.search.warm_start import WarmStart

    ledger = Ledger(str(uri))
    limits = Limits(space, constraints or ConstraintsSection(), inputs=INPUTS, output=OUTPUT)
    budget = Budget(BudgetSection(trials=trials, hours=1000), 4, ledger)
    return Study(
        space=space, limits=limits, ledger=ledger, budget=budget, metric="log_loss", inputs=INPUTS, output=OUTPUT,
        seed=0, cost_rows=100, warm=WarmStart(prior=tuple(prior)), **more,
    )  # fmt: skip


def end(study, record):
    """Every fifth trial fails; the others have a score and a curve that follow from the architecture."""
    if int(record.trial_id) % 5 == 3:
        study.ledger.end(record.trial_id, "failed", seconds=1.0, message="made to fail")
        return
    score = int(record.architecture_id[:4], 16) / 2**16
    history = [{"number": n, "loss": 1.0, "score": score + 1 / n, "seconds": 0.01 * n} for n in (1, 2, 3, 4)]
    metrics = {"log_loss": score + 0.25, "latency_ms": 1 + score}
    study.ledger.end(
        record.trial_id, "completed", score=score + 0.25, metrics=metrics, epochs=4, seconds=1.0, history=history,
    )  # fmt: skip


def steps(study, strategy="random", limit=None):
    """Runs a study and stops after each trial."""
    oracle = make_oracle(strategy, study)
    for _ in itertools.count() if limit is None else range(limit):
        record = (study.ledger.running or [None])[0] or oracle.next()
        if record is None:
            return
        end(study, record)
        oracle.settle(record.trial_id)
        yield record


def assert_as_a_look_at_the_whole_ledger(study):
    records, ended = list(study.ledger.records), list(study.ledger.ended)
    assert study.tried() == {key(record.values) for record in records}
    assert study.ledger.trained == sum(record.status not in FREE for record in records)
    assert study.ledger.seconds == pytest.approx(sum(record.seconds for record in records))
    assert study.ledger.running == tuple(record for record in records if record.status == "running")
    for status in FREE:
        assert study.ledger.count(status) == sum(record.status == status for record in records)
    scored = [record for record in ended if record.score is not None]
    assert study.best is min(scored, key=lambda record: record.score, default=None)
    if len(study.objectives) < 2:
        assert list(study.history) == [record.result(-1) for record in ended]
    for place, record in enumerate(ended):
        worst = max((r.score for r in ended[:place] if r.score is not None), default=0.0)
        assert study.past.worst(record.trial_id) == (-worst if worst else math.inf)
        assert list(study.past.trained(record.architecture_id)) == [
            r for r in records if r.architecture_id == record.architecture_id and r.status not in FREE
        ]
        assert study.ledger.twins(record.trial_id) == tuple(r for r in records if r.same_as == record.trial_id)
    assert study.cost_model() == calibrate(ended, rows=study.cost_rows)


def test_what_is_kept_up_is_what_the_whole_ledger_says(tmp_path):
    prior = [Result(trial_id="before", values={f"layer{n}": "yes" for n in range(4)}, status="completed", score=-0.5,
                    epochs=4, prior=True)]  # fmt: skip
    constraints = ConstraintsSection(parameters=500)
    study = open_study(tmp_path / "ledger", Chain(4), constraints=constraints, prior=prior)
    assert [result.trial_id for result in study.known] == ["before"]
    for _ in steps(study):
        assert_as_a_look_at_the_whole_ledger(study)
        tried = {key(record.values) for record in study.ledger.records}
        left = [result for result in prior if key(result.values) not in tried]
        assert list(study.known) == [*left, *study.history]
    statuses = {record.status for record in study.ledger.records}
    assert statuses == {"completed", "failed", "same", "infeasible"}
    again = open_study(tmp_path / "ledger", Chain(4), constraints=constraints, prior=prior)
    assert_as_a_look_at_the_whole_ledger(again)
    assert list(again.history) == list(study.history)
    assert list(again.known) == list(study.known)


def test_a_filtered_study_compares_with_the_last_fifty_points(tmp_path):
    study = open_study(tmp_path / "ledger", Chain(6, rate=True), filter=FilterSection(by="parameters", keep=0.5))
    import dataclasses

    study = dataclasses.replace(study, features=Features(study.space, INPUTS, OUTPUT, study.ledger))
    for _ in steps(study, limit=70):
        assert_as_a_look_at_the_whole_ledger(study)
        seen = [r for r in study.ledger.records if r.status not in ("infeasible", "same")]
        assert list(study.past.proposed) == seen[-50:]
    assert study.ledger.count("filtered") > 20


def test_a_point_that_breaks_a_limit_is_one_line(tmp_path):
    """A process that was killed between two of them left a trial behind that the next one would have trained."""
    study = open_study(tmp_path / "ledger", Chain(4), constraints=ConstraintsSection(parameters=200))
    draft = study.limits.draft({f"layer{place}": "yes" for place in range(4)})
    study.reject(draft, "strategy")
    assert len((tmp_path / "ledger").read_bytes().splitlines()) == 1
    (record,) = Ledger(str(tmp_path / "ledger")).records
    assert (record.status, record.message) == ("infeasible", draft.problem)
    assert "constraints.parameters" in record.message


class Read(list):
    """Counts its elements as they are read."""

    count = 0

    def __iter__(self):
        Read.count += len(self)
        return super().__iter__()

    def __getitem__(self, place):
        found = super().__getitem__(place)
        Read.count += len(found) if isinstance(place, slice) else 1
        return found


def test_a_suggestion_reads_and_calls_as_much_at_the_end_as_at_the_start(tmp_path):
    """Records read, and calls of Python functions of nasflow and Keras Tuner; a generator counts when it goes on."""
    study = open_study(tmp_path / "ledger", Chain(6, rate=True), constraints=ConstraintsSection(parameters=3000))
    study.ledger._records, study.ledger._ended = Read(), Read()
    Read.count = calls = 0

    def count(frame, event, _):
        nonlocal calls
        if event == "call":
            calls += "nasflow" in frame.f_code.co_filename or "keras_tuner" in frame.f_code.co_filename

    sys.setprofile(count)
    try:
        each = []
        for _ in steps(study, limit=250):
            study.best, study.score_of("0000"), study.cost_model(), study.budget.ended()
            each.append((Read.count, calls, len(study.ledger.records)))
    finally:
        sys.setprofile(None)
    reads, calls, records = np.array(each).T
    assert reads[-1] <= 4 * records[-1]  # by each of those who keep something up, once; all of them: 30,000
    first, last = slice(50, 110), slice(190, 250)
    for counted in (reads, calls):
        early, late = (np.ptp(counted[part]) / np.ptp(records[part]) for part in (first, last))
        assert late <= 1.15 * early


@given(
    st.integers(2, 3).flatmap(
        lambda width: st.lists(
            st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan]), min_size=width, max_size=width),
            min_size=1,
            max_size=25,
        )
    )
)
@settings(max_examples=60, deadline=None)
def test_levels_are_the_ranks_of_all_points_so_far(points):
    levels = pareto.Levels(len(points[0]))
    for number, point in enumerate(points, 1):
        assert levels.add(np.array(point)) == number - 1
        if number in (1, 2, 5, len(points)):
            assert levels.ranks() == pareto.ranks(np.array(points[:number])).tolist()


def test_a_pareto_search_is_ranked_as_all_of_its_trials_are(tmp_path):
    objectives = ("log_loss", "parameters")
    study = open_study(tmp_path / "ledger", Chain(6), objectives=objectives)
    for number, _ in enumerate(steps(study)):
        if number % 5:
            continue
        trained = [r for r in study.ledger.ended if r.score is not None and r.same_as is None]
        ranks = pareto.ranks(np.array([oriented(record, objectives) for record in trained]).reshape(-1, 2))
        expected = dict(zip([record.trial_id for record in trained], ranks, strict=True))
        for result in study.history:
            assert result.score == expected.get(result.same_as or result.trial_id) == study.score_of(result.trial_id)
    assert study.ledger.count("same") == 64 - 27


def test_the_median_of_running_means_is_that_of_all_curves(tmp_path):
    study = open_study(tmp_path / "ledger", Chain(2))
    rng = np.random.default_rng(0)
    stopping = Stopping(study, StoppingSection(median=True, after=1))
    curves = []
    for number in range(30):
        curve = rng.random(int(rng.integers(1, 5))).tolist()
        curves.append([-score for score in curve])
        study.ledger.start(Record(trial_id=str(number), values={"n": number}, origin="strategy"))
        history = [{"number": n, "score": score} for n, score in enumerate(curve, 1)]
        study.ledger.end(str(number), "completed", score=curve[-1], epochs=len(curve), history=history)
        study.ledger.start(Record(trial_id=f"now{number}", values={"m": number}, origin="strategy"))
        for epoch in (1, 2, 3):
            means = [np.mean(curve[:epoch]) for curve in curves if len(curve) >= epoch]
            for score in (0.3, 0.5, 0.7):
                report = Report(
                    trial_id=f"now{number}", run=0, number=epoch, loss=1.0, score=score, seconds=1.0, spent=1.0
                )
                stopping._curves[f"now{number}"] = [-9.0] * (epoch - 1)
                assert bool(stopping(report)) == (bool(means) and -score < np.median(means))


def test_weights_of_a_trial_that_has_ended_are_measured_once(tmp_path, monkeypatch):
    study = open_study(tmp_path / "ledger", Chain(6, rate=True))
    measured = []
    monkeypatch.setattr(weights, "_bytes", lambda folder: measured.append(folder.name) or 100)
    store = weights.Weights(tmp_path / "weights", most_bytes=1000)
    for record in steps(study, limit=40):
        (store.folder / record.trial_id).mkdir(parents=True)
        store.trim(study)
    assert len(measured) == len(set(measured)) == 40
    assert len(list(store.folder.iterdir())) == 10  # of 100 bytes each


@pytest.mark.slow
def test_a_space_of_4096_points_is_searched_to_its_last(tmp_path):
    study = open_study(tmp_path / "ledger", Chain(12))
    trained = sum(1 for _ in steps(study, "random"))
    assert trained == study.ledger.trained == 3**6  # by hand: of each of six pairs of layers none, one or two
    assert len(study.ledger.records) == len(study.tried()) == 4096
