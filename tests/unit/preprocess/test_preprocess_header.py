"""header.check: everything that can be wrong and is found before anything runs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nasflow.core.spec import DataSection, Task
from nasflow.preprocess.header import check

TABLE: Task = "tabular_classification"
IMAGES: Task = "image_classification"
GOOD = "x,job,y\n" + "".join(f"{row},cook,{'ab'[row % 2]}\n" for row in range(40))


def _check(train: object, task: Task = TABLE, **more: object) -> list[str]:
    return check(DataSection.model_validate({"train": str(train), "label": "y", **more}), task)


def _one(train: object, task: Task = TABLE, **more: object) -> str:
    problems = _check(train, task, **more)
    assert len(problems) == 1, problems
    return problems[0]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    (tmp_path / "good.csv").write_text(GOOD)
    return tmp_path / "good.csv"


def test_good_data_has_no_problems(good: Path) -> None:
    assert _check(good) == []
    assert _check("sample:iris", label="target") == []
    assert _check("sample:digits", IMAGES, label="target") == []


def test_every_problem_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    problems = _check(tmp_path / "none.csv", test=str(tmp_path / "empty.csv"))
    assert len(problems) == 2
    assert "data.train: no such file" in problems[0]
    assert "empty.csv: empty" in problems[1]


def test_missing_files(good: Path) -> None:
    assert "did you mean 'good.csv'?" in _one(good.with_name("god.csv"))
    assert "matches no file" in _one(good.with_name("*.parquet"))
    (good.parent / "void").mkdir()
    assert "is empty" in _one(good.parent / "void")


def test_empty_and_header_only(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("")
    assert "empty; the first line must name the columns" in _one(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("x,y\n")
    assert "a header, but no rows" in _one(tmp_path / "a.csv")
    pq.write_table(pa.table({"x": pa.array([], pa.int64()), "y": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert "a.parquet: no rows" in _one(tmp_path / "a.parquet")


def test_label_column(good: Path) -> None:
    message = _one(good, label="jib")
    assert "has no column 'jib'; did you mean 'job'?" in message
    assert "x, job, y" in message
    assert "did you mean 'y'?" in _one(good, label="Y")
    assert "there are" in _one("sample:mnist", label="target")
    assert "the label of every sample is 'target'" in _one("sample:iris")


def test_regression_needs_numbers(good: Path) -> None:
    message = _one(good, "tabular_regression")
    assert "needs a numeric label, but 'y'" in message
    assert "tabular_classification" in message


def test_task_and_form_must_fit(good: Path, tmp_path: Path) -> None:
    assert "task image_classification cannot use it" in _one(good, IMAGES)
    (tmp_path / "cats/cat").mkdir(parents=True)
    (tmp_path / "cats/cat/1.png").write_bytes(b"x")
    assert "task tabular_classification cannot use it" in _one(tmp_path / "cats")
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 4, 4, 1), np.uint8), y=np.zeros(3))
    assert "a tabular task needs numbers of shape [rows, columns]" in _one(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.zeros((3, 4)), y=np.zeros(3))
    assert "images must have the shape" in _one(tmp_path / "b.npz", IMAGES)


def test_unknown_and_mixed_types(good: Path) -> None:
    (good.parent / "a.xlsx").write_bytes(b"x")
    assert "does not read" in _one(good.parent / "a.xlsx")
    assert "several types (.xlsx, CSV)" in _one(good.parent / "*")


def test_image_folder_without_classes(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"x")
    assert "1 images but no class folders" in _one(tmp_path, IMAGES)


def test_idx_without_labels(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"x")
    assert "no labels beside it" in _one(tmp_path / "train-images-idx3-ubyte", IMAGES)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"x")
    assert "not an IDX file" in _one(tmp_path / "train-images-idx3-ubyte", IMAGES)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 junk PAR1")
    assert "a.parquet: not a readable Parquet file" in _one(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_bytes("x,y\nzoë,1\n".encode("latin-1"))
    assert "a.csv: not" in _one(tmp_path / "a.csv")
    (tmp_path / "twice.csv").write_text("x,x,y\n1,2,a\n")
    assert "names 'x' more than once" in _one(tmp_path / "twice.csv")
    (tmp_path / "a.csv.gz").write_bytes(b"no gzip")
    assert "damaged gzip" in _one(tmp_path / "a.csv.gz")


def test_schema_drift_names_both_files(tmp_path: Path) -> None:
    (tmp_path / "0.csv").write_text(GOOD)
    (tmp_path / "1.csv").write_text("x,job,y\nten,cook,a\neleven,cook,b\n")
    message = _one(tmp_path)
    assert "column 'x' is integer in" in message
    assert "0.csv" in message
    assert "but categorical in" in message
    assert "1.csv" in message
    assert _check(tmp_path, ignore=["x"]) == []
    (tmp_path / "1.csv").write_text("x,extra,y\n1,2,a\n")
    message = _one(tmp_path)
    assert "1.csv lacks 'job' and also has 'extra'" in message
    pq.write_table(pa.table({"x": [1, 2], "y": ["a", "b"]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"x": ["1", "2"], "y": ["a", "b"]}), tmp_path / "1.parquet")
    message = _one(tmp_path / "*.parquet")
    assert "0.parquet" in message
    assert "1.parquet" in message
    pq.write_table(pa.table({"x": [1.5, 2], "y": ["a", "b"]}), tmp_path / "1.parquet")
    assert _check(tmp_path / "*.parquet") == []  # whole numbers and fractions are both numbers


def test_training_and_test_data_come_in_one_form(good: Path) -> None:
    pq.write_table(pa.table({"x": [1], "job": ["cook"], "y": ["a"]}), good.with_name("test.parquet"))
    assert "data.test is Parquet but data.train is CSV" in _one(good, test=str(good.with_name("test.parquet")))


def test_files_that_may_not_be_read(good: Path) -> None:
    (good.parent / "gone.csv").symlink_to(good.parent / "nowhere.csv")
    assert "gone.csv" in _one(good.parent / "gone.csv")


def test_an_empty_parquet_shard_is_fine(tmp_path: Path) -> None:
    schema = pa.schema({"x": pa.int64(), "y": pa.string()})
    pq.write_table(schema.empty_table(), tmp_path / "0.parquet")
    pq.write_table(pa.table({"x": [1, 2], "y": ["a", "b"]}), tmp_path / "1.parquet")
    assert _check(tmp_path) == []


def test_ignore_names_real_columns(good: Path) -> None:
    assert "data.ignore: 'z' is no column" in _one(good, ignore=["z"])
    assert "is the label" in _one(good, ignore=["y"])
    assert "no column is left" in _one(good, ignore=["x", "job"])


def test_checking_imports_no_beam(good: Path) -> None:
    code = (
        "import sys; from nasflow.core.spec import DataSection; from nasflow.preprocess.header import check;"
        "import nasflow.preprocess.step;"
        f"assert check(DataSection(train={str(good)!r}, label='y'), 'tabular_classification') == [];"
        "sys.exit('apache_beam' in sys.modules or 'tensorflow' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
