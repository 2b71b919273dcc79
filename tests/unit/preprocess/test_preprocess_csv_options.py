"""`data.csv` and `data.label_map`: files as they are published, without surgery by hand."""

import bz2
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from nasflow.core.errors import DataError
from nasflow.core.spec import CsvSection, DataSection, ExperimentSpec
from nasflow.data.reader import read_schema
from nasflow.preprocess import step
from nasflow.preprocess.header import check
from nasflow.preprocess.sources._base import RowBatch
from nasflow.preprocess.sources.find import find
from nasflow.preprocess.spec import PreprocessSpec

COLUMNS = ["age", "workclass", "education", "hours", "income"]


def _data(train: object, **more: object) -> DataSection:
    return DataSection.model_validate({"train": str(train), "label": "y", **more})


def _batches(train: object, **csv: object) -> list[RowBatch]:
    source = find(_data(train, csv=csv), "tabular_classification").train
    return [batch for piece in source.pieces() for batch in source.read(piece)]


def _columns(train: object, **csv: object) -> dict[str, list[str]]:
    return pa.Table.from_batches([batch.columns for batch in _batches(train, **csv)]).to_pydict()


def _adult(folder: Path) -> dict[str, object]:
    """Of the form of the UCI files: no header, a space after each comma, `?` for missing, a blank line at the end; the
    test file begins with a note, and its labels end with a dot."""
    lines = []
    for row in range(300):
        work = "?" if row % 10 == 0 else ["Private", "State-gov", "Self-emp-not-inc"][row % 3]
        answer = "<=50K" if row % 4 else ">50K"
        lines.append(f"{20 + row % 50}, {work}, {['HS-grad', '11th'][row % 2]}, {30 + row % 20}, {answer}")
    (folder / "adult.data.csv").write_text("\n".join(lines) + "\n\n")
    (folder / "adult.test.csv").write_text("|1x3 Cross validator\n" + "".join(f"{line}.\n" for line in lines[:100]))
    return {
        "train": str(folder / "adult.data.csv"),
        "test": str(folder / "adult.test.csv"),
        "label": "income",
        "csv": {"header": False, "columns": COLUMNS, "comment": "|"},
        "label_map": {"<=50K.": "<=50K", ">50K.": ">50K"},
    }


def test_census_data_as_published_runs_as_it_is(tmp_path: Path) -> None:
    data = _adult(tmp_path)
    assert check(DataSection.model_validate(data), "tabular_classification") == []
    spec = PreprocessSpec.model_validate({"task": "tabular_classification", "data": data})
    dataset = step.run(spec, work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))
    schema = read_schema(dataset)
    assert schema.label.classes == ("<=50K", ">50K")
    assert [(c.name, c.kind) for c in schema.columns] == [
        ("age", "integer"), ("workclass", "categorical"), ("education", "categorical"), ("hours", "integer"),
    ]  # fmt: skip
    assert {"test": dataset.rows["test"], "dead": dataset.rows["dead"]} == {"test": 100, "dead": 0}
    assert sum(dataset.rows.values()) == 400
    statistics = dataset.json("statistics.json")
    assert statistics["label"]["test"] == {"<=50K": 75, ">50K": 25}  # every fourth of 100
    work = statistics["columns"]["workclass"]
    assert set(work["top"]) == {"Private", "State-gov", "Self-emp-not-inc"}
    assert work["count"] + work["missing"] == dataset.rows["train"]
    assert work["missing"] > 0


def test_without_the_map_the_odd_labels_are_dead_letters(tmp_path: Path) -> None:
    data = _adult(tmp_path) | {"label_map": {}}
    spec = PreprocessSpec.model_validate({"task": "tabular_classification", "data": data})
    with pytest.raises(DataError, match=r"label is no class of the training data.*'<=50K\.'|'>50K\.'"):
        step.run(spec, work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))


def test_the_first_row_without_a_header_is_row_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("#note\n1,a\n2\n#note\n3,b\n")
    (batch,) = _batches(tmp_path / "a.csv", header=False, columns=["x", "y"], comment="#")
    assert batch.columns.to_pydict() == {"x": ["1", "3"], "y": ["a", "b"]}
    assert batch.rows.tolist() == [1, 3]
    assert [(letter.row, letter.value) for letter in batch.dead] == [(2, "2")]


def test_a_mark_inside_a_quoted_value_is_no_comment(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('#x\nx,y\n"1\n#2",a\n#3,b\n')
    assert _columns(tmp_path / "a.csv", comment="#") == {"x": ["1\n#2"], "y": ["a"]}


def test_names_may_replace_the_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("alter,klasse\n1,a\n")
    assert _columns(tmp_path / "a.csv", columns=["x", "y"]) == {"x": ["1"], "y": ["a"]}


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8", "utf-8-sig", "shift-jis"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    text = "ソ" if encoding == "shift-jis" else "Zürich"  # the second byte of ソ in Shift-JIS is a backslash
    (tmp_path / "a.csv").write_bytes(("x;y\n" + f"{text};a\n" * 3000).encode(encoding))
    assert _columns(tmp_path / "a.csv", encoding=encoding) == {"x": [text] * 3000, "y": ["a"] * 3000}


def test_a_wrong_encoding_says_which_key_to_set(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("x,y\nZürich,a\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.csv: not .*data\.csv\.encoding, e\.g\. latin-1"):
        _batches(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes("x,ü\n1,a\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"b\.csv: not UTF-8 text .*data\.csv\.encoding"):
        _batches(tmp_path / "b.csv")


def test_delimiters(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,1^y,2\n3,4^a\n")
    assert _columns(tmp_path / "a.csv", delimiter="^") == {"x,1": ["3,4"], "y,2": ["a"]}
    (tmp_path / "a.tsv").write_text("a,b,c\ty\n1,2,3\tz\n")
    assert _columns(tmp_path / "a.tsv", delimiter="\t") == {"a,b,c": ["1,2,3"], "y": ["z"]}


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst"])
def test_compressed_files_and_damaged_ones(tmp_path: Path, suffix: str) -> None:
    data = b"x,y\n" + b"".join(b"%d,a\n" % row for row in range(5000))
    zstd = pa.Codec("zstd")
    packed = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": lambda raw: zstd.compress(raw).to_pybytes()}
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(packed[suffix](data))
    assert _columns(path)["x"] == [str(row) for row in range(5000)]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"a\.csv\.\w+: a damaged .* file"):
        _batches(path)


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ({"encoding": "klingon"}, "no text encoding 'klingon'"),
        ({"encoding": "hex"}, "no text encoding 'hex'"),
        ({"header": False}, "list them in columns"),
        ({"columns": ["a", "a"]}, "'a' is named more than once"),
        ({"delimiter": '"'}, "delimiter: must be one ASCII character"),
        ({"comment": "##"}, "at most 1 character"),
    ],
)
def test_options_that_cannot_be(csv: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CsvSection.model_validate(csv)


def test_a_wrong_number_of_names_shows_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2,a\n")
    with pytest.raises(DataError, match=r"first line has 3 fields \('1,2,a'\), but data\.csv\.columns names 2"):
        _batches(tmp_path / "a.csv", header=False, columns=["x", "y"])


def test_labels_are_mapped_for_classes_only() -> None:
    data = {"train": "sample:iris", "label": "target", "label_map": {2: "two", True: "yes"}}
    spec = ExperimentSpec.model_validate({"task": "tabular_classification", "data": data})
    assert spec.data.label_map == {"2": "two", "true": "yes"}
    with pytest.raises(ValidationError, match=r"data\.label_map renames classes"):
        ExperimentSpec.model_validate({"task": "tabular_regression", "data": data})


def _euro(folder: Path, name: str = "euro.csv") -> Path:
    """Prices 1000.25, 1001.25, … as Germans write them, of goods of two kinds, and a discount that is a fraction."""
    lines = [f"{row % 97};1.{row:03d},25;{'ab'[row % 2]};0,{row % 2}" for row in range(300)]
    path = folder / name
    path.write_text("\n".join(["n;price;y;discount", *lines]) + "\n")
    return path


def test_decimal_commas_are_named_with_the_key_that_reads_them(tmp_path: Path) -> None:
    path = _euro(tmp_path)
    (problem,) = check(_data(path), "tabular_classification")
    assert "column 'price'" in problem
    assert "'1.000,25'" in problem
    assert 'set data.csv: {decimal: ",", thousands: "."}' in problem
    (problem,) = check(_data(path, label="price"), "tabular_regression")
    assert "decimal" in problem
    assert "tabular_classification" not in problem  # it would turn prices into classes
    assert (
        check(_data(path, columns={"price": {"kind": "categorical"}}, ignore=["discount"]), "tabular_classification")
        == []
    )


def test_decimal_commas_are_read_as_numbers_where_told(tmp_path: Path) -> None:
    csv = {"decimal": ",", "thousands": "."}
    spec = PreprocessSpec.model_validate(
        {
            "task": "tabular_regression",
            "data": {"train": str(_euro(tmp_path)), "label": "price", "csv": csv},
        }
    )
    dataset = step.run(spec, work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))
    assert dataset.rows["dead"] == 0
    labels = json.loads((tmp_path / "out" / "golden.json").read_text())["labels"]
    assert labels
    assert {label % 1 for label in labels} == {0.25}
    assert 1000 < min(labels) < max(labels) < 1300
    kinds = {column.name: column.kind for column in read_schema(dataset).columns}
    assert kinds == {"n": "integer", "y": "categorical", "discount": "numeric"}


def test_a_category_of_digits_keeps_its_comma_where_the_decimal_is_one(tmp_path: Path) -> None:
    """What the served model is sent is what the file has."""
    path = tmp_path / "sizes.csv"
    path.write_text("size;x;y\n" + "".join(f"{36 + row % 3},5;{row},5;{'ab'[row % 2]}\n" for row in range(60)))
    data = _data(path, csv={"decimal": ","}, columns={"size": {"kind": "categorical"}})
    spec = PreprocessSpec.model_validate({"task": "tabular_classification", "data": data})
    dataset = step.run(spec, work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))
    described = read_schema(dataset)
    assert {column.name: column.kind for column in described.columns} == {"size": "categorical", "x": "numeric"}
    assert '"36,5"' in (tmp_path / "out" / "transform.json").read_text()


def test_a_comma_between_thousands_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "us.csv"
    path.write_text("people,y\n" + "".join(f'"{1 + row},{row:03d}",{"ab"[row % 2]}\n' for row in range(40)))
    (problem,) = check(_data(path), "tabular_classification")
    assert 'set data.csv: {thousands: ","}' in problem
    assert check(_data(path, csv={"thousands": ","}), "tabular_classification") == []


def test_utf_16_is_named_where_the_file_begins_with_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes("x,y\n1,a\n2,b\n".encode("utf-16"))
    (problem,) = check(_data(path), "tabular_classification")
    assert problem.endswith("e.g. utf-16")
    assert check(_data(path, csv={"encoding": "utf-16"}), "tabular_classification") == []


def test_a_column_of_one_file_only_can_be_ignored(tmp_path: Path) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("x,y\n" + "".join(f"{row},{'ab'[row % 2]}\n" for row in range(60)))
    test.write_text("x,y,a note\n" + "".join(f"{row},{'ab'[row % 2]},hi\n" for row in range(60)))
    (problem,) = check(_data(train, test=str(test)), "tabular_classification")
    assert "also has 'a note'" in problem
    assert problem.endswith("or set data.ignore: [a note]")
    data = _data(train, test=str(test), ignore=["a note"])
    assert check(data, "tabular_classification") == []
    spec = PreprocessSpec.model_validate({"task": "tabular_classification", "data": data})
    assert step.run(spec, work_dir=str(tmp_path / "work"), output=str(tmp_path / "out")).rows["test"] == 60
    (problem,) = check(_data(train, test=str(test), ignore=["a note", "nobody"]), "tabular_classification")
    assert "'nobody' is no column" in problem


def test_a_label_of_nearly_a_class_a_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("x,y,name\n" + "".join(f"{row},{row}.5,p{row}\n" for row in range(40)))
    (problem,) = check(_data(path), "tabular_classification")
    assert "40 different values such as '0.5' in 40 rows" in problem
    assert "task: tabular_regression" in problem
    (problem,) = check(_data(path, label="name"), "tabular_classification")
    assert "tabular_regression" not in problem


def test_infinite_values_are_no_surprise_to_the_look_for_row_numbers(tmp_path: Path) -> None:
    path = tmp_path / "inf.csv"
    path.write_text("x,y\n" + "".join(f"{'inf' if row % 2 else row},{'ab'[row % 2]}\n" for row in range(40)))
    assert check(_data(path), "tabular_classification") == []  # a warning is an error in this suite
