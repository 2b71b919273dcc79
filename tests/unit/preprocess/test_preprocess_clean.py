"""Cells, plans and cleaning: what becomes of each value, and which rows become dead letters."""

import dataclasses
import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nasflow.core.spec import DataSection, SplitSection, Task
from nasflow.preprocess import cells
from nasflow.preprocess.analysis import Analysis
from nasflow.preprocess.clean import CleanRows, clean
from nasflow.preprocess.plan import Plan, make_plan
from nasflow.preprocess.sources.find import find


def _read(path: Path, task: Task = "tabular_classification", **more: object) -> tuple[Plan, CleanRows]:
    data = DataSection.model_validate({"train": str(path), "label": "y", **more})
    sources = find(data, task)
    plan = make_plan(sources, data, task)
    (batch,) = [batch for piece in sources.train.pieces() for batch in sources.train.read(piece)]
    return plan, clean(batch, plan)


def _kinds(plan: Plan) -> dict[str, str]:
    return {column.name: column.kind for column in plan.columns}


def test_numbers_from_text() -> None:
    values, bad = cells.numbers(pa.array(["1", " 2.5 ", "?", None, "1e3", "abc", "-inf", "NaN", "+4", "1_0"]))
    assert bad is not None
    assert np.flatnonzero(bad).tolist() == [5, 9]
    expected = [1, 2.5, np.nan, np.nan, 1000, np.nan, -np.inf, np.nan, 4, np.nan]
    assert np.array_equal(values, expected, equal_nan=True)
    clean_values, none = cells.numbers(pa.array(["1", None]))
    assert none is None
    assert np.array_equal(clean_values, [1, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    ("values", "csv", "names"),
    [
        (pa.array([1, 2]), False, ["1", "2"]),
        (pa.array([1.0, 2.5, float("nan"), float("inf")]), False, ["1", "2.5", None, "inf"]),
        (pa.array([True, None]), False, ["true", None]),
        (pa.array(["a", "", "1.0"]), False, ["a", None, "1.0"]),
        (pa.array([" a", "?", "1.0", "1", "007", "-2.00"]), True, ["a", None, "1", "1", "007", "-2"]),
        (pa.array(["a", "b"]).dictionary_encode(), False, ["a", "b"]),
    ],
)
def test_class_names(values: pa.Array, csv: bool, names: list[str | None]) -> None:
    assert cells.class_names(values, csv=csv).to_pylist() == names


def test_classes_sort_as_numbers_where_all_are() -> None:
    assert cells.sorted_classes({"10", "9", "-1.5"}) == ("-1.5", "9", "10")
    assert cells.sorted_classes({"10", "9", "x"}) == ("10", "9", "x")


def test_kinds_of_a_csv_with_reasons(tmp_path: Path) -> None:
    lines = ["id,day,age,job,ok,none,half,row,y"]
    for row in range(200):
        half = row if row % 2 else f"t{row % 7}"
        age = "old" if row == 150 else row / 2
        lines.append(
            f"k{row},2024-01-{row % 28 + 1:02d},{age},job{row % 3},{'True' if row % 2 else 'false'},,{half},{row},a"
        )
    (tmp_path / "a.csv").write_text("\n".join(lines))
    plan, rows = _read(tmp_path / "a.csv")
    assert _kinds(plan) == {
        "day": "datetime",
        "age": "numeric",
        "job": "categorical",
        "ok": "boolean",
        "half": "categorical",
        "row": "integer",
    }
    assert plan.ignored["id"] == "an identifier: text that is different in all 200 rows"
    assert rows.raw["day"][:2].tolist() == [1704067200.0, 1704153600.0]  # 19,723 days after 1970, and one more
    assert plan.ignored["none"] == "no value in any row"
    assert list(rows.raw["ok"])[:2] == ["false", "true"]
    assert [(d.row, d.column, d.value, d.reason) for d in rows.dead] == [(151, "age", "old", "not a number")]
    assert rows.rows == 199
    assert any("'half' is treated as text, although" in note for note in plan.notes)
    assert any("'row' counts the rows" in note for note in plan.notes)


def test_kinds_of_parquet(tmp_path: Path) -> None:
    table = pa.table(
        {
            "whole": pa.array([1, None, 3], pa.int32()),
            "price": pa.array(["1.5", None, "2"]).cast(pa.decimal128(5, 2)),
            "flag": [True, None, False],
            "word": pa.array(["a", "", "b"]).dictionary_encode(),
            "digits": ["1", "2", "3"],
            "day": [dt.date(2024, 1, 1)] * 3,
            "list": [[1], [2], [3]],
            "y": [1.0, 2.0, 1.0],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    plan, rows = _read(tmp_path / "a.parquet")
    assert _kinds(plan) == {
        "whole": "integer",
        "price": "numeric",
        "flag": "boolean",
        "word": "categorical",
        "digits": "categorical",
        "day": "datetime",
        "list": "vector",
    }
    assert not plan.ignored
    assert rows.raw["day"].tolist() == [1704067200.0] * 3
    assert rows.raw["list"].tolist() == [[1.0], [2.0], [3.0]]
    assert np.array_equal(rows.raw["whole"], [1, np.nan, 3], equal_nan=True)
    assert np.array_equal(rows.raw["price"], [1.5, np.nan, 2], equal_nan=True)
    assert list(rows.raw["flag"]) == ["true", None, "false"]
    assert list(rows.raw["word"]) == ["a", None, "b"]
    assert list(rows.labels) == ["1", "2", "1"]


def test_dead_letters_of_labels_and_long_text(tmp_path: Path) -> None:
    long = "z" * (cells.MAX_TEXT_BYTES + 1)
    table = pa.table({"job": ["a", "b", long, "a", "b"], "y": [1.0, None, 1.0, float("inf"), float("nan")]})
    pq.write_table(table, tmp_path / "a.parquet")
    _, rows = _read(tmp_path / "a.parquet")
    assert [(d.row, d.column, d.reason) for d in sorted(rows.dead, key=lambda d: d.row)] == [
        (2, "y", "label is missing"),
        (3, "job", "text longer than 1,048,576 bytes"),
        (4, "y", "label is not finite"),
        (5, "y", "label is missing"),
    ]
    assert len(next(d for d in rows.dead if d.row == 3).value) == 200
    assert rows.rows == 1
    _, targets = _read(tmp_path / "a.parquet", "tabular_regression")
    assert [(d.row, d.reason) for d in sorted(targets.dead, key=lambda d: d.row)][2] == (4, "label is not finite")


def test_regression_label_that_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{n % 5},{n}\n" for n in range(150)) + "1,many\n2,?\n")
    _, rows = _read(tmp_path / "a.csv", "tabular_regression")
    assert [(d.row, d.value, d.reason) for d in rows.dead] == [
        (151, "many", "label is not a number"),
        (152, "", "label is missing"),
    ]
    assert rows.labels.tolist() == list(range(150))


def test_a_batch_of_broken_rows_only(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,job,y\n1,a,b\n2,b,c\n")
    plan, rows = _read(tmp_path / "a.csv")
    nothing = dataclasses.replace(rows.batch, rows=rows.batch.rows[:0], columns=rows.batch.columns.slice(0, 0))
    empty = clean(nothing, plan)
    assert empty.rows == 0
    found = Analysis.start(plan)
    found.update(empty, "train", SplitSection(), has_test_file=False)
    assert found.split_rows.tolist() == [0, 0, 0]
