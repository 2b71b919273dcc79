"""Time series from files to answers over HTTP: the `sequence` space through all six steps, then served."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.e2e.command import QUICK, Nasflow, write_spec


def waves(rows: int, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two series of 32 numbers a row and its class: `slow` (2 periods) or `fast` (5) in the first one, at any phase, so
    that no single time tells anything; the second one is noise."""
    rng = np.random.default_rng(seed)
    fast = rng.integers(2, size=rows)
    angle = 2 * np.pi * (np.arange(32) / 32 * np.where(fast, 5, 2)[:, None] + rng.random((rows, 1)))
    return np.sin(angle) + 0.3 * rng.normal(size=(rows, 32)), rng.normal(size=(rows, 32)), fast


def ask(url: str, rows: list[dict[str, list[float]]]) -> list[str]:
    """The classes that the server answers with."""
    body = json.dumps({"instances": rows}).encode()
    request = urllib.request.Request(f"{url}/v1/models/waves:predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return [each["label"] for each in json.load(answer)["predictions"]]


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=20) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.slow
def test_series_from_file_to_server(nasflow: Nasflow, tmp_path: Path) -> None:
    signals, noise, fast = waves(700, seed=0)
    label = np.where(fast, "fast", "slow")
    columns = {"signal": signals.tolist(), "noise": noise.tolist(), "label": label.tolist()}
    pq.write_table(pa.table(columns), tmp_path / "waves.parquet")
    spec = write_spec(
        tmp_path,
        name="waves",
        task="tabular_classification",
        data={"train": "waves.parquet", "label": "label"},
        search={"space": "sequence"},
    )
    longer = ("--set=search.budget.epochs=6", "--set=train.epochs=6", "--set=train.members=2")
    run = nasflow("run", str(spec), *QUICK, *longer, timeout=560)

    assert run.code == 0, run.stderr
    folder = tmp_path / "runs" / "waves"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["deployed"]
    assert summary["test"]["accuracy"]["value"] > 0.9  # one class is half of the rows

    (registry,) = folder.rglob("registry")
    command = [sys.executable, "-m", "nasflow.serving", "--registry", str(registry), "--name", "waves", "--port", "0"]
    log = tmp_path / "server.log"
    server = subprocess.Popen(command, stdout=log.open("wb"), stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 240
        while not (found := re.search(r"at (http://127\.0\.0\.1:\d+)", log.read_text())) or not is_ready(found[1]):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        signals, noise, fast = waves(100, seed=1)
        rows = [{"signal": a.tolist(), "noise": b.tolist()} for a, b in zip(signals, noise, strict=True)]
        answered = np.array(ask(found[1], rows))
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    assert np.mean(answered == np.where(fast, "fast", "slow")) > 0.9
