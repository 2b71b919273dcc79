"""A table with every kind of column, and weights, through all six steps and the model server."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.e2e.command import QUICK, Nasflow, write_spec
from tests.unit.preprocess.test_preprocess_types import table


@pytest.mark.slow
def test_every_kind_of_column_from_file_to_server(nasflow: Nasflow, tmp_path: Path) -> None:
    pq.write_table(table(900, seed=1), tmp_path / "all.parquet")
    columns = {
        "user": {"buckets": 64},
        "amount": {"scaling": "quantile_normal", "impute": "median"},
        "count": {"scaling": "minmax", "clip": [1, 4]},
        "seen": {"parts": ["elapsed_days", "weekday"], "encodings": ["cyclical"]},
    }
    data = {"train": "all.parquet", "label": "y", "weight": "w", "columns": columns}
    spec = write_spec(tmp_path, name="kinds", task="tabular_classification", data=data, search={"space": "mlp"})

    run = nasflow("run", str(spec), *QUICK)

    assert run.code == 0, run.stderr
    summary = json.loads((tmp_path / "runs" / "kinds" / "summary.json").read_text())
    assert summary["status"] == "succeeded"
    assert sum(summary["rows"].values()) == 900
    assert summary["deployed"]  # golden rows over V1 and V2: dates as ISO 8601 text, lists as JSON arrays
    assert summary["test"]["accuracy"]["value"] > 0.5
