import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nasflow.core.artifacts import Decision, Estimate, Evaluation, External, RegisteredModel
from nasflow.core.errors import DocumentError, NasflowError
from nasflow.core.spec import ExperimentSpec
from nasflow.deploy.spec import DeploySpec
from nasflow.deploy.step import run
from nasflow.registry._base import Draft
from nasflow.registry.file import FileRegistry

pytestmark = pytest.mark.slow  # each starts a real model server

SPEC = DeploySpec(timeout_seconds=120)


def registered(folder, bundle):
    """`bundle` as version 1 of `model`."""
    paths = [path for path in bundle.rglob("*") if path.is_file()]
    files = {path.relative_to(bundle).as_posix(): External.of(str(path)) for path in paths}
    registry = FileRegistry(str(folder / "registry"))
    version = registry.register("model", Draft(bundle_uri=str(bundle), files=files))
    document = RegisteredModel(
        registry=registry.uri,
        name="model",
        version=version.version,
        model_uri=version.bundle_uri,
        model_digest=version.bundle_digest,
        aliases=("champion",),
    )
    return document.publish(str(folder / "registered"), {"version.json": version.model_dump_json().encode()})


def evaluated(folder, answered):
    estimate = {"accuracy": Estimate(value=1.0, ci95=(1.0, 1.0))}
    document = Evaluation(
        objective="accuracy",
        test=estimate,
        baseline=estimate,
        other_baselines={},
        test_rows=2,
        decision=Decision(promoted=True, reasons=()),
    )
    return document.publish(str(folder / "evaluation"), {"predictions.json": json.dumps(answered).encode()})


def golden(bundle):
    return json.loads((bundle / "golden.json").read_text())


def deploy(folder, bundle, answered=None):
    return run(
        SPEC,
        registered=registered(folder, bundle),
        evaluation=evaluated(folder, answered or golden(bundle)),
        work_dir=str(folder / "work"),
        output=str(folder / "out"),
    )


def servers(folder):
    """Command lines of model servers of this test that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"nasflow.serving" in command and any(str(folder).encode() in part for part in command):
            found.append(command)
    return found


@pytest.mark.parametrize("kind", ["tabular", "regression", "image"])
def test_golden_rows_are_answered_as_evaluated(handmade_bundle, tmp_path, kind):
    bundle = handmade_bundle(kind)
    endpoint = deploy(tmp_path, bundle)
    assert (endpoint.target, endpoint.name, endpoint.version, endpoint.running) == ("local", "model", 1, False)
    assert endpoint.golden_rows == len(golden(bundle)["rows"])
    assert endpoint.max_difference < 1e-6
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1/models/model:predict", endpoint.url)
    assert servers(tmp_path) == []

    example = endpoint.json("prediction.json")
    assert example["url"] == endpoint.url
    assert example["request"] == {"instances": golden(bundle)["rows"][:1]}
    expected = {"regression": 8.0, "tabular": "no", "image": "dark"}[kind]
    answer = example["response"]["predictions"][0]
    assert (answer if kind == "regression" else answer["label"]) == expected
    assert example["curl"].startswith("curl -sS http://127.0.0.1:8080/v1/models/model:predict -H")
    assert "--bundle" in example["serve"]


def test_another_answer_is_named_by_row_and_difference(handmade_bundle, tmp_path):
    bundle = handmade_bundle("regression")
    answered = {**golden(bundle), "predictions": [8.0, 1.1]}
    with pytest.raises(NasflowError, match=r"golden row 2: the server says 1\.0, evaluate said 1\.1.*0\.1 > 0\.0002"):
        deploy(tmp_path, bundle, answered)
    assert servers(tmp_path) == []
    assert not (tmp_path / "out/manifest.json").exists()


def test_a_model_that_was_changed_is_not_served(handmade_bundle, tmp_path):
    document = registered(tmp_path, handmade_bundle("regression"))
    evaluation = evaluated(tmp_path, golden(handmade_bundle("regression")))
    Path(document.model_uri, "saved_model/saved_model.pb").write_bytes(b"other")
    with pytest.raises(DocumentError, match=r"saved_model\.pb: sha256 is"):
        run(SPEC, registered=document, evaluation=evaluation, work_dir=str(tmp_path / "w"), output=str(tmp_path / "o"))


def test_no_golden_rows_prove_nothing(handmade_bundle, tmp_path):
    with pytest.raises(DocumentError, match="no golden rows"):
        deploy(tmp_path, handmade_bundle("regression"), {"rows": [], "labels": [], "predictions": []})


def test_a_server_that_does_not_start_shows_its_log(handmade_bundle, tmp_path):
    from nasflow.deploy.local_server import local_server

    with (
        pytest.raises(NasflowError, match=r"ended with code 2; its log:\n(?s:.*)no bundle here"),
        local_server(str(tmp_path / "nothing"), "model", digest="0" * 64, timeout_seconds=60),
    ):
        raise AssertionError("never ready")


def test_a_server_that_is_too_slow_is_stopped(handmade_bundle, tmp_path):
    from nasflow.deploy.local_server import local_server

    bundle = handmade_bundle("regression")
    document = registered(tmp_path, bundle)
    with (
        pytest.raises(NasflowError, match=r"not ready after 0\.5 s; raise deploy\.timeout_seconds"),
        local_server(document.model_uri, "model", digest=document.model_digest, timeout_seconds=0.5),
    ):
        raise AssertionError("never ready")
    assert servers(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_step_leaves_no_server(handmade_bundle, tmp_path, number):
    document = registered(tmp_path, handmade_bundle("regression"))
    code = (
        "import time\n"
        "from nasflow.core.task import task\n"
        "from nasflow.deploy.local_server import local_server\n"
        f"with task('deploy', work_dir={str(tmp_path / 'w')!r}, run_id='r'),"
        f" local_server({document.model_uri!r}, 'model', digest={document.model_digest!r}, timeout_seconds=90):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(600)\n"
    )
    step = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert step.stdout.readline() == "ready\n"
    assert len(servers(tmp_path)) == 1
    os.kill(step.pid, number)
    assert step.wait(30) == (75 if number == signal.SIGTERM else -9)
    deadline = time.monotonic() + 20
    while servers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert servers(tmp_path) == []


def test_the_spec_takes_its_part():
    experiment = {"task": "tabular_regression", "data": {"train": "x.csv", "label": "y"}}
    spec = DeploySpec.of(ExperimentSpec(**experiment, deploy={"timeout_seconds": 30}))
    assert spec == DeploySpec(target="local", timeout_seconds=30)
