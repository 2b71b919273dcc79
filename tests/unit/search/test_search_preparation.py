"""The supernet in a search: when it runs, what it costs, what comes of it. With a crew that only pretends to train, and
once for real."""

import dataclasses
import json
import logging
from pathlib import Path

import pytest

from nasflow.core.errors import SpecError, TryAgainError
from nasflow.core.spec import BudgetSection, ConstraintsSection, RuntimeSection, SearchSection, ValidationSection
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.search import report_supernet, step, supernet
from nasflow.search.budget import Budget
from nasflow.search.crew import Lost
from nasflow.search.engine import Engine
from nasflow.search.job import Job, Outcome, Report, Setup, dump, parse
from nasflow.search.ledger import Ledger
from nasflow.search.limits import Limits
from nasflow.search.oracle import make_oracle
from nasflow.search.preparation import SUPERNET
from nasflow.search.shared import Data
from nasflow.search.spec import SearchSpec
from nasflow.search.study import Study
from nasflow.search.trial import TrialRunner
from nasflow.spaces.cell import CellSpace
from nasflow.spaces.mlp import MlpSpace

INPUTS, OUTPUT = InputSpec(image=(8, 8, 1), image_mean=(73.0,), image_std=(90.0,)), OutputSpec(classes=10)
SPACE = CellSpace(inputs=INPUTS, output=OUTPUT, nodes=3, operations=("none", "skip", "conv_3x3"), stages=1)
SETUP = Setup(
    inputs=INPUTS,
    output=OUTPUT,
    metrics=("accuracy",),
    seed=0,
    validation=ValidationSection(),
    runtime=RuntimeSection(),
)
EDGES = ("edge_0_1", "edge_0_2", "edge_1_2")
SURE = {"edge_0_1": [0.1, 0.2, 0.7], "edge_0_2": [0.1, 0.6, 0.3], "edge_1_2": [0.2, 0.3, 0.5]}
"""conv, skip, conv is a preset of the space; the next ones, by hand: conv skip skip .7·.6·.3, conv conv conv .7·.3·.5,
conv conv skip .063, skip skip conv .06; conv skip none, .7·.6·.2 = .084, is never derived."""


def open_study(uri, *, space=SPACE, trials=6, **budget):
    ledger = Ledger(str(uri))
    return Study(
        space=space,
        limits=Limits(space, ConstraintsSection(), inputs=INPUTS, output=OUTPUT),
        ledger=ledger,
        budget=Budget(BudgetSection(trials=trials, **budget), 9, ledger),
        metric="accuracy",
        inputs=INPUTS,
        output=OUTPUT,
        seed=0,
    )


class Crew:
    """Each epoch of the supernet takes 10 s, each trial 5; a supernet knows its probabilities from the start."""

    def __init__(self, *, size=1, epochs=6, lost=(), killed_after=None, status="completed", probabilities=SURE):
        self.size, self.jobs, self.waiting = size, [], []
        self._epochs, self._lost, self._killed = epochs, list(lost), killed_after
        self._status, self._probabilities = status, probabilities

    def start(self, job):
        assert parse(Job, json.loads(json.dumps(dump(job)))) == job  # what a worker process gets
        self.jobs.append(job)
        self.waiting.append(job)

    def wait(self, decide):
        job = self.waiting.pop(0)
        if job.trial_id != SUPERNET:
            return Outcome(trial_id=job.trial_id, status="completed", score=0.5, epochs=9, seconds=5.0)
        if self._lost:
            return self._lost.pop(0)
        history, notes = [], []
        for number in range(1, self._epochs + 1):
            learned = self._probabilities if number > 2 else None
            report = Report(
                trial_id=SUPERNET,
                run=0,
                number=number,
                loss=1.0,
                score=None,
                seconds=10.0,
                spent=10.0 * number,
                probabilities=learned,
            )
            why = decide(report)
            history.append(
                {
                    "number": number,
                    "loss": 1.0,
                    "judged": 0.9 if learned else None,
                    "progress": number / self._epochs,
                    "seconds": 10.0,
                    "probabilities": learned or dict.fromkeys(EDGES, [1 / 3] * 3),
                }
            )
            if number == self._killed:
                raise TryAgainError("stopped by SIGTERM")
            if why:
                notes.append(why)
                break
        seconds, message = 10.0 * len(history), "" if self._status == "completed" else "it diverged"
        return Outcome(
            trial_id=SUPERNET,
            status=self._status,
            history=history if not message else [],
            epochs=len(history),
            seconds=seconds,
            cpu_seconds=seconds,
            notes=notes,
            message=message,
        )

    def close(self):
        pass


def run(study, crew, **settings):
    oracle = make_oracle("differentiable", study, settings=settings)
    Engine(study, oracle, crew, SETUP).run()
    return oracle


def names(crew):
    return [job.trial_id for job in crew.jobs]


def cells(study, origin="supernet"):
    return [tuple(r.values[e] for e in EDGES) for r in study.ledger.records if r.origin == origin]


def test_it_runs_once_after_the_presets_and_its_cells_come_next(tmp_path):
    study, crew = open_study(tmp_path / "ledger", trials=7), Crew()
    oracle = run(study, crew)
    assert names(crew) == ["0000", "0001", "0002", SUPERNET, "0003", "0004", "0005", "0006"]
    assert oracle.stopped_by == "trials"
    assert [r.origin for r in study.ledger.records] == ["preset"] * 3 + ["supernet"] * 3 + ["strategy"]
    assert cells(study, "preset")[0] == ("conv_3x3", "skip", "conv_3x3")
    # Of 2^3 cells one has three skips, the likeliest is the preset's; skip skip conv and skip conv skip are conv skip
    # skip again, skip conv conv is conv conv skip
    conv = "conv_3x3"
    assert cells(study) == [(conv, "skip", "skip"), (conv, conv, conv), (conv, conv, "skip")]
    assert not any("none" in cell for cell in cells(study))
    assert len({r.architecture_id for r in study.ledger.records}) == 7
    assert all(r.parents == ("0000",) for r in study.ledger.records[3:])  # all trials score the same
    supernet_job = crew.jobs[3].supernet
    assert supernet_job.seconds is None  # no limit of time: all epochs
    assert supernet_job.choices == dict.fromkeys(EDGES, ("none", "skip", "conv_3x3"))


def test_what_it_costs_is_time_and_no_trial(tmp_path, caplog):
    study = open_study(tmp_path / "ledger", trials=5)
    with caplog.at_level(logging.INFO, logger="nasflow"):
        run(study, Crew())
    told = [record.getMessage() for record in caplog.records if hasattr(record, "supernet_epoch")]
    assert told[0] == "supernet: epoch 1 of at most 30, loss 1.0000, 10.0 s, warm-up"
    assert told[5] == "supernet: epoch 6 of at most 30, loss 1.0000, 10.0 s"
    assert study.ledger.trained == 5
    assert study.ledger.preparation.seconds == 60.0
    assert study.ledger.seconds == 5 * 5.0 + 60.0
    again = Ledger(str(tmp_path / "ledger"))
    assert again.preparation == study.ledger.preparation
    assert again.seconds == study.ledger.seconds
    assert next(cell["values"] for cell in again.preparation.content["derived"]) == dict(
        zip(EDGES, ("conv_3x3", "skip", "conv_3x3"), strict=True)
    )


def test_its_part_of_the_budget_by_hand(tmp_path):
    """A tenth of 600 s; of 1,000 s of devices (10 s of them spent) a tenth; of 90 € at 3 € an hour a tenth of 30 h."""
    assert open_study(tmp_path / "a", hours=1 / 6).budget.part(0.1) == pytest.approx(60.0)
    assert open_study(tmp_path / "b", hours=1 / 6, device_hours=1 / 60).budget.part(0.1) == pytest.approx(6.0)
    assert open_study(tmp_path / "c", money=90.0, price_per_device_hour=3.0).budget.part(0.1) == 3 * 3600
    assert open_study(tmp_path / "d", hours=1 / 6).budget.part(0.9) == pytest.approx(300.0, abs=1.0)  # half of the rest
    assert open_study(tmp_path / "e").budget.part(0.3) is None
    study, crew = open_study(tmp_path / "f", trials=4, hours=1.0), Crew()
    run(study, crew, share=0.25)
    assert crew.jobs[3].supernet.seconds == pytest.approx(900.0)


def test_beyond_the_time_it_ends_and_so_does_the_search(tmp_path):
    """50 s of devices: 15 for the presets, 30 for three epochs; a fourth would not fit."""
    study, crew = open_study(tmp_path / "ledger", trials=None, device_hours=50 / 3600), Crew()
    oracle = run(study, crew)
    assert study.ledger.preparation.content["notes"] == ["out of time"]
    assert len(study.ledger.preparation.content["history"]) == 3
    assert oracle.stopped_by == "device_hours"


def test_killed_it_goes_on_and_the_search_is_the_same(tmp_path):
    whole = open_study(tmp_path / "whole", trials=7)
    run(whole, Crew())
    with pytest.raises(TryAgainError):
        run(open_study(tmp_path / "parts", trials=7), Crew(killed_after=4))
    killed = Ledger(str(tmp_path / "parts")).preparation
    assert (killed.started, killed.ended, killed.epochs, killed.seconds) == (True, False, 4, 40.0)
    parts, crew = open_study(tmp_path / "parts", trials=7), Crew()
    run(parts, crew)
    assert names(crew)[0] == SUPERNET  # the presets are done
    assert [(r.values, r.origin, r.parents) for r in parts.ledger.records] == [
        (r.values, r.origin, r.parents) for r in whole.ledger.records
    ]
    assert parts.ledger.preparation.seconds == 40.0 + 60.0
    later = Crew()
    run(open_study(tmp_path / "parts", trials=8), later)
    assert len(names(later)) == 1  # one more trial, and no supernet once more
    assert names(later) != [SUPERNET]


def test_a_worker_that_dies_twice_is_given_up_and_the_search_goes_on(tmp_path):
    lost = [Lost(trial_id=SUPERNET, how="signal 9", blameless=False)] * 2
    study, crew = open_study(tmp_path / "ledger"), Crew(lost=lost)
    run(study, crew)
    assert names(crew) == ["0000", "0001", "0002", SUPERNET, SUPERNET, "0003", "0004", "0005"]
    assert "died 2 times" in study.ledger.preparation.content["message"]
    assert [r.origin for r in study.ledger.records] == ["preset"] * 3 + ["strategy"] * 3


def test_a_preempted_worker_is_not_to_blame(tmp_path):
    lost = [Lost(trial_id=SUPERNET, how="signal 15", blameless=True)] * 3
    study, crew = open_study(tmp_path / "ledger"), Crew(lost=lost)
    run(study, crew)
    assert names(crew).count(SUPERNET) == 4
    assert study.ledger.preparation.content["message"] == ""


@pytest.mark.parametrize(
    ("crew", "settings", "message"),
    [
        (Crew(status="failed"), {}, "it diverged"),
        (Crew(epochs=2), {}, "before the softmaxes had learned in one epoch"),
    ],
)
def test_without_a_result_the_best_preset_is_varied(crew, settings, message, tmp_path):
    study = open_study(tmp_path / "ledger")
    run(study, crew, **settings)
    assert message in study.ledger.preparation.content["message"]
    assert [r.origin for r in study.ledger.records] == ["preset"] * 3 + ["strategy"] * 3
    ((_, body),) = report_supernet.sections(study.ledger.preparation, study.ledger.records)
    assert message.removeprefix("it ") in body


def test_a_collapse_ends_it_and_no_cell_has_more_skips(tmp_path):
    """Three skips are the likeliest; one is allowed: after the third epoch of that it ends. By hand: the skip that is
    left is one of those at .8, the other edges are convolutions."""
    skips = {edge: [0.05, 0.8, 0.15] for edge in EDGES}
    study, crew = open_study(tmp_path / "ledger"), Crew(epochs=20, probabilities=skips)
    run(study, crew, most_skips=1)
    content = study.ledger.preparation.content
    assert len(content["history"]) == 5  # two of warm-up
    assert content["notes"] == ["collapse: 3, 3, 3 skips in the likeliest cell, most_skips is 1"]
    assert all(list(cell["values"].values()).count("skip") <= 1 for cell in content["derived"])
    assert list(content["derived"][0]["values"].values()).count("conv_3x3") == 2


def test_with_two_workers_the_last_presets_run_beside_it(tmp_path):
    study, crew = open_study(tmp_path / "ledger"), Crew(size=2)
    run(study, crew)
    assert names(crew)[:4] == ["0000", "0001", "0002", SUPERNET]
    assert [r.origin for r in study.ledger.records] == ["preset"] * 3 + ["supernet"] * 3
    assert len({r.architecture_id for r in study.ledger.records}) == 6


def test_a_space_without_such_a_form_is_refused(tmp_path):
    inputs = InputSpec(numeric=4)
    space = MlpSpace(inputs=inputs, output=OUTPUT)
    study = dataclasses.replace(open_study(tmp_path / "ledger"), space=space)
    with pytest.raises(SpecError, match="differentiable needs a space that can be one network, which mlp cannot"):
        make_oracle("differentiable", study)


def test_the_report_draws_the_softmaxes(tmp_path):
    study = open_study(tmp_path / "ledger", trials=5)
    run(study, Crew())
    ((heading, body),) = report_supernet.sections(study.ledger.preparation, study.ledger.records)
    assert heading == "What the supernet learned"
    assert body.count("<svg") == 1
    for text in ("edge_0_1", "conv_3x3", "60 s", "no trial of the budget"):
        assert text in body
    row = body[body.index("<tbody") :] if "<tbody" in body else body[body.index("<table") :]
    assert "0003" in row  # the first derived cell's trial
    assert report_supernet.sections(Ledger(str(tmp_path / "none")).preparation, ()) == []


class Forbidden:
    """Fails whoever looks at it."""

    def __getattr__(self, name):
        raise AssertionError(f"validation rows were looked at: {name}")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    from tests.unit.search.conftest import make_digits

    return make_digits(tmp_path_factory.mktemp("digits"))


@pytest.mark.slow
def test_it_never_sees_the_validation_split(digits, tmp_path):
    from nasflow.data.reader import read

    study = open_study(tmp_path / "ledger")
    job = make_oracle("differentiable", study, settings={"epochs": 2, "warm_up": 0.5}).preparation.job()
    runner = TrialRunner(SETUP, Data(train=read(digits, "train").take(slice(0, 128)), validation=Forbidden()))
    outcome = runner.run(job, lambda report: "")
    assert (outcome.status, outcome.message, outcome.epochs) == ("completed", "", 2)
    with pytest.raises(AssertionError, match="looked at"):
        _ = runner._data.validation.rows


@pytest.mark.slow
def test_a_whole_search_on_digits_killed_and_not(digits, tmp_path, monkeypatch):
    """The same softmaxes, the same trials."""
    spec = SearchSpec(
        task="image_classification",
        metric="accuracy",
        search=SearchSection(
            space="cell",
            space_settings={"nodes": 3, "operations": ["none", "skip", "conv_3x3"], "stages": 1, "recipe": "none"},
            strategy="differentiable",
            settings={"epochs": 5},
            budget=BudgetSection(trials=5, epochs=2),
        ),
    )

    def search(name):
        return step.run(spec, dataset=digits, work_dir=str(tmp_path / name), output=str(tmp_path / name / "output"))

    whole = search("whole")
    assert [trial["origin"] for trial in whole.json("trials.json")] == ["preset"] * 3 + ["supernet"] * 2
    prepared = whole.json("supernet.json")
    assert [entry["judged"] is None for entry in prepared["content"]["history"]] == [True, True, False, False, False]
    assert prepared["content"]["message"] == ""
    assert prepared["cpu_seconds"] > 0
    assert "What the supernet learned" in whole.file("report.html").decode()

    real = supernet.train_supernet

    def interrupted(*args, on_epoch, **more):
        def heard(epoch):
            on_epoch(epoch)
            if epoch.number == 3:
                raise TryAgainError("stopped by SIGTERM")
            return True

        return real(*args, on_epoch=heard, **more)

    monkeypatch.setattr(supernet, "train_supernet", interrupted)
    with pytest.raises(TryAgainError):
        search("parts")
    monkeypatch.setattr(supernet, "train_supernet", real)
    parts = search("parts")
    mine, others = parts.json("supernet.json")["content"], prepared["content"]
    assert [e["probabilities"] for e in mine["history"]] == [e["probabilities"] for e in others["history"]]
    assert mine["derived"] == others["derived"]
    assert [t["score"] for t in parts.json("trials.json")] == [t["score"] for t in whole.json("trials.json")]
    assert not list(Path(tmp_path).glob("parts/search/*/trials/*"))  # its checkpoint is gone
