"""Bad input: exit code 2, one clear message, nothing half-written."""

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.e2e.command import QUICK, Nasflow, write_spec

ROWS = 200


def table_csv(
    path: Path, *, label: str = "y", bad_rows: int = 0, labels: Callable[[int], Any] = lambda i: i % 2
) -> Path:
    lines = [f"a,b,{label}"] + [f"{i},{i * 0.5},{labels(i)}" for i in range(ROWS - bad_rows)]
    lines += [f"oops,{i},1" for i in range(bad_rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def tabular(train: Path | str, **more: Any) -> dict[str, Any]:
    return {"task": "tabular_classification", "data": {"train": str(train), "label": "y"}, **more}


def unknown_key(folder: Path) -> dict[str, Any]:
    return tabular(table_csv(folder / "t.csv"), serach={})


def wrong_type(folder: Path) -> dict[str, Any]:
    return tabular(table_csv(folder / "t.csv"), constraints={"flops": "many"})


def missing_file(folder: Path) -> dict[str, Any]:
    return tabular(folder / "nowhere.csv")


def empty_file(folder: Path) -> dict[str, Any]:
    (folder / "t.csv").touch()
    return tabular(folder / "t.csv")


def header_only(folder: Path) -> dict[str, Any]:
    (folder / "t.csv").write_text("a,b,y\n")
    return tabular(folder / "t.csv")


def missing_label(folder: Path) -> dict[str, Any]:
    return tabular(table_csv(folder / "t.csv", label="target_class"))


def one_class(folder: Path) -> dict[str, Any]:
    return tabular(table_csv(folder / "t.csv", labels=lambda i: "same"))


def unknown_strategy(folder: Path) -> dict[str, Any]:
    return tabular(table_csv(folder / "t.csv"), search={"strategy": "evolutoin"})


def unknown_setting(folder: Path) -> dict[str, Any]:
    return tabular(table_csv(folder / "t.csv"), search={"strategy": "genetic", "settings": {"populaton": 20}})


def unknown_space(folder: Path) -> dict[str, Any]:
    return tabular(table_csv(folder / "t.csv"), search={"space": "cnnn"})


def impossible_constraint(folder: Path) -> dict[str, Any]:
    return tabular(table_csv(folder / "t.csv"), constraints={"parameters": 1})


def unparsable_rows(folder: Path) -> dict[str, Any]:
    return tabular(table_csv(folder / "t.csv", bad_rows=2))


def text_as_regression_label(folder: Path) -> dict[str, Any]:
    spec = tabular(table_csv(folder / "t.csv", labels=lambda i: f"k{i % 2}"))
    return {**spec, "task": "tabular_regression"}


def non_finite_labels(folder: Path) -> dict[str, Any]:
    path = table_csv(folder / "t.csv", labels=lambda i: "inf" if i % 2 else i)
    return {**tabular(path), "task": "tabular_regression"}


def corrupt_parquet(folder: Path) -> dict[str, Any]:
    pq.write_table(pa.table({"a": list(range(ROWS)), "y": [i % 2 for i in range(ROWS)]}), folder / "t-0.parquet")
    (folder / "t-1.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    return tabular(folder / "t-*.parquet")


def drifting_parquet(folder: Path) -> dict[str, Any]:
    pq.write_table(pa.table({"a": list(range(ROWS)), "y": [i % 2 for i in range(ROWS)]}), folder / "t-0.parquet")
    pq.write_table(pa.table({"b": list(range(ROWS)), "y": [i % 2 for i in range(ROWS)]}), folder / "t-1.parquet")
    return tabular(folder / "t-*.parquet")


def corrupt_images(folder: Path) -> dict[str, Any]:
    from PIL import Image

    for name in ("cat", "dog"):
        (folder / "images" / name).mkdir(parents=True)
        for i in range(20):
            pixels = np.full((16, 16, 3), 7 * i, np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{i}.png")
    (folder / "images" / "cat" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    return {"task": "image_classification", "data": {"train": str(folder / "images"), "label": "kind"}}


def truncated_idx(folder: Path) -> dict[str, Any]:
    images = struct.pack(">IIII", 2051, 100, 8, 8) + bytes(100 * 64 - 10)
    labels = struct.pack(">II", 2049, 100) + bytes(i % 3 for i in range(100))
    (folder / "t-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (folder / "t-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    data = {"train": str(folder / "t-images-idx3-ubyte.gz"), "label": "kind"}
    return {"task": "image_classification", "data": data}


CASES: list[tuple[Callable[[Path], dict[str, Any]], list[str]]] = [
    (unknown_key, ["serach", "did you mean 'search'"]),
    (wrong_type, ["constraints.flops", "many"]),
    (missing_file, ["nowhere.csv"]),
    (empty_file, ["t.csv", "empty"]),
    (header_only, ["t.csv", "no rows"]),
    (missing_label, ["'y'", "target_class"]),
    (one_class, ["same", "class"]),
    (unknown_strategy, ["evolutoin", "evolution"]),
    (unknown_setting, ["search.settings.populaton", "population"]),
    (unknown_space, ["cnnn", "cnn"]),
    (impossible_constraint, ["constraints.parameters"]),
    (unparsable_rows, ["max_bad_fraction", "oops", "t.csv"]),
    (text_as_regression_label, ["y", "k0"]),
    (non_finite_labels, ["y", "inf"]),
    (corrupt_parquet, ["t-1.parquet"]),
    (drifting_parquet, ["t-1.parquet", "t-0.parquet"]),
    (corrupt_images, ["3.png", "max_bad_fraction"]),
    (truncated_idx, ["t-images-idx3-ubyte.gz"]),
]


@pytest.mark.parametrize(("case", "essentials"), CASES, ids=[case.__name__ for case, _ in CASES])
def test_bad_input_ends_with_exit_code_2_and_one_message(
    nasflow: Nasflow, tmp_path: Path, case: Callable[[Path], dict[str, Any]], essentials: list[str]
) -> None:
    spec = write_spec(tmp_path, **case(tmp_path))

    run = nasflow("run", str(spec), "--output", "out", *QUICK)

    assert run.code == 2, run.stderr
    for essential in essentials:
        assert essential in run.stderr, run.stderr
    assert "Traceback" not in run.stderr + run.stdout
    finished = {path.parent.parent.name for path in (tmp_path / "out" / "work").glob("*/*/manifest.json")}
    # A constraint is known to be impossible only once the data is: preprocess may finish, and nothing after it.
    assert finished == ({"preprocess"} if case is impossible_constraint else set())
    summary = tmp_path / "out" / "summary.json"
    assert not summary.exists() or json.loads(summary.read_text())["status"] == "failed"


def test_every_mistake_of_a_file_is_said_at_once_with_its_line(nasflow: Nasflow, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text("task: imagination\ndata:\n  train: t.csv\nsearch:\n  budget: {trials: 0}\n")

    run = nasflow("validate", "e.yaml")

    assert run.code == 2
    assert "e.yaml:1: task" in run.stderr
    assert "e.yaml:2: data.label" in run.stderr
    assert "e.yaml:5: search.budget.trials" in run.stderr


def test_work_dir_that_cannot_be_written(nasflow: Nasflow, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    spec = write_spec(tmp_path, **tabular(table_csv(tmp_path / "t.csv")))

    run = nasflow("run", str(spec), "--output", "out", "--work-dir", str(tmp_path / "file" / "below"), *QUICK)

    assert run.code == 2
    assert "work_dir" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()


def test_infinite_features_are_missing_values_and_the_report_says_so(nasflow: Nasflow, tmp_path: Path) -> None:
    lines = ["a,b,y"] + [f"{'inf' if i % 50 == 0 else i},{i % 7},{i % 2}" for i in range(ROWS)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    spec = write_spec(tmp_path, **tabular(tmp_path / "t.csv"))

    run = nasflow("run", str(spec), "--output", "out", *QUICK)

    assert run.code == 0, run.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert sum(summary["rows"].values()) == ROWS
    assert summary["rows"]["dead"] == 0
    statistics = json.loads((tmp_path / "out" / "documents" / "preprocess" / "statistics.json").read_text())
    assert "non_finite" in json.dumps(statistics)
