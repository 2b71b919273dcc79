"""Whole runs on real files: the DAG, the documents, the summary."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.e2e.command import QUICK, Nasflow, write_spec

STEPS = ["preprocess", "search", "train", "evaluate", "register", "deploy"]


BINARY = {"accuracy", "f1_macro", "auc", "log_loss", "f1", "precision", "recall", "average_precision"}


def check_summary(out: Path, *, task: str, rows: int, metrics: set[str]) -> dict:
    summary = json.loads((out / "summary.json").read_text())
    assert summary["status"] == "succeeded"
    assert summary["task"] == task
    assert sum(summary["rows"].values()) == rows
    assert set(summary["rows"]) == {"train", "validation", "test", "dead"}
    assert set(summary["test"]) == set(summary["baseline"]) == metrics
    for estimate in (*summary["test"].values(), *summary["baseline"].values()):
        low, high = estimate["ci95"]
        assert math.isfinite(estimate["value"])
        assert low <= high
    trials = summary["search"]["trials"]
    assert trials["completed"] >= 1
    assert trials["failed"] == 0
    assert summary["search"]["best"]["parameters"] > 0
    assert isinstance(summary["decision"]["promoted"], bool)
    assert summary["decision"]["reasons"]
    assert summary["model"]["version"] == 1
    assert list(summary["seconds"]) == list(summary["cpu_seconds"]) == STEPS
    return summary


def test_digits_as_images(nasflow: Nasflow, tmp_path: Path) -> None:
    spec = write_spec(
        tmp_path, name="digits", task="image_classification", data={"train": "sample:digits", "label": "target"}
    )

    run = nasflow("run", str(spec), *QUICK)

    assert run.code == 0, run.stderr
    summary = check_summary(
        tmp_path / "runs" / "digits",
        task="image_classification",
        rows=1797,
        metrics={"accuracy", "f1_macro", "auc", "log_loss"},
    )
    assert summary["test"]["accuracy"]["value"] > 0.5
    assert (tmp_path / "runs" / "digits" / "report.html").stat().st_size > 1000
    assert "accuracy" in run.stdout

    listed = nasflow("models", "list")
    assert listed.code == 0
    assert "digits" in listed.stdout
    shown = nasflow("models", "show", "digits@champion")
    assert shown.code == 0, shown.stderr
    assert summary["model"]["digest"][:12] in shown.stdout


def test_a_table_with_text_missing_values_and_awkward_names(nasflow: Nasflow, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = 600
    kind = rng.choice(["red", "green", "blüe", ""], rows)
    size = rng.normal(1e6, 1e3, rows)
    flag = rng.random(rows) < 0.5
    count = rng.integers(0, 50, rows)
    good = (kind == "red") ^ (size > 1e6)
    table = pa.table(
        {
            "the kind": pa.array(kind, pa.string()),
            "1-size": pa.array(np.where(rng.random(rows) < 0.05, np.nan, size)),
            "flag": pa.array(flag),
            "count": pa.array(count, mask=rng.random(rows) < 0.1),
            "id": pa.array([f"row-{i}" for i in range(rows)]),
            "always": pa.array(["x"] * rows),
            "answer": pa.array(np.where(good, "good", "bad")),
        }
    )
    for shard in range(3):
        pq.write_table(table.slice(shard * 200, 200), tmp_path / f"part-{shard}.parquet")
    data = {"train": str(tmp_path / "part-*.parquet"), "label": "answer"}
    spec = write_spec(tmp_path, name="awkward", task="tabular_classification", data=data, objective="auc")

    run = nasflow("run", str(spec), "--output", "out", *QUICK, "--set=search.budget.epochs=20", "--set=train.epochs=20")

    assert run.code == 0, run.stderr
    summary = check_summary(tmp_path / "out", task="tabular_classification", rows=rows, metrics=BINARY)
    assert summary["test"]["auc"]["value"] > 0.75
    schema = json.loads((tmp_path / "out" / "documents" / "preprocess" / "schema.json").read_text())
    assert {"id", "always"} <= set(schema["ignored"])


@pytest.mark.slow
def test_regression_with_a_separate_test_file(nasflow: Nasflow, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for name, rows in (("train", 800), ("test", 150)):
        x = rng.normal(size=(rows, 3))
        y = 1000 + 50 * x[:, 0] - 20 * x[:, 1] ** 2 + rng.normal(size=rows)
        lines = ["x0,x1,x2,price"] + [f"{a:.6f},{b:.6f},{c:.6f},{t:.6f}" for (a, b, c), t in zip(x, y, strict=True)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    data = {"train": str(tmp_path / "train.csv"), "test": str(tmp_path / "test.csv"), "label": "price"}
    spec = write_spec(tmp_path, name="price", task="tabular_regression", data=data)

    run = nasflow("run", str(spec), "--output", "out", *QUICK, "--set=search.budget.epochs=30", "--set=train.epochs=40")

    assert run.code == 0, run.stderr
    summary = check_summary(tmp_path / "out", task="tabular_regression", rows=950, metrics={"rmse", "mae", "r2"})
    assert summary["rows"]["test"] == 150
    assert summary["test"]["r2"]["value"] > 0.6


@pytest.mark.slow
def test_folders_of_pictures(nasflow: Nasflow, tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(2)
    for kind, (height, width) in {"tall": (40, 24), "wide": (24, 40)}.items():
        (tmp_path / "pictures" / kind).mkdir(parents=True)
        for i in range(60):
            pixels = rng.integers(0, 90, (height, width, 3), np.uint8)
            pixels[:, :, 0 if kind == "tall" else 2] += 120
            Image.fromarray(pixels).save(tmp_path / "pictures" / kind / f"{i}.{'png' if i % 2 else 'jpg'}")
    data = {"train": str(tmp_path / "pictures"), "label": "kind", "image_size": 16}
    data["split"] = {"validation": 0.2, "test": 0.2}
    spec = write_spec(tmp_path, name="pictures", task="image_classification", data=data)

    run = nasflow("run", str(spec), "--output", "out", *QUICK, "--set=search.budget.epochs=8", "--set=train.epochs=8")

    assert run.code == 0, run.stderr
    summary = check_summary(tmp_path / "out", task="image_classification", rows=120, metrics=BINARY)
    assert summary["test"]["accuracy"]["value"] > 0.8


def test_a_model_that_does_not_beat_its_baseline_is_registered_but_not_deployed(
    nasflow: Nasflow, tmp_path: Path
) -> None:
    spec = write_spec(
        tmp_path,
        name="worse",
        task="tabular_classification",
        data={"train": "sample:iris", "label": "target", "split": {"validation": 0.2, "test": 0.2}},
        evaluate={"min_gain": 1.5, "bootstrap": 100},
        search={"budget": {"trials": 1, "epochs": 2}},
        train={"seeds": 1, "epochs": 2},
    )

    run = nasflow("run", str(spec), "--output", "out")

    assert run.code == 0, run.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["status"] == "succeeded"
    assert summary["decision"]["promoted"] is False
    assert summary["model"]["version"] == 1
    assert "deploy" not in summary["seconds"]
    shown = nasflow("models", "show", "worse@champion", "--registry", "out/work/registry")
    assert shown.code == 2
    assert "challenger" in shown.stderr


@pytest.mark.slow
def test_a_second_run_makes_a_second_version_and_a_rollback_brings_the_first_one_back(
    nasflow: Nasflow, tmp_path: Path
) -> None:
    data = {"train": "sample:iris", "label": "target", "split": {"validation": 0.2, "test": 0.2}}
    spec = write_spec(tmp_path, name="iris", task="tabular_classification", data=data)
    for seed in ("0", "1"):
        run = nasflow("run", str(spec), "--seed", seed, *QUICK)
        assert run.code == 0, run.stderr
    summary = json.loads((tmp_path / "runs" / "iris" / "summary.json").read_text())
    assert summary["model"]["version"] == 2

    assert "champion = 2" in nasflow("models", "list").stdout
    back = nasflow("models", "rollback", "iris")
    assert back.code == 0, back.stderr
    assert "champion = 1" in nasflow("models", "list").stdout

    lost = nasflow("models", "promote", "iris", "2", "--expect", "2")
    assert lost.code == 75, lost.stderr  # somebody else's champion stays: 1, not the 2 that was expected
    assert nasflow("models", "promote", "iris", "2", "--expect", "1").code == 0
    assert "champion = 2" in nasflow("models", "list").stdout
