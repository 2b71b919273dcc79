"""`preprocess.runner`: options, limits, and the same bytes from every runner that runs here. Flink: tests/flink."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
    WorkerOptions,
)
from pydantic import ValidationError
from tests.workers import dataset_of, free_port, table_files, worker_pool

from nasflow.core.errors import SpecError, TryAgainError, UserError
from nasflow.core.spec import PreprocessSection
from nasflow.core.workspace import step_key
from nasflow.preprocess import step
from nasflow.preprocess.engine import Engine
from nasflow.preprocess.spec import PreprocessSpec

LOOPBACK = {"job_endpoint": "embed", "environment_type": "LOOPBACK"}
DATAFLOW = {
    "project": "our-project",
    "region": "europe-west4",
    "temp_location": "gs://bucket/tmp",
    "sdk_container_image": "europe-docker.pkg.dev/our-project/nasflow/beam-sdk:0.1.0",
}


def _section(engine: str, **options: object) -> PreprocessSection:
    return PreprocessSection.model_validate({"runner": engine, "options": options})


def _spec(train: str, section: PreprocessSection) -> PreprocessSpec:
    data = {"train": train, "label": "y"}
    return PreprocessSpec.model_validate({"task": "tabular_classification", "data": data, "preprocess": section})


def _run(folder: Path, train: str, section: PreprocessSection) -> Path:
    step.run(_spec(train, section), work_dir=str(folder / "work"), output=str(folder / "out"))
    return folder / "work"


def test_flags_for_dataflow() -> None:
    """Golden, and read back by Beam's own classes; not run: there is no Dataflow here."""
    more = {"max_num_workers": 20, "use_public_ips": False, "experiments": ["use_runner_v2", "shuffle_mode=service"]}
    more |= {"service_account_email": "beam@our-project.iam.gserviceaccount.com", "autoscaling_algorithm": "NONE"}
    flags = Engine(_section("dataflow", **DATAFLOW, **more)).flags
    assert flags == (
        "--project=our-project",
        "--region=europe-west4",
        "--temp_location=gs://bucket/tmp",
        "--sdk_container_image=europe-docker.pkg.dev/our-project/nasflow/beam-sdk:0.1.0",
        "--max_num_workers=20",
        "--no_use_public_ips",
        "--experiments=use_runner_v2",
        "--experiments=shuffle_mode=service",
        "--service_account_email=beam@our-project.iam.gserviceaccount.com",
        "--autoscaling_algorithm=NONE",
    )
    parsed = PipelineOptions(list(flags))
    cloud, worker = parsed.view_as(GoogleCloudOptions), parsed.view_as(WorkerOptions)
    assert (cloud.project, cloud.region, cloud.temp_location) == ("our-project", "europe-west4", "gs://bucket/tmp")
    assert cloud.service_account_email == "beam@our-project.iam.gserviceaccount.com"
    assert (worker.max_num_workers, worker.use_public_ips, worker.autoscaling_algorithm) == (20, False, "NONE")
    assert worker.sdk_container_image == DATAFLOW["sdk_container_image"]
    assert parsed.view_as(DebugOptions).experiments == ["use_runner_v2", "shuffle_mode=service"]


def test_flags_for_spark() -> None:
    """Golden, and read back by Beam's own classes."""
    options = {"environment_type": "EXTERNAL", "environment_config": "localhost:50000", "spark_version": "3"}
    flags = Engine(_section("spark", **options, spark_master_url="spark://master:7077")).flags
    assert flags == (
        "--environment_type=EXTERNAL",
        "--environment_config=localhost:50000",
        "--spark_version=3",
        "--spark_master_url=spark://master:7077",
    )
    parsed = PipelineOptions(list(flags))
    spark, workers = parsed.view_as(SparkRunnerOptions), parsed.view_as(PortableOptions)
    assert (spark.spark_master_url, spark.spark_version) == ("spark://master:7077", "3")
    assert (workers.environment_type, workers.environment_config) == ("EXTERNAL", "localhost:50000")


def test_flags_for_flink_without_a_job_server_yet() -> None:
    """Beam starts one; its own options, `parallelism` among them, cannot be asked before, so they pass."""
    options = {"environment_type": "DOCKER", "environment_config": "nasflow/beam-sdk:0.1.0", "parallelism": 8}
    flags = Engine(_section("flink", **options, flink_master="jobmanager:8081", flink_version="1.19")).flags
    parsed = PipelineOptions(list(flags))
    flink = parsed.view_as(FlinkRunnerOptions)
    assert (flink.flink_master, flink.flink_version) == ("jobmanager:8081", "1.19")
    assert "--parallelism=8" in flags
    assert parsed.view_as(PortableOptions).environment_config == "nasflow/beam-sdk:0.1.0"


@pytest.mark.parametrize(
    ("runner", "options", "message"),
    [
        ("portable", {"environment_type": "LOOPBACK"}, "runner portable needs options.job_endpoint: host:port of the"),
        ("flink", {}, "runner flink needs options.environment_type: EXTERNAL"),
        ("dataflow", {**DATAFLOW, "region": ""}, "runner dataflow needs options.region: where the workers run"),
        ("local", {"runner": "FlinkRunner"}, "runner has a key of its own; set preprocess.runner"),
        ("local", {"--streaming": True}, "'--streaming' is no option's name; write it without dashes"),
    ],
)
def test_what_the_spec_itself_refuses(runner: str, options: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _section(runner, **options)


@pytest.mark.parametrize(
    ("runner", "options", "message"),
    [
        ("dataflow", {**DATAFLOW, "max_num_worker": 3}, "max_num_worker: no option of Beam's; did you mean 'max_num_w"),
        ("dataflow", {**DATAFLOW, "max_num_workers": "many"}, "argument --max_num_workers: invalid int value: 'many'"),
        ("portable", {"job_endpoint": "nowhere", "environment_type": "LOOPBACK"}, "expected host:port, got 'nowhere'"),
        ("local", {"direct_runing_mode": "x"}, "did you mean 'direct_running_mode'"),
    ],
)
def test_what_beam_would_swallow(runner: str, options: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        Engine(_section(runner, **options))
    assert caught.value.exit_code == 2


def test_a_job_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasflow.preprocess.options._ANSWER_SECONDS", 0.2)
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(TryAgainError, match=rf"job_endpoint: nothing answers at '{address}' .*start the job") as caught:
        Engine(_section("flink", job_endpoint=address, environment_type="LOOPBACK"))
    assert caught.value.exit_code == 75


def test_dataflow_cannot_see_local_files() -> None:
    engine = Engine(_section("dataflow", **DATAFLOW))
    engine.check_places(["gs://bucket/work"])
    with pytest.raises(SpecError, match=r"dataflow's workers cannot see '/data/a\.csv'; put data and work_dir"):
        engine.check_places(["gs://bucket/work", "/data/a.csv"])


def test_dataflow_without_its_packages_says_so() -> None:
    with pytest.raises(UserError, match=r"pip install 'apache-beam\[gcp\]'"):
        Engine(_section("dataflow", **DATAFLOW)).run("analyse", lambda *_: None, parts=1, beside="gs://bucket/x/y")


def test_the_runner_is_no_part_of_what_names_the_work() -> None:
    keys = {
        step_key("preprocess", spec=_spec("a.csv", section), inputs={}, sources={})
        for section in (_section("local"), _section("portable", **LOOPBACK), _section("dataflow", **DATAFLOW))
    }
    assert len(keys) == 1


def test_loopback_workers_write_the_same_bytes(tmp_path: Path) -> None:
    train = table_files(tmp_path / "data", files=3)
    here = dataset_of(_run(tmp_path / "local", train, _section("local")))
    work = _run(tmp_path / "portable", train, _section("portable", **LOOPBACK))
    assert len(here) == 12  # of each file three splits, and the test rows as they came
    assert dataset_of(work) == here
    assert not [path for path in work.rglob("progress/*/*") if path.is_file()]


@pytest.mark.slow
def test_workers_of_an_external_pool_write_the_same_bytes(tmp_path: Path) -> None:
    train = table_files(tmp_path / "data", files=3)
    here = dataset_of(_run(tmp_path / "local", train, _section("local")))
    with worker_pool(tmp_path) as (port, _):
        options = {"environment_type": "EXTERNAL", "environment_config": f"localhost:{port}"}
        work = _run(tmp_path / "pool", train, _section("portable", job_endpoint="embed", **options))
    assert dataset_of(work) == here


@pytest.mark.slow
def test_a_pool_whose_python_lacks_beam_does_not_hang(tmp_path: Path) -> None:
    """Beam itself waits for such a worker for ever."""
    bare = tmp_path / "bare" / "python"
    bare.parent.mkdir()
    bare.write_text("#!/bin/sh\necho 'No module named apache_beam' >&2\nexit 1\n")
    bare.chmod(0o755)
    with worker_pool(tmp_path, path=str(bare.parent)) as (port, _):
        options = {"environment_type": "EXTERNAL", "environment_config": f"localhost:{port}"}
        section = {"runner": "portable", "options": {"job_endpoint": "embed", **options}, "start_minutes": 0.05}
        data = {"train": table_files(tmp_path / "data", files=1), "label": "y"}
        (tmp_path / "spec.yaml").write_text(
            json.dumps({"task": "tabular_classification", "data": data, "preprocess": section})
        )
        command = ["--spec", "spec.yaml", "--output", "out", "--work-dir", "work"]
        ended = subprocess.run(
            [sys.executable, "-m", "nasflow.preprocess", *command],
            cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
    assert ended.returncode == 75, ended.stderr
    assert "no worker has begun within preprocess.start_minutes = 0.05" in ended.stderr


@pytest.mark.slow
def test_sigterm_cancels_a_real_job_and_the_next_run_goes_on(tmp_path: Path) -> None:
    """On the embedded job server with an external pool; on a cluster of Flink: tests/flink."""
    train = table_files(tmp_path / "data", files=12)
    data = {"train": train, "label": "y"}
    command = [
        sys.executable,
        "-m",
        "nasflow.preprocess",
        "--spec",
        "spec.yaml",
        "--output",
        "out",
        "--work-dir",
        "work",
    ]
    with worker_pool(tmp_path, slow=True) as (port, _):
        options = {"environment_type": "EXTERNAL", "environment_config": f"localhost:{port}"}
        section = {"runner": "portable", "options": {"job_endpoint": "embed", **options}}
        spec = {"task": "tabular_classification", "data": data, "preprocess": section}
        (tmp_path / "spec.yaml").write_text(json.dumps(spec))
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while not list((tmp_path / "work").glob("preprocess/*/work/progress/transform-*/*.rows-*")):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 75, (tmp_path / "log").read_text()
        said = (tmp_path / "log").read_text()
        assert "stopped by SIGTERM; run the same command again to go on" in said
        assert "transform: the job was cancelled" in said
        (mark,) = (tmp_path / "work").glob("preprocess/*/work/progress/transform-*/cancelled")
        time.sleep(2)  # a worker that goes on would leave more marks
        assert [path.name for path in mark.parent.glob("*.rows-*")] == []
    (tmp_path / "spec.yaml").write_text(json.dumps({"task": "tabular_classification", "data": data}))
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert again.returncode == 0, again.stderr
    assert "analysing" not in again.stderr  # what was done is found again, whichever runner did it
    assert len(dataset_of(tmp_path / "work")) == 4 * 12
