"""The whole step, with Beam: documents, round trips, faults that only all the rows can tell."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nasflow.core.artifacts import SPLITS, Dataset
from nasflow.core.errors import DataError, DocumentError
from nasflow.core.spec import ExperimentSpec, Task
from nasflow.data.apply import apply
from nasflow.data.golden import read_golden
from nasflow.data.raw import raw_batch
from nasflow.data.raw_test import read_raw_test
from nasflow.data.reader import read, read_schema, read_transform
from nasflow.preprocess import step
from nasflow.preprocess.spec import PreprocessSpec


def _spec(train: object, task: Task = "tabular_classification", label: str = "y", **data: object) -> PreprocessSpec:
    return PreprocessSpec.model_validate({"task": task, "data": {"train": str(train), "label": label, **data}})


def _run(folder: Path, spec: PreprocessSpec) -> Dataset:
    return step.run(spec, work_dir=str(folder / "work"), output=str(folder / "out"))


def _fails(folder: Path, spec: PreprocessSpec) -> str:
    with pytest.raises(DataError) as caught:
        _run(folder, spec)
    assert not list(folder.rglob("manifest.json"))
    return str(caught.value)


def _table(rows: int = 400, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 10, rows)
    return pa.table(
        {
            "age": pa.array(age, mask=rng.random(rows) < 0.1),
            "size": np.where(np.arange(rows) == 7, np.inf, rng.normal(size=rows)),
            "job": pa.array(rng.choice(["cook", "smith", "tailor"], rows)),
            "same": [1] * rows,
            "y": pa.array(np.where(age > 40, "old", "young")),
        }
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[pa.Table, Dataset]:
    folder = tmp_path_factory.mktemp("made")
    table = _table()
    pq.write_table(table, folder / "a.parquet")
    return table, _run(folder, _spec(folder / "a.parquet"))


def test_documents_of_a_table(made: tuple[pa.Table, Dataset]) -> None:
    _, dataset = made
    assert sum(dataset.rows.values()) == 400
    assert set(dataset.files) == {
        "schema.json", "transform.json", "statistics.json", "golden.json", "report.html", "dead_letters.jsonl",
    }  # fmt: skip
    assert dataset.file("dead_letters.jsonl") == b""
    schema = read_schema(dataset)
    assert [(column.name, column.kind, column.missing) for column in schema.columns] == [
        ("age", "numeric", True),
        ("size", "numeric", False),
        ("job", "categorical", False),
    ]
    assert schema.ignored == {"same": "constant: 1 in every training row"}
    assert schema.label.classes == ("old", "young")
    statistics = dataset.json("statistics.json")
    assert sum(sum(counts.values()) for counts in statistics["label"].values()) == 400
    assert sum(statistics["columns"]["job"]["top"].values()) == dataset.rows["train"]
    report = dataset.file("report.html").decode()
    assert "<svg" in report
    assert "same" in report


def test_moments_are_of_the_training_rows(made: tuple[pa.Table, Dataset]) -> None:
    _, dataset = made
    train = read(dataset, "train")
    age, size, missing = train.inputs["numeric"].T[:3]
    present = age[missing == 0]
    assert present.mean() == pytest.approx(0, abs=1e-6)
    assert present.std() == pytest.approx(1, abs=1e-6)
    assert (age[missing == 1] == 0).all()
    assert np.isfinite(size).all()
    transform = read_transform(dataset)
    assert [column.indicator for column in transform.numeric] == [
        True,
        dataset.json("statistics.json")["columns"]["size"]["non_finite"] > 0,
    ]


def test_bins_and_categories_of_numbers_are_of_the_training_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    few = rng.choice([0.0, 1.5, 7.0, 50.0], 2000, p=[0.9, 0.05, 0.03, 0.02])
    many = rng.lognormal(0, 1, 2000)
    flag = rng.integers(0, 2, 2000).astype(float)
    y = pa.array(np.where(few > 0, "a", "b"))
    pq.write_table(pa.table({"few": few, "many": many, "flag": flag, "y": y}), tmp_path / "a.parquet")
    dataset = _run(tmp_path, _spec(tmp_path / "a.parquet"))
    transform, train = read_transform(dataset), read(dataset, "train")
    by_name = {column.name: column for column in transform.numeric}
    assert by_name["few"].edges == (0.0, 1.5, 7.0, 50.0)
    assert by_name["flag"].edges == (0.0, 1.0)
    edges = np.array(by_name["many"].edges)
    assert len(edges) == 65  # 1,600 training rows would be 100 bins: 64 is the most
    scale = by_name["many"]
    seen = np.sort(train.inputs["numeric"][:, 1].astype(float) * scale.std + scale.mean)
    ranks = np.searchsorted(seen, edges) / len(seen)
    assert ranks == pytest.approx(np.linspace(0, 1, 65), abs=0.02)
    assert [(column.name, column.values) for column in transform.discrete] == [("few", (0.0, 1.5, 7.0, 50.0))]
    assert train.inputs["discrete"].dtype == np.int32
    assert set(np.unique(train.inputs["discrete"])) == {2, 3, 4, 5}
    shares = np.bincount(train.inputs["discrete"][:, 0]) / train.rows
    assert shares[2] == pytest.approx(0.9, abs=0.02)
    statistics = dataset.json("statistics.json")["columns"]
    assert (statistics["few"]["distinct"], statistics["many"]["exact"]) == (4, True)


def test_a_small_table_has_coarse_bins_and_no_categories_of_its_numbers(tmp_path: Path) -> None:
    columns = {"x": np.arange(100.0) % 50, "y": pa.array(["a", "b"] * 50)}  # two rows a value
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    transform = read_transform(_run(tmp_path, _spec(tmp_path / "a.parquet")))
    assert 4 <= len(transform.numeric[0].edges) <= 6  # a bin for 16 of about 80 rows
    assert transform.discrete == ()


def test_splits_read_back_what_apply_gives(made: tuple[pa.Table, Dataset]) -> None:
    table, dataset = made
    transform = read_transform(dataset)
    raw = {
        "age": table["age"].to_numpy(),
        "size": table["size"].to_numpy(),
        "job": table["job"].combine_chunks(),
    }
    expected = apply(transform, raw)
    rows = {bytes(n.tobytes() + c.tobytes()) for n, c in zip(expected["numeric"], expected["categorical"], strict=True)}
    seen = set()
    for split in SPLITS:
        tensors = read(dataset, split)
        assert tensors.rows == dataset.rows[split]
        assert tensors.inputs["numeric"].dtype == np.float32
        assert tensors.labels.dtype == np.int32
        pairs = zip(tensors.inputs["numeric"], tensors.inputs["categorical"], strict=True)
        seen |= {bytes(n.tobytes() + c.tobytes()) for n, c in pairs}  # bit-exact float32
    assert seen == rows


def test_golden_rows_are_test_rows_as_a_client_sends_them(made: tuple[pa.Table, Dataset]) -> None:
    _, dataset = made
    golden = read_golden(dataset)
    assert 1 <= len(golden.rows) <= 32
    tensors = apply(read_transform(dataset), raw_batch(golden.rows, read_schema(dataset)))
    test = read(dataset, "test")
    known = {row.tobytes() for row in test.inputs["numeric"]}
    assert all(row.tobytes() in known for row in tensors["numeric"])


def test_a_second_run_reuses_and_changed_data_does_not(tmp_path: Path) -> None:
    pq.write_table(_table(200), tmp_path / "a.parquet")
    first = _run(tmp_path, _spec(tmp_path / "a.parquet"))
    again = _run(tmp_path, _spec(tmp_path / "a.parquet"))
    assert again.created == first.created
    assert again.digest == first.digest
    elsewhere = step.run(_spec(tmp_path / "a.parquet"), work_dir=str(tmp_path / "work2"), output=str(tmp_path / "out2"))
    assert {s: [shard.sha256 for shard in elsewhere.shards[s]] for s in SPLITS} == {
        s: [shard.sha256 for shard in first.shards[s]] for s in SPLITS
    }
    assert elsewhere.files == first.files  # even the report has the same bytes
    pq.write_table(_table(210), tmp_path / "a.parquet")
    assert sum(_run(tmp_path, _spec(tmp_path / "a.parquet")).rows.values()) == 210


def test_a_changed_shard_is_refused(tmp_path: Path) -> None:
    pq.write_table(_table(200), tmp_path / "a.parquet")
    dataset = _run(tmp_path, _spec(tmp_path / "a.parquet"))
    path = Path(dataset.shards["train"][0].uri)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DocumentError, match="changed since preprocess wrote it"):
        read(dataset, "train")
    path.unlink()
    with pytest.raises(DocumentError, match="missing; run preprocess again"):
        read(dataset, "train")


def test_shards_and_test_file_with_dead_letters(tmp_path: Path) -> None:
    train = "".join(f"{n % 50},{'ab'[n % 2]}\n" for n in range(300))
    (tmp_path / "train-0.csv").write_text("x,y\n" + train)
    (tmp_path / "train-1.csv").write_text("y,x\n" + "a,inf\nb,oops\na,1,2\n" + "b,7\n" * 97)
    (tmp_path / "test.csv").write_text("x,y\n" + "1,a\n2,b\n3,c\n" * 10)
    spec = _spec(tmp_path / "train-*.csv", test=str(tmp_path / "test.csv"), max_bad_fraction=0.05)
    dataset = _run(tmp_path, spec)
    assert dataset.rows["dead"] == 12
    assert dataset.rows["test"] == 20
    assert sum(dataset.rows.values()) == 300 + 100 + 30
    letters = [json.loads(line) for line in dataset.file("dead_letters.jsonl").splitlines()]
    assert [(Path(x["file"]).name, x["row"], x["reason"]) for x in letters[:2]] == [
        ("test.csv", 3, "label is no class of the training data"),
        ("test.csv", 6, "label is no class of the training data"),
    ]
    assert [(x["row"], x["column"], x["value"]) for x in letters if x["file"].endswith("train-1.csv")] == [
        (2, "x", "oops"),
        (3, "", "a,1,2"),
    ]
    findings = dataset.json("statistics.json")["findings"]
    assert any("12 rows could not be used" in finding for finding in findings)
    assert any("rows of the test file are in the training file, too" in finding for finding in findings)


def test_regression(tmp_path: Path) -> None:
    dataset = _run(tmp_path, _spec("sample:diabetes", "tabular_regression", "target"))
    assert sum(dataset.rows.values()) == 442
    train = read(dataset, "train")
    label = read_transform(dataset).label
    assert train.labels.dtype == np.float64
    assert label.mean == pytest.approx(train.labels.mean(), rel=1e-12)
    assert label.std == pytest.approx(train.labels.std(), rel=1e-12)
    assert read_schema(dataset).label.classes is None
    assert all(isinstance(answer, float) for answer in read_golden(dataset).labels)


def test_digits_as_images(tmp_path: Path) -> None:
    dataset = _run(tmp_path, _spec("sample:digits", "image_classification", "target"))
    train = read(dataset, "train")
    assert train.inputs["image"].shape == (dataset.rows["train"], 8, 8, 1)
    image = read_transform(dataset).image
    assert image is not None
    assert image.mean[0] == pytest.approx(train.inputs["image"].mean(), rel=1e-12)
    assert image.std[0] == pytest.approx(train.inputs["image"].std(), rel=1e-12)
    schema = read_schema(dataset)
    assert schema.label.classes == tuple("0123456789")
    golden = read_golden(dataset)
    assert len(golden.rows) == 32
    pixels = apply(read_transform(dataset), raw_batch(golden.rows, schema))["image"]
    known = {
        row.tobytes(): int(y)
        for row, y in zip(*(read(dataset, "test").inputs["image"], read(dataset, "test").labels), strict=True)
    }
    assert [str(known[row.tobytes()]) for row in pixels] == golden.labels


def _image_folder(root: Path, damaged: int = 0) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(60):
        name = "cat" if number % 2 else "dog"
        pixels = rng.integers(0, 128, (12, 10, 3), dtype=np.uint8) + (64 if number % 2 else 0)
        buffer = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
        path = root / name / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue() if number >= damaged else buffer.getvalue()[:80])


def test_image_folder_with_a_corrupt_file(tmp_path: Path) -> None:
    _image_folder(tmp_path / "pets", damaged=1)
    data = {"image_size": 8, "max_bad_fraction": 0.05, "split": {"validation": 0.2, "test": 0.2}}
    dataset = _run(tmp_path, _spec(tmp_path / "pets", "image_classification", **data))
    assert dataset.rows["dead"] == 1
    letter = json.loads(dataset.file("dead_letters.jsonl"))
    assert letter["file"] == str(tmp_path / "pets/dog/00.png")
    assert letter["reason"] == "not a readable image"
    schema = read_schema(dataset)
    assert schema.image is not None
    assert schema.image.model_dump() == {"height": 8, "width": 8, "channels": 3, "encoding": "bytes"}
    golden = read_golden(dataset)
    assert base64.b64decode(golden.rows[0]["image"]["b64"]).startswith(b"\x89PNG")
    pixels = apply(read_transform(dataset), raw_batch(golden.rows, schema))["image"]
    test = {row.tobytes() for row in read(dataset, "test").inputs["image"]}
    assert all(row.tobytes() in test for row in pixels)


def test_arrays_can_be_resized(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (100, 6, 6), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x=images, y=np.arange(100) % 2)
    dataset = _run(tmp_path, _spec(tmp_path / "a.npz", "image_classification", image_size=4))
    assert read(dataset, "train").inputs["image"].shape[1:] == (4, 4, 1)
    schema, transform = read_schema(dataset), read_transform(dataset)
    assert schema.image is not None
    assert (schema.image.height, schema.image.encoding) == (6, "array")  # raw rows keep the source's size
    golden = read_golden(dataset)
    assert apply(transform, raw_batch(golden.rows, schema))["image"].shape == (len(golden.rows), 4, 4, 1)


def test_too_many_bad_rows(tmp_path: Path) -> None:
    good = "".join(f"{n},{'ab'[n % 2]}\n" for n in range(300))
    (tmp_path / "a.csv").write_text("x,y\n" + good + "oops,a\n1,\n2,?\n")
    message = _fails(tmp_path, _spec(tmp_path / "a.csv"))
    assert "3 of 303 rows (0.99%) cannot be used" in message
    assert "2 × label is missing; 1 × not a number" in message
    assert "a.csv row 301 column 'x': 'oops'" in message or "row 302" in message
    assert "raise data.max_bad_fraction" in message
    (letters,) = tmp_path.rglob("dead_letters.jsonl")
    assert str(letters) in message
    assert len(letters.read_text().splitlines()) == 3


def test_one_class(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{n},a\n" for n in range(100)))
    assert "'y' has only the class 'a' in all rows" in _fails(tmp_path, _spec(tmp_path / "a.csv"))


def test_a_continuous_label_is_no_class(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{n % 9},{n + 0.5}\n" for n in range(1200)))
    message = _fails(tmp_path, _spec(tmp_path / "a.csv"))
    assert "1,200 different values such as" in message
    assert "tabular_regression" in message


def test_empty_split(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{n},{'ab'[n % 2]}\n" for n in range(6)))
    message = _fails(tmp_path, _spec(tmp_path / "a.csv", split={"validation": 0.01, "test": 0.01}))
    assert "no row fell into validation (data.split.validation is 0.01)" in message
    assert "Raise data.split.validation" in message
    assert "salt" in message
    message = _fails(tmp_path, _spec("sample:iris", label="target", split={"validation": 0.2, "test": 0.0}))
    assert "data.split.test is 0 and data.test names no file" in message


def test_a_shard_damaged_inside_is_named(tmp_path: Path) -> None:
    pq.write_table(_table(3000), tmp_path / "a.parquet", compression="none", use_dictionary=False)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[4:400] = b"\xff" * 396  # the first page's header; the footer stays whole
    (tmp_path / "a.parquet").write_bytes(bytes(data))
    message = _fails(tmp_path, _spec(tmp_path / "a.parquet"))
    assert "a.parquet: not a readable Parquet file" in message


def test_the_spec_ignores_other_sections() -> None:
    base = {"task": "tabular_classification", "data": {"train": "sample:iris", "label": "target"}}
    one = PreprocessSpec.of(ExperimentSpec.model_validate(base))
    two = PreprocessSpec.of(ExperimentSpec.model_validate(base | {"seed": 7, "deploy": {"timeout_seconds": 30}}))
    assert one == two


def test_the_test_rows_are_kept_as_they_came(made: tuple[pa.Table, Dataset]) -> None:
    _, dataset = made
    raw, test = read_raw_test(dataset), read(dataset, "test")
    assert raw is not None
    assert set(raw) == {"age", "size", "job", "same"}  # what another model may look at, useless here or not
    for name, tensor in apply(read_transform(dataset), raw).items():
        np.testing.assert_array_equal(tensor, test.inputs[name])  # the same rows in the same order
    assert sum(shard.rows for shard in dataset.raw_test) == dataset.rows["test"]


def test_weighty_findings_are_said_while_it_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A copy of the label among the features spoils all that follows; the report is made at the end only."""
    path = tmp_path / "leak.csv"
    path.write_text("x,copy,y\n" + "".join(f"{row},{'ab'[row % 2]},{'ab'[row % 2]}\n" for row in range(200)))
    data = {"train": str(path), "label": "y"}
    spec = PreprocessSpec.model_validate({"task": "tabular_classification", "data": data})
    with caplog.at_level("INFO", logger="nasflow.preprocess.step"):
        step.run(spec, work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))
    (said,) = [record.message for record in caplog.records if "serious" in record.message]
    assert "'copy'" in said
    assert said.endswith("Proposed: data.optimise.drop_leaks: true")
