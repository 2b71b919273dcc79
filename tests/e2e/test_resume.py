"""kill -9 in the middle, then the same command: it goes on where it stopped."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.command import Nasflow, wait_until, write_spec

SPEC = {
    "name": "killed",
    "task": "tabular_classification",
    "data": {"train": "sample:breast_cancer", "label": "target"},
    "search": {"strategy": "evolution", "budget": {"trials": 5, "epochs": 12}},
    "train": {"seeds": 2, "epochs": 30},
    "evaluate": {"bootstrap": 100, "min_gain": -1.0},
}
STEPS = ("preprocess", "search", "train", "evaluate", "register", "deploy")


def finished(work: Path, step: str) -> list[Path]:
    return sorted((work / step).glob("*/manifest.json"))


def ended_trials(work: Path) -> list[str]:
    events = []
    for ledger in (work / "search").glob("*/ledger.jsonl"):
        for line in ledger.read_text().splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                continue  # the line in hand when the process was killed
    return [event["trial_id"] for event in events if event.get("event") == "ended"]


def in_preprocess(work: Path) -> bool:
    return bool(list((work / "preprocess").glob("*"))) and not finished(work, "preprocess")


def in_search(work: Path) -> bool:
    return len(ended_trials(work)) >= 2


def in_train(work: Path) -> bool:
    return bool(finished(work, "search")) and bool(list((work / "train").glob("*/*")))


@pytest.mark.slow
@pytest.mark.parametrize("moment", [in_preprocess, in_search, in_train])
def test_a_killed_run_goes_on_where_it_stopped(
    nasflow: Nasflow, tmp_path: Path, moment: Callable[[Path], bool]
) -> None:
    spec, work = write_spec(tmp_path, **SPEC), tmp_path / "out" / "work"
    command = ("run", str(spec), "--output", "out")

    first = nasflow.start(*command)
    wait_until(lambda: moment(work) or first.poll() is not None, seconds=200, what=moment.__name__)
    assert first.poll() is None, "the run ended before it could be killed"
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    done = {path: path.read_bytes() for step in STEPS for path in finished(work, step)}
    trials = ended_trials(work)

    second = nasflow(*command)

    assert second.code == 0, second.stderr
    for path, content in done.items():
        assert path.read_bytes() == content, f"{path}: a finished step was done again"
    assert ended_trials(work)[: len(trials)] == trials
    assert len(ended_trials(work)) == len(set(ended_trials(work))) == SPEC["search"]["budget"]["trials"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["status"] == "succeeded"
    assert all(len(finished(work, step)) == 1 for step in STEPS)


@pytest.mark.slow
def test_the_same_command_twice_reuses_every_step(nasflow: Nasflow, tmp_path: Path) -> None:
    spec, work = write_spec(tmp_path, **SPEC), tmp_path / "out" / "work"
    small = ("--set=search.budget.trials=1", "--set=train.epochs=2", "--set=train.seeds=1")

    first = nasflow("run", str(spec), "--output", "out", *small)
    before = {path: path.read_bytes() for step in STEPS for path in finished(work, step)}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    second = nasflow("run", str(spec), "--output", "out", *small)

    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert len(before) == len(STEPS)
    assert {path: path.read_bytes() for path in before} == before
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
