"""Findings and remedies through the whole step. The data is made so that every count can be derived."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from nasflow.core.artifacts import SPLITS, Dataset
from nasflow.core.errors import DataError, DocumentError
from nasflow.core.spec import ExperimentSpec
from nasflow.data.reader import read, read_schema, read_transform
from nasflow.preprocess import step
from nasflow.preprocess.spec import PreprocessSpec

ROWS = 2000


def _rows(rows: int, seed: int, shift: float = 0.0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    age = rng.normal(40 + shift, 10, rows)
    label = np.where(age + rng.normal(0, 4, rows) > 58, "old", "young")
    return {
        "age": age,
        "job": rng.choice(["cook", "smith", "tailor"], rows),
        "after": np.where(label == "old", 1.0, 0.0) + rng.normal(0, 0.05, rows),
        "y": label,
    }


def _other(label: pa.ChunkedArray) -> pa.Array:
    return pa.array(["young" if value == "old" else "old" for value in label.to_pylist()])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 rows; the first 300 once more; rows 500–539 with the other label; rows 600–609 once more, and once
    with the other label. The test file: 400 other, older rows, and the first 100 of the training file."""
    folder = tmp_path_factory.mktemp("optimise")
    own = pa.table(_rows(ROWS, 0))
    turned = [own.slice(start, rows) for start, rows in ((500, 40), (600, 10))]
    turned = [part.set_column(3, "y", _other(part["y"])) for part in turned]
    pq.write_table(own, folder / "train-0.parquet")
    pq.write_table(pa.concat_tables([own.slice(0, 300), own.slice(600, 10), *turned]), folder / "train-1.parquet")
    older = pa.table(_rows(400, 1, shift=10))
    pq.write_table(pa.concat_tables([older, own.slice(0, 100)]), folder / "test.parquet")
    return folder


def _run(files: Path, name: str, **data: Any) -> Dataset:
    given = {"train": str(files / "train-*.parquet"), "test": str(files / "test.parquet"), "label": "y", **data}
    spec = PreprocessSpec.model_validate({"task": "tabular_classification", "data": given})
    return step.run(spec, work_dir=str(files / "work"), output=str(files / name))


@pytest.fixture(scope="module")
def plain(files: Path) -> Dataset:
    return _run(files, "plain")


def _quality(dataset: Dataset, kind: str) -> list[dict[str, Any]]:
    return [finding for finding in dataset.json("statistics.json")["quality"] if finding["kind"] == kind]


def test_everything_is_found_and_nothing_is_done(plain: Dataset) -> None:
    assert plain.rows["dead"] == 0
    assert sum(plain.rows.values()) == 2000 + 300 + 40 + 20 + 500
    (shared,) = _quality(plain, "test_in_train")
    assert shared["numbers"] == {"rows": 100, "exact": True}
    assert (shared["severity"], shared["switch"]) == ("serious", "data.optimise.drop_duplicates: true")
    (conflicts,) = _quality(plain, "conflicting_labels")
    assert conflicts["numbers"]["rows"] == 2 * 40 + 3 * 10
    (duplicates,) = _quality(plain, "duplicates")
    assert duplicates["numbers"]["rows"] == 300 + 40 + 20
    assert [(each["column"], each["numbers"]["split"]) for each in _quality(plain, "drift")] == [("age", "test")]
    assert [each["severity"] for each in plain.json("statistics.json")["quality"]] == sorted(
        (each["severity"] for each in plain.json("statistics.json")["quality"]),
        key=["serious", "warning", "note"].index,
    )
    assert read_transform(plain).label.weights == ()


def test_remedies_are_counted_row_by_row(files: Path) -> None:
    remedies = dict.fromkeys(("drop_duplicates", "drop_conflicting_labels", "drop_leaks", "class_weights"), True)
    dataset = _run(files, "remedied", optimise=remedies)
    assert sum(dataset.rows.values()) == 2000 + 300 + 40 + 20 + 500
    statistics = dataset.json("statistics.json")
    # Of 100 rows that are in the test file both copies go; 200 others lose their repetition. Of 40 pairs both rows go
    # (a tie). Of ten triples the single row loses against two, of which one is a repetition.
    assert statistics["dead"] == {
        "dropped: its features are in the test rows": 200,
        "dropped: repeats an earlier row": 200 + 10,
        "dropped: its features have another label more often": 80 + 10,
    }
    assert dataset.rows["dead"] == 500
    assert dataset.rows["test"] == 500
    letters = [json.loads(line) for line in dataset.file("dead_letters.jsonl").splitlines()]
    first = [x["row"] for x in letters if x["file"].endswith("train-0.parquet")]
    assert sorted(first) == [*range(1, 101), *range(501, 541)]
    schema = read_schema(dataset)
    assert [column.name for column in schema.columns] == ["age", "job"]
    assert schema.ignored["after"].startswith("leak: alone it predicts the label with a cross-validated AUC of ")
    assert not _quality(dataset, "test_in_train") + _quality(dataset, "duplicates")
    # rows / (classes × rows of the class): the weights' mean over the training rows is 1
    counts = np.bincount(read(dataset, "train").labels)
    weights = read_transform(dataset).label.weights
    assert weights == pytest.approx(counts.sum() / (2 * counts))
    # The transform is fitted on the rows that stayed
    ages = read(dataset, "train").inputs["numeric"][:, 0]
    assert ages.mean() == pytest.approx(0, abs=1e-5)


def test_a_run_that_was_stopped_goes_on(files: Path, tmp_path: Path) -> None:
    spec = PreprocessSpec.model_validate(
        {
            "task": "tabular_classification",
            "data": {"train": str(files / "train-*.parquet"), "label": "y", "optimise": {"drop_duplicates": True}},
        }
    )
    first = step.run(spec, work_dir=str(tmp_path / "a"), output=str(tmp_path / "out"))
    for path in (tmp_path / "a" / "preprocess").rglob("manifest.json"):
        path.unlink()
    again = step.run(spec, work_dir=str(tmp_path / "a"), output=str(tmp_path / "out2"))
    assert again.files == first.files
    assert {s: [shard.sha256 for shard in again.shards[s]] for s in SPLITS} == {
        s: [shard.sha256 for shard in first.shards[s]] for s in SPLITS
    }
    # Equal rows share a split, and those of the test split stay: 300 repetitions, less those that were held out.
    dropped = first.json("statistics.json")["dead"]["dropped: repeats an earlier row"]
    held_out = 300 + 10 - dropped
    assert 10 < held_out < 60  # about a tenth


def test_drift_since_an_earlier_dataset(files: Path, plain: Dataset, tmp_path: Path) -> None:
    changed = _rows(1500, 2, shift=8)
    changed["new"] = changed.pop("job")
    pq.write_table(pa.table(changed), tmp_path / "a.parquet")
    data = {"train": str(tmp_path / "a.parquet"), "label": "y", "compare_with": plain.uri}
    spec = PreprocessSpec.model_validate({"task": "tabular_classification", "data": data})
    dataset = step.run(spec, work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))
    found = {each["column"]: each["text"] for each in _quality(dataset, "drift_since")}
    assert set(found) >= {"age", "new", "job"}
    assert found["new"] == "Column 'new' is new; the earlier dataset lacks it."
    assert found["job"] == "Column 'job' is gone since the earlier dataset."
    assert "has drifted since the earlier dataset: population stability index" in found["age"]
    assert dataset.inputs == {"earlier": plain.digest}


def test_no_drift_against_itself(files: Path, plain: Dataset) -> None:
    assert not _quality(_run(files, "again", compare_with=plain.uri), "drift_since")


def test_compare_with_nothing(files: Path, tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no Dataset here"):
        _run(files, "nothing", compare_with=str(tmp_path))


def test_suspect_labels_are_the_ones_that_were_turned(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 4))
    label = np.where(x[:, 0] + x[:, 1] > 0, "up", "down")
    clear = np.flatnonzero(np.abs(x[:, 0] + x[:, 1]) > 1)[:40]
    label[clear] = np.where(label[clear] == "up", "down", "up")
    pq.write_table(pa.table({**{f"x{n}": x[:, n] for n in range(4)}, "y": label}), tmp_path / "a.parquet")
    data = {"train": str(tmp_path / "a.parquet"), "label": "y", "optimise": {"find_suspect_labels": True}}
    spec = PreprocessSpec.model_validate({"task": "tabular_classification", "data": data})
    dataset = step.run(spec, work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))
    (found,) = _quality(dataset, "suspect_labels")
    turned = {int(row) + 1 for row in clear}
    listed = [each["row"] for each in found["numbers"]["first"]]
    assert len(turned & set(listed[:20])) >= 18  # the clearest are right
    assert len(turned & set(listed)) >= 0.7 * 40 * dataset.rows["train"] / 1500  # and most are there


def test_near_duplicates_of_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(20, 200, (300, 8, 9)).astype(np.uint8)
    train = coarse.repeat(2, axis=1).repeat(2, axis=2)
    test = rng.integers(20, 200, (50, 8, 9)).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)
    test[:12] = train[:12] + np.uint8(3)
    test[12:15] = train[12:15]  # exact: another finding
    np.savez(tmp_path / "train.npz", x=train, y=np.arange(300) % 2)
    np.savez(tmp_path / "test.npz", x=test, y=np.arange(50) % 2)
    data = {
        "train": str(tmp_path / "train.npz"),
        "test": str(tmp_path / "test.npz"),
        "label": "y",
        "split": {"validation": 0.02},
        "optimise": {"drop_duplicates": True},
    }
    spec = PreprocessSpec.model_validate({"task": "image_classification", "data": data})
    dataset = step.run(spec, work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))
    (found,) = _quality(dataset, "near_duplicates")
    assert found["numbers"]["asked"] == 50
    assert 12 - dataset.rows["validation"] <= found["numbers"]["near"] <= 12
    assert dataset.json("statistics.json")["dead"] == {"dropped: its features are in the test rows": 3}


def test_bad_rows_still_count_and_dropped_rows_do_not(tmp_path: Path) -> None:
    good = "".join(f"{n % 100},{'ab'[n % 2]}\n" for n in range(400))
    (tmp_path / "a.csv").write_text("x,y\n" + good + "oops,a\n")
    data = {"train": str(tmp_path / "a.csv"), "label": "y", "optimise": {"drop_duplicates": True}}
    spec = PreprocessSpec.model_validate({"task": "tabular_classification", "data": data})
    with pytest.raises(DataError, match=r"1 of 401 rows \(0.25%\) cannot be used.*1 × not a number"):
        step.run(spec, work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))


def test_classes_only() -> None:
    data = {"train": "a.csv", "label": "y", "optimise": {"class_weights": True}}
    with pytest.raises(ValidationError, match=r"data.optimise.class_weights needs classes"):
        ExperimentSpec.model_validate({"task": "tabular_regression", "data": data})
