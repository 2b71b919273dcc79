"""Texts, and texts beside an image and a table's columns, through all six steps and the model server."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from tests.e2e.command import QUICK, Nasflow, write_spec
from tests.unit.preprocess.test_preprocess_mixed import table


@pytest.mark.slow
def test_docstrings_from_files_to_server(nasflow: Nasflow, tmp_path: Path) -> None:
    data = {
        "train": "sample:docstrings",
        "label": "target",
        "columns": {"text": {"length": 32}},
        "optimise": {"drop_near_duplicates": True},
    }
    spec = write_spec(tmp_path, name="docs", task="text_classification", data=data, search={"space": "text"})

    run = nasflow("run", str(spec), *QUICK, timeout=900)

    assert run.code == 0, run.stderr
    summary = json.loads((tmp_path / "runs" / "docs" / "summary.json").read_text())
    assert summary["deployed"]
    linear = summary["other_baselines"]["tfidf_linear"]["accuracy"]["value"]
    assert linear > 0.5  # ten classes
    assert any(
        "a linear model on TF-IDF" in reason or "A linear model" in reason for reason in summary["decision"]["reasons"]
    )


@pytest.mark.slow
def test_an_image_a_text_and_numbers_from_a_table_to_the_server(nasflow: Nasflow, tmp_path: Path) -> None:
    pacsv.write_csv(pa.table(table(tmp_path)), tmp_path / "train.csv")
    data = {"train": "train.csv", "label": "y", "image": "image_uri", "image_size": 8, "max_bad_fraction": 0.1}
    spec = write_spec(tmp_path, name="mixed", task="tabular_classification", data=data)

    run = nasflow("run", str(spec), *QUICK, timeout=900)

    assert run.code == 0, run.stderr
    summary = json.loads((tmp_path / "runs" / "mixed" / "summary.json").read_text())
    assert summary["deployed"]
    assert summary["rows"]["dead"] == 2
    assert set(summary["other_baselines"]) == {"tree", "tfidf_linear"}
