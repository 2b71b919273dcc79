"""All six steps with data and work dir under ``gs://``, on an emulator that answers 503 to some requests."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.e2e.command import QUICK, Nasflow, write_spec
from tests.gcs_emulator import FlakyProxy, emulator

from nasflow.core.gcs import GcsStorage
from nasflow.core.storage import storage_for

BUCKET = "nasflow-e2e"
ROWS = 400


@pytest.fixture
def flaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """(proxy, storage): one request in fifteen is refused."""
    with FlakyProxy(lambda number, _: number % 15 == 0) as proxy, emulator(tmp_path, seen_at=proxy.url) as url:
        proxy.upstream = url
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        GcsStorage.shared.cache_clear()
        GcsStorage.shared()._client.create_bucket(BUCKET)
        yield proxy, GcsStorage.shared()
    GcsStorage.shared.cache_clear()


def _table() -> pa.Table:
    rng = np.random.default_rng(0)
    size, kind = rng.normal(size=ROWS), rng.choice(["red", "green"], ROWS)
    return pa.table({"size": size, "kind": kind, "answer": np.where((size > 0) ^ (kind == "red"), "yes", "no")})


def _as_parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def _as_csv(table: pa.Table) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, table.column_names)
    writer.writeheader()
    writer.writerows(table.to_pylist())
    return out.getvalue().encode()


def _preprocess(spec: Path, work_dir: str) -> str:
    """What the step alone says."""
    command = [sys.executable, "-m", "nasflow.preprocess", "--spec", spec, "--output", spec.parent / "alone"]
    ended = subprocess.run([*command, "--work-dir", work_dir], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_step_works_in_a_bucket(nasflow: Nasflow, tmp_path: Path, flaky) -> None:
    proxy, storage = flaky
    table, root = _table(), f"gs://{BUCKET}/parquet"
    for number in range(2):
        storage.write(f"{root}/data/part-{number}.parquet", _as_parquet(table.slice(number * ROWS // 2, ROWS // 2)))
    data = {"train": f"{root}/data/part-*.parquet", "label": "answer"}
    spec = write_spec(tmp_path, name="bucket", task="tabular_classification", data=data)

    run = nasflow("run", str(spec), *QUICK, "--output", "out", "--work-dir", f"{root}/work", timeout=900)

    assert run.code == 0, run.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["status"] == "succeeded"
    assert sum(summary["rows"].values()) == ROWS
    assert summary["decision"]["promoted"]
    assert proxy.refused >= 10
    objects = storage.list(f"{root}/work")
    for step in ("preprocess", "search", "train", "evaluate", "register", "deploy"):
        found = [uri for uri in objects if uri.startswith(f"{root}/work/{step}/") and uri.endswith("/manifest.json")]
        assert len(found) == 1, step
    assert any(uri.endswith("/saved_model/saved_model.pb") for uri in objects)
    assert any(uri.startswith(f"{root}/work/registry/") for uri in objects)
    assert not list(tmp_path.rglob("gs:*")), "a bucket's address was taken for a local path"
    assert "preprocess: reused gs://" in _preprocess(spec, f"{root}/work")


@pytest.mark.slow
def test_csv_from_a_bucket_gives_the_same_rows_as_from_a_folder(tmp_path: Path, flaky) -> None:
    _, storage = flaky
    table, root = _table(), f"gs://{BUCKET}/csv"
    (tmp_path / "data").mkdir()
    for number in range(2):
        content = _as_csv(table.slice(number * ROWS // 2, ROWS // 2))
        storage.write(f"{root}/data/part-{number}.csv", content)
        (tmp_path / "data" / f"part-{number}.csv").write_bytes(content)
    shards = []
    for train, work in ((f"{root}/data/part-*.csv", f"{root}/work"), (f"{tmp_path}/data/*.csv", f"{tmp_path}/work")):
        data = {"train": train, "label": "answer"}
        _preprocess(write_spec(tmp_path, task="tabular_classification", data=data), work)
        found = [uri for uri in storage_for(work).list(work) if "/data/" in uri]
        shards.append({uri.rpartition("/data/")[2]: storage_for(uri).read(uri) for uri in found})
    assert len(shards[0]) == 2 * 4  # of each file: three splits, and the test rows as they came
    assert shards[0] == shards[1]
