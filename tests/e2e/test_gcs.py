"""All six steps with data and work dir under ``gs://``, on an emulator that answers 503 to some requests."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.e2e.command import QUICK, Nasflow, write_spec
from tests.gcs_emulator import FlakyProxy, emulator

from nasflow.core.gcs import GcsStorage

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


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "encode"), [("parquet", _as_parquet), ("csv", _as_csv)])
def test_every_step_works_in_a_bucket(nasflow: Nasflow, tmp_path: Path, flaky, suffix: str, encode) -> None:
    proxy, storage = flaky
    table, root = _table(), f"gs://{BUCKET}/{suffix}"
    for number in range(2):
        half = table.slice(number * ROWS // 2, ROWS // 2)
        storage.write(f"{root}/data/part-{number}.{suffix}", encode(half))
    data = {"train": f"{root}/data/part-*.{suffix}", "label": "answer"}
    spec = write_spec(tmp_path, name="bucket", task="tabular_classification", data=data)
    command = ("run", str(spec), *QUICK, "--output", "out", "--work-dir", f"{root}/work")

    first = nasflow(*command)

    assert first.code == 0, first.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["status"] == "succeeded"
    assert sum(summary["rows"].values()) == ROWS
    assert summary["decision"]["promoted"]
    assert proxy.refused >= 10
    objects = storage.list(f"{root}/work")
    for step in ("preprocess", "search", "train", "evaluate", "register", "deploy"):
        assert len([uri for uri in objects if uri.startswith(f"{root}/work/{step}/") and "manifest" in uri]) == 1, step
    assert any(uri.endswith("/saved_model/saved_model.pb") for uri in objects)
    assert any("/registry/" in uri for uri in objects)
    assert not list(tmp_path.rglob("gs:*")), "a bucket's address was taken for a local path"
    manifests = {uri: storage.fingerprint(uri) for uri in objects if uri.endswith("manifest.json")}

    second = nasflow(*command)

    assert second.code == 0, second.stderr
    assert {uri: storage.fingerprint(uri) for uri in manifests} == manifests, "a finished step was done again"
    assert sorted(storage.list(f"{root}/work/registry")) == [
        u for u in objects if u.startswith(f"{root}/work/registry/")
    ]
