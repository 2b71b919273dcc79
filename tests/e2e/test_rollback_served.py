"""A rollback brings the former answer back: asked over HTTP, of a server that follows the champion."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.unit.evaluate.test_evaluate_champion import train
from tests.unit.train import made_data

from nasflow.data.golden import read_golden
from nasflow.registry._base import Draft
from nasflow.registry.file import FileRegistry
from nasflow.serving import request_log
from nasflow_pipelines.cli import main

pytestmark = pytest.mark.slow


def ask(url, rows):
    """Probabilities [rows, classes]."""
    body = json.dumps({"instances": rows}).encode()
    request = urllib.request.Request(f"{url}/v1/models/m:predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return np.array([each["probabilities"] for each in json.load(answer)["predictions"]])


def ready(url):
    try:
        with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=20) as answer:
            return answer.status == 200
    except OSError:
        return False


def wait_for(condition, what, seconds=120):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)
    return found


def test_the_former_answer_comes_back_without_a_restart(tmp_path):
    data = made_data.dataset(tmp_path, "table")
    registry = FileRegistry(str(tmp_path / "registry"))
    said = {}
    for number, seed in ((1, 0), (2, 1)):
        model = train(tmp_path, data, epochs=1, seed=seed)
        registry.register("m", Draft(bundle_uri=model.bundle_uri, files=model.bundle))
        said[number] = np.array(json.loads(Path(model.bundle["golden.json"].uri).read_text())["predictions"])
    assert np.abs(said[1] - said[2]).max() > 0.01  # two models
    registry.promote("m", "champion", 1, expected=None)
    registry.promote("m", "champion", 2, expected=1)
    rows = read_golden(data).rows
    log = tmp_path / "server.log"
    command = [sys.executable, "-m", "nasflow.serving", "--registry", registry.uri, "--name", "m", "--port", "0"]
    command += ["--poll-seconds", "0.2", "--log-requests", str(tmp_path / "requests")]
    server = subprocess.Popen(command, stdout=log.open("wb"), stderr=subprocess.STDOUT)
    try:
        url = wait_for(lambda: re.search(r"at (http://127\.0\.0\.1:\d+)", log.read_text()), log.read_text)[1]
        wait_for(lambda: ready(url), log.read_text)
        np.testing.assert_allclose(ask(url, rows), said[2], atol=1e-5)

        done = CliRunner().invoke(main, ["models", "rollback", "m", "--registry", registry.uri, "--reason", "worse"])
        assert (done.exit_code, done.output) == (0, "m@champion: back to 1\n")
        wait_for(lambda: np.abs(ask(url, rows) - said[1]).max() < 1e-5, log.read_text)
        np.testing.assert_allclose(ask(url, rows), said[1], atol=1e-5)
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    records = list(request_log.read([str(tmp_path / "requests")]))
    versions = [record.version for record in records]
    assert versions[0] == "2"
    assert versions[-1] == "1"  # each line names the version that answered
    np.testing.assert_allclose(records[-1].predictions, said[1], atol=1e-5)
