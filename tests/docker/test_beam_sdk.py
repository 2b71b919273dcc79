"""`environment_type: DOCKER`: a runner starts the beam-sdk image for its workers, as Dataflow does on its machines.

Containers see no folder of this machine, so data and work dir are in a bucket: the emulator's, on the host's loopback.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.gcs_emulator import emulator

from nasflow.core.gcs import GcsStorage

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

ROOT = "gs://nasflow-sdk"
FILES = 3


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The emulator's address, with raw data in it."""
    with emulator(tmp_path) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        GcsStorage.shared.cache_clear()
        storage, rng = GcsStorage.shared(), np.random.default_rng(0)
        storage._client.create_bucket(ROOT.removeprefix("gs://"))
        for number in range(FILES):
            out, size = io.BytesIO(), rng.normal(size=1000)
            pq.write_table(pa.table({"size": size, "y": np.where(size > rng.normal(size=1000), "u", "v")}), out)
            storage.write(f"{ROOT}/data/part-{number}.parquet", out.getvalue())
        yield url
    GcsStorage.shared.cache_clear()


@pytest.fixture
def sdk_image(docker_client: Any, images: dict[str, Any], bucket: str) -> Iterator[str]:
    """The image, told where the emulator is; nothing else is added."""
    lines = [f"FROM {images['beam-sdk'].id}", f"ENV STORAGE_EMULATOR_HOST={bucket} NO_PROXY=127.0.0.1"]
    name = f"nasflow-test/beam-sdk:{os.getpid()}"
    docker_client.images.build(fileobj=io.BytesIO("\n".join(lines).encode()), tag=name, rm=True, forcerm=True)
    yield name
    docker_client.images.remove(name, force=True)


def _preprocess(folder: Path, work_dir: str, section: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    data = {"train": f"{ROOT}/data/*.parquet", "label": "y"}
    (folder / "spec.yaml").write_text(
        json.dumps({"task": "tabular_classification", "data": data, "preprocess": section})
    )
    command = ["--spec", "spec.yaml", "--output", "out", "--work-dir", work_dir]
    return subprocess.run(
        [sys.executable, "-m", "nasflow.preprocess", *command], cwd=folder, capture_output=True, text=True, check=False
    )


def _shards(work_dir: str) -> dict[str, bytes]:
    storage = GcsStorage.shared()
    return {uri.rpartition("/data/")[2]: storage.read(uri) for uri in storage.list(work_dir) if "/data/" in uri}


def test_boot_is_of_the_version_of_the_beam_beside_it(docker_client: Any, images: dict[str, Any]) -> None:
    """Go writes the module's version into the binary; boot itself asks pip whether apache-beam is there."""
    config = images["beam-sdk"].attrs["Config"]
    assert config["Entrypoint"] == ["/opt/apache/beam/boot"]
    assert config["User"] == "65532:65532"
    asks = r"""
grep -a -o 'beam/sdks/v2@v[0-9.]*' /opt/apache/beam/boot | head -1
python3 -m pip show apache-beam | sed -n 's/^Version: //p'
python3 -c 'import apitools, nasflow.preprocess.pipeline'
/opt/apache/beam/boot 2>&1 || true
"""
    said = docker_client.containers.run(
        images["beam-sdk"].id, ["-ec", asks], entrypoint="sh", remove=True, network_mode="none", stderr=True
    )
    module, version, *_, last = said.decode().strip().splitlines()
    assert module == f"beam/sdks/v2@v{version}"
    assert last.endswith("No id provided.")


def test_workers_in_containers_write_the_same_bytes(docker_client: Any, sdk_image: str, tmp_path: Path) -> None:
    options = {"job_endpoint": "embed", "environment_type": "DOCKER", "environment_config": sdk_image}
    section = {"runner": "portable", "options": options, "start_minutes": 3, "timeout_minutes": 8}

    run = _preprocess(tmp_path, f"{ROOT}/docker", section)

    assert run.returncode == 0, run.stderr[-5000:]
    here = _preprocess(tmp_path, f"{ROOT}/local", {})
    assert here.returncode == 0, here.stderr[-5000:]
    assert len(_shards(f"{ROOT}/local")) == 4 * FILES  # three splits, and the test rows as they came
    assert _shards(f"{ROOT}/docker") == _shards(f"{ROOT}/local")
    started = docker_client.containers.list(all=True, filters={"ancestor": sdk_image})
    assert started, "no container was started from the image"
    for container in started:
        container.remove(force=True)
