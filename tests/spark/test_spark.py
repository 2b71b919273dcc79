"""The preprocess step on Apache Spark: Beam's job server with Spark inside it (`local[2]`), workers in their own pool.

`make test-spark` runs this and nothing else does; the jars, 299 MB, are Maven's. A cluster of Spark's was not run.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.workers import dataset_of, free_port, table_files, wait_for_port, worker_pool

pytestmark = [pytest.mark.spark, pytest.mark.timeout(900)]

FILES = 6
# Those that Spark's own launcher gives to Java 17.
_OPENS = (
    "java.base/java.lang", "java.base/java.lang.invoke", "java.base/java.lang.reflect", "java.base/java.io",
    "java.base/java.net", "java.base/java.nio", "java.base/java.util", "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic", "java.base/sun.nio.ch", "java.base/sun.nio.cs",
    "java.base/sun.security.action", "java.base/sun.util.calendar",
)  # fmt: skip


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The job server's address."""
    here = Path(__file__).parent
    command = [here.parent / "flink" / "fetch.sh", here]
    fetched = subprocess.run(command, capture_output=True, text=True, check=False)
    assert fetched.returncode == 0, fetched.stderr
    folder, ports = tmp_path_factory.mktemp("spark"), [free_port() for _ in range(3)]
    log = folder / "log"
    command = [
        "java", "-Xmx1g", *(f"--add-opens={name}=ALL-UNNAMED" for name in _OPENS), "-cp", f"{fetched.stdout.strip()}/*",
        "org.apache.beam.runners.spark.SparkJobServerDriver", "--spark-master-url=local[2]", "--job-host=127.0.0.1",
        f"--job-port={ports[0]}", f"--artifact-port={ports[1]}", f"--expansion-port={ports[2]}",
        f"--artifacts-dir={folder}/artifacts",
    ]  # fmt: skip
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"})
    try:
        wait_for_port(ports[0], server, log)
        yield f"127.0.0.1:{ports[0]}"
    finally:
        server.kill()
        server.wait()


def _preprocess(folder: Path, train: str, section: dict) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    spec = {"task": "tabular_classification", "data": {"train": train, "label": "y"}, "preprocess": section}
    (folder / "spec.yaml").write_text(json.dumps(spec))
    command = ["--spec", "spec.yaml", "--output", "out", "--work-dir", "work"]
    return subprocess.run(
        [sys.executable, "-m", "nasflow.preprocess", *command], cwd=folder, capture_output=True, text=True, check=False
    )


def test_spark_writes_the_same_bytes(spark: str, tmp_path: Path) -> None:
    train = table_files(tmp_path / "data", files=FILES)
    here = _preprocess(tmp_path / "local", train, {})
    assert here.returncode == 0, here.stderr
    with worker_pool(tmp_path) as (port, _):
        options = {"job_endpoint": spark, "environment_type": "EXTERNAL", "environment_config": f"localhost:{port}"}
        there = _preprocess(tmp_path / "there", train, {"runner": "spark", "options": options, "timeout_minutes": 10})
    assert there.returncode == 0, there.stderr
    assert f"transform {FILES} of {FILES} parts, {FILES * 2000:,} rows" in there.stderr
    assert dataset_of(tmp_path / "there" / "work") == dataset_of(tmp_path / "local" / "work")
