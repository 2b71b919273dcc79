"""Whole searches on tiny data, with Keras."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nasflow.core.artifacts import Search
from nasflow.core.errors import NasflowError, SpecError, TryAgainError, UserError
from nasflow.core.spec import BudgetSection, ConstraintsSection, ExperimentSpec, SearchSection
from nasflow.search import step, trial
from nasflow.search.about import About
from nasflow.search.ledger import Ledger
from nasflow.search.spec import SearchSpec
from nasflow.spaces.architecture import Architecture
from nasflow.spaces.mlp import MlpSpace

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # spaces by dotted path, here and in the processes that are killed


class Exploding(MlpSpace):
    """Every trial after the first two diverges."""

    sound = 2

    def architecture(self, values):
        found = super().architecture(values)
        if values in list(super().presets()[: self.sound]):
            return found
        recipe = {**found.to_json()["recipe"], "optimizer": "sgd", "learning_rate": 1e30, "schedule": "constant"}
        return Architecture.from_json({**found.to_json(), "recipe": recipe})


class AllExploding(Exploding):
    """Every trial diverges."""

    sound = 0


def spec(
    *, trials=4, epochs=2, strategy="auto", space="auto", task="tabular_classification", metric="accuracy", **more
):
    budget = BudgetSection(trials=trials, epochs=epochs, hours=more.pop("hours", None))
    looks = {name: more.pop(name) for name in ("finalists", "looks") if name in more}
    section = SearchSection(space=space, strategy=strategy, budget=budget, **looks)
    return SearchSpec(task=task, metric=metric, search=section, **more)


def ledger_of(work_dir):
    (path,) = Path(work_dir).glob("search/*/ledger.jsonl")
    return Ledger(str(path))


def test_a_search_publishes_its_document_and_is_reused(table, tmp_path, caplog):
    work, output = str(tmp_path / "work"), str(tmp_path / "output")
    with caplog.at_level(logging.INFO, logger="nasflow"):
        search = step.run(spec(trials=5), dataset=table, work_dir=work, output=output)
    assert search.trials.completed == 5
    assert (search.strategy, search.space, search.objective, search.stopped_by) == ("auto", "mlp", "accuracy", "trials")
    assert search.inputs == {"dataset": table.digest}
    assert len({candidate.architecture_id for candidate in search.candidates}) == 5
    for candidate in search.candidates:
        architecture = Architecture.from_json(search.json("architectures.json")[candidate.architecture_id])
        assert architecture.identity == candidate.architecture_id
        assert candidate.epochs == 2
    trials = search.json("trials.json")
    assert [trial["trial_id"] for trial in trials] == ["0000", "0001", "0002", "0003", "0004"]
    assert all(0 <= trial["score"] <= 1 and len(trial["history"]) == 2 for trial in trials)
    assert {trial["generation"] for trial in trials} >= {0, 1}
    page = search.file("report.html").decode()
    assert search.candidates[0].architecture_id in page
    assert page.count("<svg") == 4  # scores over trials, the architecture, learning curves, all choices at once
    lines = [record for record in caplog.records if hasattr(record, "trial")]
    assert [record.trial for record in lines] == [1, 2, 3, 4, 5]
    assert re.fullmatch(
        r"trial 5: [0-9a-f]{16} accuracy 0\.\d{4} \(best 0\.\d{4}\), \d+\.\d s, left: 0 trials", lines[-1].getMessage()
    )
    assert not list(Path(work).glob("search/*/trials/*"))  # the trials' own backups are gone
    again = step.run(spec(trials=5), dataset=table, work_dir=work, output=str(tmp_path / "other"))
    assert again.digest == search.digest
    assert Search.read(output).digest == search.digest
    (told,) = Path(work).glob("search/*/study.json")
    assert About.read(str(told)) == About.of(search)


def test_what_is_returned_is_not_worse_than_the_best_preset(regression_table, tmp_path):
    search = step.run(
        spec(trials=5, epochs=3, task="tabular_regression", metric="rmse", strategy="evolution"),
        dataset=regression_table,
        work_dir=str(tmp_path / "work"),
        output=str(tmp_path / "output"),
    )
    presets = [trial["score"] for trial in search.json("trials.json") if trial["origin"] == "preset"]
    assert presets
    assert search.candidates[0].score <= min(presets)


def test_failed_trials_are_recorded_and_the_search_goes_on(table, tmp_path):
    search = step.run(
        spec(trials=6, space="test_search_step:Exploding"),
        dataset=table,
        work_dir=str(tmp_path / "work"),
        output=str(tmp_path / "output"),
    )
    assert (search.trials.completed, search.trials.failed) == (2, 4)
    failed = [trial for trial in search.json("trials.json") if trial["status"] == "failed"]
    assert all("loss" in trial["message"] and trial["score"] is None for trial in failed)
    assert "Trials without a score" in search.file("report.html").decode()


def test_four_failures_at_the_start_end_the_search(table, tmp_path):
    with pytest.raises(NasflowError, match=r"first 4 trials all failed.*loss"):
        step.run(
            spec(trials=20, space="test_search_step:AllExploding"),
            dataset=table,
            work_dir=str(tmp_path / "work"),
            output=str(tmp_path / "output"),
        )
    assert [record.status for record in ledger_of(tmp_path / "work").records] == ["failed"] * 4
    assert not (tmp_path / "output").exists()


def test_impossible_constraint_is_the_users(table, tmp_path):
    with pytest.raises(UserError, match=r"impossible constraint.*Raise constraints\.parameters"):
        step.run(
            spec(constraints=ConstraintsSection(parameters=3)),
            dataset=table,
            work_dir=str(tmp_path / "work"),
            output=str(tmp_path / "output"),
        )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"strategy": "evolushun"}, "unknown strategy 'evolushun'; did you mean 'evolution'"),
        ({"space": "transformer"}, "unknown space 'transformer'"),
        ({"space": "cnn"}, "cnn needs images"),
    ],
)
def test_wrong_names_are_the_users(wrong, message, table, tmp_path):
    with pytest.raises(SpecError, match=message):
        step.run(spec(**wrong), dataset=table, work_dir=str(tmp_path / "w"), output=str(tmp_path / "o"))


def test_the_hours_end_a_trial_between_epochs_and_then_the_search(table, tmp_path):
    started = time.monotonic()
    search = step.run(
        spec(trials=None, epochs=100_000, hours=3 / 3600),
        dataset=table,
        work_dir=str(tmp_path / "work"),
        output=str(tmp_path / "output"),
    )
    assert time.monotonic() - started < 15
    assert search.stopped_by == "hours"
    (trial,) = search.json("trials.json")
    assert 0 < trial["epochs"] < 100_000
    assert "out of time" in trial["message"]


def test_a_signal_passes_and_the_trial_in_hand_is_run_again(table, tmp_path, monkeypatch):
    real, calls = trial.fit_with, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise TryAgainError("stopped by SIGTERM")
        return real(*args, **kwargs)

    monkeypatch.setattr(trial, "fit_with", interrupted)
    arguments = {"dataset": table, "work_dir": str(tmp_path / "work"), "output": str(tmp_path / "output")}
    with pytest.raises(TryAgainError):
        step.run(spec(), **arguments)
    assert [record.status for record in ledger_of(tmp_path / "work").records] == ["completed", "completed", "running"]
    search = step.run(spec(), **arguments)
    assert search.trials.completed == 4
    assert len(calls) == 5


def test_the_spec_holds_only_what_the_search_depends_on():
    content = {"task": "tabular_classification", "data": {"train": "a.csv", "label": "y"}}
    one = SearchSpec.of(ExperimentSpec.model_validate(content))
    other = SearchSpec.of(ExperimentSpec.model_validate({**content, "deploy": {"timeout_seconds": 7}, "name": "b"}))
    assert one == other
    assert one.metric == "accuracy"


RUN = """
import sys, pathlib
sys.path.insert(0, {here!r})
from nasflow.core.artifacts import Dataset
from nasflow.search import step
from test_search_step import spec
wanted = spec(trials=6, epochs=40, finalists=2, looks=1)
step.run(wanted, dataset=Dataset.read({dataset!r}), work_dir={work!r}, output={output!r})
"""


@pytest.mark.slow
def test_a_killed_search_goes_on_to_the_same_result(table, tmp_path):
    def start(work):
        code = RUN.format(here=str(HERE), dataset=table.uri, work=str(work), output=str(work / "output"))
        return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)

    whole = start(tmp_path / "whole")
    assert whole.wait(timeout=300) == 0
    for trials_first in (1, 3, 4):  # killed inside the second and the fourth trial, then inside the first second look
        process = start(tmp_path / "parts")
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            paths = list((tmp_path / "parts").glob("search/*/ledger.jsonl"))
            records = Ledger(str(paths[0])).records if paths else ()
            if len(records) > trials_first and records[trials_first].status == "running":
                backups = list((tmp_path / "parts").glob("search/*/trials/*/*/epoch.npz"))
                if backups:  # inside a trial, after an epoch
                    break
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert start(tmp_path / "parts").wait(timeout=300) == 0
    one, other = ledger_of(tmp_path / "whole"), ledger_of(tmp_path / "parts")
    assert [record.trial_id for record in other.ended[:4]] == ["0000", "0001", "0002", "0003"]
    assert [record.trial_id for record in other.ended] == [record.trial_id for record in one.ended]
    assert [record.look for record in other.records] == [0, 0, 0, 0, 1, 1]
    assert [record.values for record in other.records] == [record.values for record in one.records]
    assert [record.epochs for record in other.records] == [40] * 6
    np.testing.assert_allclose([r.score for r in other.records], [r.score for r in one.records], rtol=0, atol=0)
    found = [Search.read(str(tmp_path / name / "output")) for name in ("whole", "parts")]
    assert found[0].candidates == found[1].candidates
