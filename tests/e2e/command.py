"""Runs the real command line, as a user would, in its own process group."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

QUICK = (
    "--set=search.budget.trials=2",
    "--set=search.budget.epochs=2",
    "--set=train.epochs=2",
    "--set=train.seeds=1",
    "--set=evaluate.bootstrap=100",
    "--set=evaluate.min_gain=-1000",
)
"""Enough to run every step for real; not enough to learn much."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finished:
    """One finished command."""

    code: int
    stdout: str
    stderr: str


class Nasflow:
    """The command, with this machine's environment and one TensorFlow thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def __call__(self, *args: str, timeout: float = 300) -> Finished:
        process = self.start(*args)
        stdout, stderr = process.communicate(timeout=timeout)
        return Finished(process.returncode, stdout, stderr)

    def start(self, *args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "nasflow_pipelines.cli", *args],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        self._started.append(process)
        return process

    def stop_all(self) -> None:
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def write_spec(folder: Path, **content: Any) -> Path:
    """A spec file; JSON is YAML."""
    path = folder / "experiment.yaml"
    path.write_text(json.dumps(content, indent=1))
    return path


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Polls; fails the test when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
