"""`nasflow run` with the real kfp runner, pipeline, tasks, records and documents; only the steps' work is fake."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from nasflow_pipelines.summary import Summary

STEPS = ["preprocess", "search", "train", "evaluate", "register", "deploy"]
FAKES = Path(__file__).with_name("fake_steps")

pytestmark = pytest.mark.slow


@pytest.fixture
def nasflow(tmp_path):
    (tmp_path / "e.yaml").write_text(
        "{name: iris, task: tabular_classification, data: {train: sample:iris, label: target}}"
    )
    started = []

    def start(**behaviour):
        fakes = {f"FAKE_{step.upper()}": what for step, what in behaviour.items()}
        process = subprocess.Popen(
            [sys.executable, "-m", "nasflow_pipelines.cli", "run", "e.yaml", "--output", "out"],
            cwd=tmp_path,
            env={**os.environ, **fakes, "PYTHONPATH": str(FAKES), "MARK": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def end(process):
    stdout, stderr = process.communicate(timeout=120)
    return process.returncode, stdout, stderr


def summary_of(tmp_path):
    content = json.loads((tmp_path / "out/summary.json").read_text())
    jsonschema.validate(content, Summary.model_json_schema(mode="serialization"))
    return content


def wait_for(tmp_path, step):
    """Until a step's work began."""
    deadline = time.monotonic() + 60
    log = tmp_path / "out/run.log"
    while not (log.exists() and f"{step}: started" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)


def tasks_of(tmp_path):
    """Processes that a run of this test left, found by their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARK={tmp_path}\0".encode() in (process / "environ").read_bytes() + b"\0":
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_a_run_and_the_same_again(nasflow, tmp_path):
    code, stdout, stderr = end(nasflow())
    assert code == 0, stderr
    summary = summary_of(tmp_path)
    assert summary["status"] == "succeeded"
    assert summary["rows"] == {"train": 80, "validation": 10, "test": 10, "dead": 1}
    trials = {"completed": 2, "failed": 1, "infeasible": 0, "same": 0, "filtered": 0, "looks": 0}
    assert summary["search"]["trials"] == trials
    assert summary["search"]["best"] == {"architecture_id": "abc", "parameters": 131, "flops": 256, "score": 0.9}
    assert summary["test"] == {"accuracy": {"value": 0.95, "ci95": [0.9, 0.98]}}
    assert summary["model"] == {"name": "iris", "version": 1, "uri": "/nowhere/1", "digest": "d" * 64}
    assert summary["deployed"] is True
    assert list(summary["seconds"]) == list(summary["cpu_seconds"]) == STEPS
    for text in ("test accuracy", "0.9500", "promoted", "iris version 1", "a = 1.5 → setosa (0.97)", "out/report.html"):
        assert text in stdout
    page = (tmp_path / "out/report.html").read_text()
    for step in ("preprocess", "search", "train", "evaluate"):
        assert f"the report of {step}" in page
        assert f"the report of {step}" in (tmp_path / f"out/reports/{step}.html").read_text()
    assert "what a library prints" not in stdout + stderr
    assert "what a library prints" in (tmp_path / "out/run.log").read_text()
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"documents", "reports", "work", "run.log", "report.html", "summary.json", ".lock"}

    code, _, stderr = end(nasflow(search="fail=1"))
    assert code == 0, "the search was done again"
    assert stderr.count("reused") == len(STEPS)
    assert summary_of(tmp_path) == summary


def test_a_model_that_is_not_promoted_is_not_deployed(nasflow, tmp_path):
    code, stdout, stderr = end(nasflow(evaluate="refuse"))
    assert code == 0, stderr
    summary = summary_of(tmp_path)
    assert summary["decision"] == {"promoted": False, "reasons": ["accuracy 0.95 against 0.9"]}
    assert summary["deployed"] is False
    assert list(summary["seconds"]) == STEPS[:-1]
    assert "not promoted" in stdout
    assert "hold: not deployed: accuracy 0.95 against 0.9" in stderr


@pytest.mark.parametrize(("what", "code"), [("fail=2", 2), ("fail=1", 1)])
def test_a_failing_step_ends_the_run_with_its_code_and_message(nasflow, tmp_path, what, code):
    ended, stdout, stderr = end(nasflow(train=what))
    assert ended == code
    assert stdout == ""
    assert stderr.endswith("Error: train: no luck, got 'x'; try y\n")
    assert "Traceback" not in stderr
    summary = summary_of(tmp_path)
    assert summary["status"] == "failed"
    assert summary["error"] == {"step": "train", "message": "no luck, got 'x'; try y", "exit_code": code}
    assert list(summary["seconds"]) == ["preprocess", "search"]


def test_a_task_that_is_killed_fails_the_run(nasflow, tmp_path):
    code, _, stderr = end(nasflow(search="die"))
    assert code == 1
    assert "search: it ended without leaving a record" in stderr
    assert summary_of(tmp_path)["error"]["step"] == "search"


def test_a_defect_shows_its_traceback(nasflow, tmp_path):
    code, _, stderr = end(nasflow(search="raise"))
    assert code == 1
    assert "ValueError: a defect" in stderr
    assert "fakes.py" in stderr


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_stopped_from_outside_it_says_how_to_go_on_and_does(nasflow, tmp_path, sent, code):
    run = nasflow(search="sleep=60")
    wait_for(tmp_path, "search")
    run.send_signal(sent)
    ended, _, stderr = end(run)
    assert ended == code
    assert "run the same command again to go on from search" in stderr
    assert "Traceback" not in stderr
    assert tasks_of(tmp_path) == []
    assert summary_of(tmp_path)["error"]["exit_code"] == code

    ended, _, stderr = end(nasflow())
    assert ended == 0
    assert stderr.count("reused") == 1  # preprocess


def test_kill_9_leaves_no_process_and_no_summary_behind(nasflow, tmp_path):
    end(nasflow(search="fail=1"))
    (tmp_path / "out/run.log").unlink()  # `wait_for` reads it
    run = nasflow(search="sleep=60")
    wait_for(tmp_path, "search")
    assert len(tasks_of(tmp_path)) >= 2
    run.kill()
    run.wait()
    deadline = time.monotonic() + 10
    while tasks_of(tmp_path):
        assert time.monotonic() < deadline, tasks_of(tmp_path)
        time.sleep(0.1)
    assert not (tmp_path / "out/summary.json").exists()  # the failed run's would look like this one's

    code, _, stderr = end(nasflow())
    assert code == 0, stderr
    assert not list((tmp_path / "out").glob(".kfp-*"))
