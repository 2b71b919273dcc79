"""The same DAG in containers, and containers that lie about how they ended."""

import io
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nasflow.core.version import VERSION

pytestmark = pytest.mark.docker

REPOSITORY = Path(__file__).resolve().parents[2]
NASFLOW = Path(sys.executable).parent / "nasflow"
SMALL = (
    "search.budget.trials=2",
    "search.budget.epochs=1",
    "train.seeds=1",
    "train.epochs=2",
    "evaluate.bootstrap=100",
    "evaluate.min_gain=-1.0",  # so small a search is worse than the baseline: let it be deployed all the same
)
STEPS = {"preprocess", "search", "train", "evaluate", "register", "deploy"}


def _run(output: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    command = [str(NASFLOW), "run", "pipelines/examples/digits.yaml", "--runner", "docker", "--output", str(output)]
    for setting in (*SMALL, *settings):
        command += ["--set", setting]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=540)


def _summary(output: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((output / "summary.json").read_text())
    return summary


@pytest.fixture
def broken_images(docker_client: Any, images: dict[str, Any]) -> Iterator[Any]:
    """Makes a set of images under a name of its own, in which the trainer's python3 is another program."""
    prefix = f"nasflow-broken-{uuid.uuid4().hex[:8]}"

    def make(program: str) -> str:
        for name in ("beam", "ops", "server-tf"):
            images[name].tag(f"{prefix}/{name}", VERSION)
        lines = [
            f"FROM nasflow/trainer:{VERSION}",
            "USER 0",
            f"RUN ln -sf {program} /opt/venv/bin/python3",
            "USER 65532",
        ]
        docker_client.images.build(
            fileobj=io.BytesIO("\n".join(lines).encode()), tag=f"{prefix}/trainer:{VERSION}", rm=True, forcerm=True
        )
        return prefix

    yield make
    for name in ("beam", "trainer", "ops", "server-tf"):
        docker_client.images.remove(f"{prefix}/{name}:{VERSION}", force=True)


def test_a_whole_run_in_containers(docker_client: Any, images: dict[str, Any], tmp_path: Path) -> None:
    assert all(images[name] for name in ("beam", "trainer", "ops", "server-tf"))  # else this is skipped
    output = tmp_path / "out"
    result = _run(output)
    assert result.returncode == 0, result.stderr[-6000:]

    summary = _summary(output)
    assert summary["status"] == "succeeded"
    assert summary["task"] == "image_classification"
    assert sum(summary["rows"].values()) == 1797  # every row of the digits, once
    assert summary["rows"]["dead"] == 0
    trials = summary["search"]["trials"]
    assert (trials["completed"], trials["failed"]) == (2, 0)
    assert summary["search"]["best"]["parameters"] <= 60_000
    assert summary["decision"]["promoted"] is True
    low, high = summary["test"]["accuracy"]["ci95"]
    assert 0 <= low <= summary["test"]["accuracy"]["value"] <= high <= 1
    assert set(summary["seconds"]) == STEPS
    assert all(seconds > 0 for seconds in summary["seconds"].values())

    owners = {path.stat().st_uid for path in output.rglob("*")}
    assert owners == {os.getuid()}  # not root's, not 65532's: the caller can delete what the containers wrote
    assert docker_client.containers.list(all=True, filters={"label": "nasflow.run"}) == []


@pytest.mark.parametrize("program", ["/bin/false", "/bin/true"], ids=["exits-1", "exits-0-without-a-document"])
def test_a_failing_container_fails_the_run(broken_images: Any, tmp_path: Path, program: str) -> None:
    """kfp's local runner can report success for a container that failed, or that did nothing: documents decide."""
    output = tmp_path / "out"
    result = _run(output, f"resources.image_prefix={broken_images(program)}")
    assert result.returncode == 1, result.stderr[-6000:]
    assert "search" in result.stderr
    summary = _summary(output)
    assert summary["status"] == "failed"
    assert "preprocess" in summary["seconds"]  # what did run is told
    assert "train" not in summary["seconds"]
    assert not list(output.rglob("bundle"))


def test_a_missing_image_is_the_users_mistake(docker_client: Any, tmp_path: Path) -> None:
    docker_client.ping()
    output = tmp_path / "out"
    result = _run(output, "resources.image_prefix=nasflow-absent")
    assert result.returncode == 2, result.stderr[-6000:]
    assert f"nasflow-absent/beam:{VERSION}" in result.stderr
    assert "make images" in result.stderr
