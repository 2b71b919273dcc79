"""The preprocess step on a cluster of Apache Flink (`cluster.py`), with Python workers in a pool of their own.

`tests/flink/fetch.sh` brings the jars; `make test-flink` runs this and nothing else does.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from tests.flink.cluster import Cluster, cluster
from tests.workers import children, dataset_of, table_files, worker_pool

pytestmark = [pytest.mark.flink, pytest.mark.timeout(1200)]

_GOING_ON = {"INITIALIZING", "CREATED", "RUNNING", "RESTARTING", "FAILING", "CANCELLING"}
"""States of a job of Flink's that is not over."""
FILES = 24


@pytest.fixture(scope="module")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two TaskManagers of two slots each."""
    with cluster(tmp_path_factory.mktemp("flink")) as running:
        yield running


@pytest.fixture(scope="module")
def made_here(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Mapping[str, bytes]]:
    """The data's glob, and the shards that the local runner makes of it."""
    folder = tmp_path_factory.mktemp("local")
    train = table_files(folder / "data", files=FILES)
    process = _start(folder, train, {})
    assert process.wait(300) == 0, _said(folder)
    shards = dataset_of(folder / "work")
    assert len(shards) == 4 * FILES  # three splits, and the test rows as they came
    return train, shards


def _start(folder: Path, train: str, preprocess: dict) -> subprocess.Popen[bytes]:
    spec = {"task": "tabular_classification", "data": {"train": train, "label": "y"}, "preprocess": preprocess}
    (folder / "spec.yaml").write_text(json.dumps(spec))
    places = ["--spec", folder / "spec.yaml", "--output", folder / "out", "--work-dir", folder / "work"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", "nasflow.preprocess", *places], stdout=log, stderr=log)


def _said(folder: Path) -> str:
    return (folder / "log").read_text()[-5000:]


def _on(flink: Cluster, port: int, **more: object) -> dict:
    options = {
        "job_endpoint": flink.job_endpoint,
        "environment_type": "EXTERNAL",
        "environment_config": f"localhost:{port}",
    }
    return {"runner": "flink", "options": {**options, "parallelism": 2, **more}, "start_minutes": 3}


def _written(folder: Path) -> int:
    """Parts that the transform has finished, as the step itself counts them."""
    marks = (folder / "work").glob("preprocess/*/work/progress/transform-*/*.rows-*")
    return len(list(marks))


def _started(folder: Path) -> int:
    """Workers that the pool has started so far."""
    return (folder / "pool.log").read_text().count("Starting worker with command")


def _wait_for_parts(folder: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 400
    while _written(folder) < 2:
        assert process.poll() is None, _said(folder)
        assert time.monotonic() < deadline, _said(folder)
        time.sleep(0.02)


def test_a_killed_worker_changes_no_byte(flink: Cluster, made_here: tuple, tmp_path: Path) -> None:
    train, expected = made_here
    with worker_pool(tmp_path, slow=True) as (port, pool):
        process = _start(tmp_path, train, _on(flink, port))
        _wait_for_parts(tmp_path, process)
        killed, started = children(pool), _started(tmp_path)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        assert killed
        assert _written(tmp_path) < FILES, "the job ended before a worker could be killed"
        assert process.wait(400) == 0, _said(tmp_path)
        assert _started(tmp_path) > started, "no worker was started in place of the killed one"
    assert dataset_of(tmp_path / "work") == expected
    assert f"transform {FILES} of {FILES} parts, {FILES * 2000:,} rows" in _said(tmp_path)


def test_a_killed_task_manager_changes_no_byte(flink: Cluster, made_here: tuple, tmp_path: Path) -> None:
    """The other one has room for its tasks; the JobManager starts the job's tasks again there."""
    train, expected = made_here
    with worker_pool(tmp_path, slow=True) as (port, _):
        process = _start(tmp_path, train, _on(flink, port))
        _wait_for_parts(tmp_path, process)
        busy = flink.busy_task_manager()
        assert busy is not None
        assert _written(tmp_path) < FILES, "the job ended before a TaskManager could be killed"
        flink.kill(busy)
        assert process.wait(400) == 0, _said(tmp_path)
    assert dataset_of(tmp_path / "work") == expected
    assert flink.ask("overview")["taskmanagers"] == 1
    assert "switched from state RUNNING to RESTARTING" in flink.log("jobmanager").read_text()
    flink.add_task_manager()
    flink.wait_for_task_managers(2)


def test_sigterm_cancels_the_job_and_the_next_run_goes_on(flink: Cluster, made_here: tuple, tmp_path: Path) -> None:
    train, expected = made_here
    with worker_pool(tmp_path, slow=True) as (port, _):
        process = _start(tmp_path, train, _on(flink, port))
        _wait_for_parts(tmp_path, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 75, _said(tmp_path)
        assert "the job was cancelled" in _said(tmp_path)
        deadline = time.monotonic() + 240  # each of the attempts starts workers, which see the mark and stop
        while _GOING_ON & set(in_flink := flink.job_states()):
            assert time.monotonic() < deadline, in_flink
            time.sleep(0.2)
        # Beam's job server says CANCELLED, but lets Flink's job go on to FINISHED: our workers' own mark ends it.
        assert in_flink[-1] in ("CANCELED", "FAILED"), in_flink
    with grpc.insecure_channel(flink.job_endpoint) as channel:
        jobs = beam_job_api_pb2_grpc.JobServiceStub(channel).GetJobs(beam_job_api_pb2.GetJobsRequest()).job_info
    states = [beam_job_api_pb2.JobState.Enum.Name(job.state) for job in jobs]
    assert "CANCELLED" in states
    assert not {"RUNNING", "STARTING"} & set(states)

    process = _start(tmp_path, train, {})  # the runner is no part of what names the work: the analysis is found again
    assert process.wait(300) == 0, _said(tmp_path)
    assert "analysing" not in _said(tmp_path)
    assert dataset_of(tmp_path / "work") == expected


def test_an_option_of_flinks_own_that_it_does_not_have(flink: Cluster, made_here: tuple, tmp_path: Path) -> None:
    process = _start(tmp_path, made_here[0], _on(flink, 1, paralelism=2))
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(60)
    assert process.returncode == 2, _said(tmp_path)
    assert "preprocess.options.paralelism: no option of Beam's; did you mean 'parallelism'?" in _said(tmp_path)
