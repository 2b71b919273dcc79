"""Text columns through the whole preprocess step. The data is made so that every count can be derived."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from nasflow.core.artifacts import SPLITS, Dataset
from nasflow.core.errors import DataError
from nasflow.core.spec import ExperimentSpec
from nasflow.data.reader import read, read_schema, read_transform
from nasflow.preprocess import step
from nasflow.preprocess.spec import PreprocessSpec

ROWS = 600


def made(rows: int, seed: int, *, words: int = 300, offset: int = 0) -> dict[str, Any]:
    """`body`: 30 words of 300, the first says the class; `title`: nearly always one of two; `age`: a number."""
    rng = np.random.default_rng(seed)
    label = rng.choice(["good", "bad"], rows)
    texts = [
        f"{'Happy' if name == 'good' else 'Sad'} "
        + " ".join(f"w{word + offset}" for word in rng.integers(0, words, 29))
        for name in label
    ]
    return {
        "body": texts,
        "title": rng.choice(["a short title", "another"], rows),
        "age": rng.normal(size=rows),
        "y": label,
    }


def run(tmp_path: Path, task: str = "text_classification", **data: Any) -> Dataset:
    content = {"task": task, "data": {"label": "y", "split": {"validation": 0.2, "test": 0.2}, **data}}
    spec = PreprocessSpec.of(ExperimentSpec.model_validate(content))
    return step.run(spec, work_dir=str(tmp_path / "work"), output=str(tmp_path / "dataset"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """600 rows, of which 20 come again with another ending; a test file whose words the training rows do not have."""
    folder = tmp_path_factory.mktemp("texts")
    own = made(ROWS, 0)
    again = {name: list(values[:20]) for name, values in own.items()}
    again["body"] = [text.rsplit(" ", 1)[0] + " again" for text in again["body"]]
    both = {name: [*own[name], *again[name]] for name in own}
    pq.write_table(pa.table(both), folder / "train.parquet")
    other = made(100, 1, words=40, offset=500)
    other["body"][:3] = [own["body"][0].upper(), own["body"][1] + " end", ""]
    pq.write_table(pa.table(other), folder / "test.parquet")
    return run(folder, train=str(folder / "train.parquet"), test=str(folder / "test.parquet"))


def findings(dataset: Dataset) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dataset.json("statistics.json")["quality"]
    return found


def test_kinds_are_found_with_a_confidence(dataset: Dataset) -> None:
    columns = {column.name: column for column in read_schema(dataset).columns}
    assert {name: column.kind for name, column in columns.items()} == {
        "body": "text",
        "title": "categorical",
        "age": "numeric",
    }
    assert columns["body"].confidence == 0.99
    assert columns["body"].reason.startswith("texts: 100% have 4 words or more")
    assert [decision.about for decision in columns["body"].decisions] == ["vocabulary", "length"]


def test_the_transform_is_of_the_training_rows(dataset: Dataset) -> None:
    transform = read_transform(dataset)
    (text,) = transform.text
    assert text.length == 30
    assert not [word for word in text.vocabulary if word[1:].isdigit() and int(word[1:]) >= 500], (
        "words of the test file"
    )
    assert set(text.vocabulary[:2]) == {"happy", "sad"}, "in half of the rows each, any other in a tenth"
    rows = dataset.rows["train"]
    tensors = read(dataset, "train")
    ids = tensors.inputs["text_0"]
    with_first = int((ids == 2).any(axis=1).sum())
    assert text.idf[0] == pytest.approx(np.log((1 + rows) / (1 + with_first)) + 1, abs=1e-6)
    assert set(tensors.inputs) == {"text_0", "categorical", "numeric"}
    place = transform.label.classes.index("good")
    happy = 2 + text.vocabulary.index("happy")
    assert ((ids[:, 0] == happy) == (tensors.labels == place)).all()


def test_what_is_found(dataset: Dataset) -> None:
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for finding in findings(dataset):
        by_kind.setdefault(finding["kind"], []).append(finding)
    near = {finding["numbers"]["split"]: finding["numbers"] for finding in by_kind["near_duplicates"]}
    assert near["test"]["asked"] == 100
    assert near["test"]["near"] in (1, 2)  # the other half of one may be a validation row
    example = near["test"]["examples"][0]
    assert example[2].lower().split()[:5] == example[5].lower().split()[:5]
    assert near["train"]["near"] + near.get("validation", {"near": 0})["near"] <= 20
    assert near["train"]["near"] >= 8  # 20 pairs, of which a fifth has its other half in validation
    (unknown,) = (finding for finding in by_kind["unknown_words"] if finding["numbers"]["split"] == "test")
    assert unknown["numbers"]["unknown"] > 0.9
    assert "oov_buckets" in unknown["switch"]
    assert any(
        finding["numbers"]["split"] == "test" and finding["severity"] == "serious" for finding in by_kind["drift"]
    )
    assert not [finding for finding in by_kind["drift"] if finding["numbers"]["split"] == "validation"]


def test_the_statistics_and_the_report_tell_of_texts(dataset: Dataset) -> None:
    body = dataset.json("statistics.json")["columns"]["body"]
    assert body["kind"] == "text"
    assert body["splits"]["test"]["rows"] == 100
    assert body["splits"]["test"]["empty"] == 1
    assert body["splits"]["train"]["tokens"] == 30 * dataset.rows["train"]
    html = dataset.file("report.html").decode()
    assert "Text: body" in html
    assert "most frequent tokens" in html
    assert "happy" in html


def test_golden_rows_are_texts(dataset: Dataset) -> None:
    golden = dataset.json("golden.json")
    assert all(isinstance(row["body"], str | None) and set(row) == {"body", "title", "age"} for row in golden["rows"])


def test_the_yaml_knows_better(tmp_path: Path) -> None:
    pq.write_table(pa.table(made(200, 0)), tmp_path / "train.parquet")
    columns = {"body": {"length": 5, "vocabulary": 10, "oov_buckets": 7}, "title": {"kind": "text", "least_rows": 1}}
    found = run(tmp_path, train=str(tmp_path / "train.parquet"), columns=columns)
    body, title = read_transform(found).text
    assert (body.length, len(body.vocabulary), body.buckets) == (5, 10, 7)
    assert set(title.vocabulary) == {"a", "short", "title", "another"}
    assert (title.place, title.length) == (1, 3)
    assert sum(found.rows[split] for split in SPLITS) == 200
    assert read(found, "train").inputs["text_0"].max() == 2 + 10 + 7 - 1


def test_text_names_columns_and_checks_them(tmp_path: Path) -> None:
    pq.write_table(pa.table(made(200, 0)), tmp_path / "train.parquet")
    found = run(
        tmp_path, train=str(tmp_path / "train.parquet"), text="title", columns={"body": {"kind": "categorical"}}
    )
    assert [column.name for column in read_transform(found).text] == ["title"]
    with pytest.raises(DataError, match=r"data.text: 'tilte' is no column .* did you mean 'title'"):
        run(tmp_path, train=str(tmp_path / "train.parquet"), text="tilte")
    with pytest.raises(DataError, match="needs a column of texts, but none looks like one"):
        run(tmp_path, train=str(tmp_path / "train.parquet"), ignore=["body"])
    with pytest.raises(ValidationError, match="length is for text columns"):
        run(tmp_path, train="x", columns={"age": {"kind": "numeric", "length": 5}})
    with pytest.raises(ValidationError, match="'y' is the label"):
        run(tmp_path, train="x", text="y")


def test_a_text_of_20_megabytes_is_a_dead_letter(tmp_path: Path) -> None:
    content = made(200, 0)
    content["body"][7] = "word " * 4_000_000
    pq.write_table(pa.table(content), tmp_path / "train.parquet")
    found = run(tmp_path, train=str(tmp_path / "train.parquet"), max_bad_fraction=0.01)
    assert found.rows["dead"] == 1
    letter = json.loads(found.file("dead_letters.jsonl").splitlines()[0])
    assert (letter["row"], letter["column"]) == (8, "body")
    assert letter["reason"] == "text longer than 1,048,576 bytes"


def test_csv_and_folders_become_the_same_tensors(tmp_path: Path) -> None:
    """Commas, quotation marks, line breaks: one text, two forms."""
    import csv

    content = made(120, 3)
    content["body"] = [f'{text}, "quoted"\nand é' for text in content["body"]]
    with (tmp_path / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "y"])
        writer.writerows(zip(content["body"], content["y"], strict=True))
    for place, (text, label) in enumerate(zip(content["body"], content["y"], strict=True)):
        path = tmp_path / "folder" / label / f"{place}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    first = run(tmp_path / "a", train=str(tmp_path / "train.csv"))
    second = run(tmp_path / "b", train=str(tmp_path / "folder"))
    assert first.rows == second.rows
    assert read_transform(first).text == read_transform(second).text
    for split in SPLITS:
        one, two = (read(found, split).inputs["text_0"] for found in (first, second))
        assert sorted(one.tolist()) == sorted(two.tolist())
