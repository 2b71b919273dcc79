"""`data.image`: tables that list images by path, or hold their bytes."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError
from tests.unit.preprocess.test_preprocess_records import example, framed

from nasflow.core.artifacts import SPLITS, Dataset
from nasflow.core.errors import DataError
from nasflow.core.spec import DataSection, ExperimentSpec
from nasflow.data.reader import read, read_schema
from nasflow.preprocess import step
from nasflow.preprocess.header import check
from nasflow.preprocess.sources.find import find
from nasflow.preprocess.spec import PreprocessSpec

ROWS = 60


def _png(value: int, mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (4, 4), value if mode == "L" else (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def _spec(train: Path, **data: object) -> PreprocessSpec:
    base = {"train": str(train), "label": "y", "image": "photo", "image_size": 4}
    return PreprocessSpec.model_validate({"task": "image_classification", "data": base | data})


def _run(folder: Path, train: Path, **data: object) -> Dataset:
    return step.run(_spec(train, **data), work_dir=str(folder / "work"), output=str(folder / "out"))


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Paths from the table's folder: two a shade, so that exact duplicates are there."""
    (tmp_path / "images").mkdir()
    for row in range(ROWS):
        (tmp_path / f"images/{row}.png").write_bytes(_png(row // 2))
    return [f"images/{row}.png" for row in range(ROWS)]


def _labels() -> list[str]:
    return ["dark" if row < ROWS // 2 else "bright" for row in range(ROWS)]


def _content(dataset: Dataset) -> dict[str, list[tuple[bytes, int]]]:
    tensors = {split: read(dataset, split) for split in SPLITS}
    return {
        split: [(image.tobytes(), label) for image, label in zip(t.inputs["image"], t.labels.tolist(), strict=True)]
        for split, t in tensors.items()
    }


def test_paths_and_bytes_in_every_form_give_the_same_shards(tmp_path: Path, pictures: list[str]) -> None:
    labels, data = _labels(), [(tmp_path / path).read_bytes() for path in pictures]
    absolute = [str(tmp_path / path) for path in pictures]
    (tmp_path / "a.csv").write_text(
        "photo,y\n" + "".join(f" {p} , {y}\n" for p, y in zip(pictures, labels, strict=True))
    )
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"photo": p, "y": y}) for p, y in zip(absolute, labels, strict=True))
    )
    pq.write_table(pa.table({"photo": pa.array(pictures).dictionary_encode(), "y": labels}), tmp_path / "paths.parquet")
    pq.write_table(pa.table({"photo": pa.array(data), "y": labels}), tmp_path / "bytes.parquet")
    faces = [{"bytes": one, "path": None} for one in data]
    pq.write_table(pa.table({"photo": faces, "y": labels}), tmp_path / "struct.parquet")
    (tmp_path / "a.tfrecord").write_bytes(
        b"".join(framed(example({"photo": one, "y": y})) for one, y in zip(data, labels, strict=True))
    )
    found = []
    for name in ("a.csv", "a.jsonl", "paths.parquet", "bytes.parquet", "struct.parquet", "a.tfrecord"):
        dataset = _run(tmp_path / f"of-{name}", tmp_path / name)
        assert dataset.rows["dead"] == 0
        assert sum(dataset.rows.values()) == ROWS
        assert read_schema(dataset).label.classes == ("bright", "dark")
        found.append(_content(dataset))
    assert all(one == found[0] for one in found)


def test_an_image_that_is_not_there_is_a_dead_letter(tmp_path: Path, pictures: list[str]) -> None:
    (tmp_path / "images/5.png").unlink()
    (tmp_path / "images/6.png").write_bytes(b"not an image")
    pictures[7], pictures[8] = "", "https://example.com/a.png"
    table = pa.table({"photo": pictures, "y": _labels(), "note": ["x"] * ROWS})
    pq.write_table(table, tmp_path / "a.parquet")
    dataset = _run(tmp_path, tmp_path / "a.parquet", max_bad_fraction=0.1)
    letters = [json.loads(line) for line in dataset.file("dead_letters.jsonl").decode().splitlines()]
    assert [(x["row"], x["column"], x["value"], x["reason"]) for x in letters] == [
        (6, "photo", "images/5.png", "no such image file"),
        (7, "image", letters[1]["value"], "not a readable image"),
        (8, "photo", "", "image path is missing"),
        (9, "photo", "https://example.com/a.png", "images are read from paths and gs://, not from other addresses"),
    ]
    assert sum(dataset.rows.values()) == ROWS
    assert read_schema(dataset).ignored == {"note": "the model sees the image only"}
    (tmp_path / "images/5.png").write_bytes(_png(2))  # the picture comes: the step runs again
    again = _run(tmp_path, tmp_path / "a.parquet", max_bad_fraction=0.1)
    assert again.rows["dead"] == 3


def test_a_batch_of_dead_letters_only(tmp_path: Path, pictures: list[str]) -> None:
    pq.write_table(pa.table({"photo": ["gone.png"], "y": ["dark"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"photo": pictures, "y": _labels()}), tmp_path / "2.parquet")
    dataset = _run(tmp_path, tmp_path / "*.parquet", max_bad_fraction=0.1)
    assert dataset.rows["dead"] == 1


def test_patients_stay_together(tmp_path: Path) -> None:
    patients = [f"p{row // 6}" for row in range(ROWS)]
    table = pa.table({"photo": [_png(row) for row in range(ROWS)], "y": ["a", "b"] * (ROWS // 2), "who": patients})
    pq.write_table(table, tmp_path / "a.parquet")
    split = {"by": "group", "key": "who", "validation": 0.3, "test": 0.3}
    dataset = _run(tmp_path, tmp_path / "a.parquet", split=split)
    assert all(rows % 6 == 0 for rows in dataset.rows.values())
    assert read_schema(dataset).ignored.keys() == {"who"}


def test_colour_is_seen(tmp_path: Path) -> None:
    images = [_png(row, "RGB" if row == 3 else "L") for row in range(ROWS)]
    pq.write_table(pa.table({"photo": images, "y": _labels()}), tmp_path / "a.parquet")
    sources = find(_spec(tmp_path / "a.parquet").data, "image_classification")
    assert [source.shape().channels for source in sources.images()] == [3]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"image": "foto"}, r"data\.image: .*a\.parquet has no column 'foto'; did you mean 'photo'"),
        ({"label": "z"}, r"data\.label: .*a\.parquet has no column 'z'"),
        ({"image": "n"}, r"data\.image: column 'n' of .* holds int64; name a column of paths"),
        ({"image": None}, r"name the column of image paths in data\.image"),
        ({"split": {"by": "group", "key": "who"}}, r"data\.split\.key: .* has no column 'who'"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, data: dict[str, object], message: str) -> None:
    pq.write_table(pa.table({"photo": ["a.png"], "y": ["a"], "n": [1]}), tmp_path / "a.parquet")
    (problem,) = check(_spec(tmp_path / "a.parquet", **data).data, "image_classification")
    with pytest.raises(DataError, match=message):
        raise DataError(problem)


def test_sources_without_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 4, 4), np.uint8), y=np.array([0, 1]))
    (problem,) = check(_spec(tmp_path / "a.npz").data, "image_classification")
    assert "is npz, which has no columns; remove data.image" in problem
    (tmp_path / "cats/cat").mkdir(parents=True)
    (tmp_path / "cats/cat/1.png").write_bytes(_png(1))
    (problem,) = check(_spec(tmp_path / "cats").data, "image_classification")
    assert "holds no table" in problem


def test_a_table_may_have_an_image_and_images_no_text() -> None:
    data = DataSection(train="a.csv", label="y", image="photo")
    assert ExperimentSpec.model_validate({"task": "tabular_classification", "data": data}).data.image == "photo"
    data = DataSection(train="a.csv", label="y", image="photo", text="title")
    with pytest.raises(ValidationError, match=r"data\.text: 'title' is no image"):
        ExperimentSpec.model_validate({"task": "image_classification", "data": data})


def test_images_count_by_a_column_of_their_table(tmp_path: Path, pictures: list[str]) -> None:
    lines = [f"{path},{y},{row // 2 + 0.5}" for row, (path, y) in enumerate(zip(pictures, _labels(), strict=True))]
    (tmp_path / "a.csv").write_text("photo,y,w\n" + "\n".join(lines))
    dataset = _run(tmp_path, tmp_path / "a.csv", weight="w")
    for split in SPLITS:
        found = read(dataset, split)
        assert found.weights is not None
        assert found.weights.tolist() == [shade + 0.5 for shade in found.inputs["image"][:, 0, 0, 0].tolist()]
    with pytest.raises(DataError, match=r"data\.weight: .* has no column 'v'; its columns: \['photo', 'y', 'w'\]"):
        _run(tmp_path, tmp_path / "a.csv", weight="v")
    with pytest.raises(DataError, match=r"data\.columns: 'w' is for a table; the model sees the image only"):
        _run(tmp_path, tmp_path / "a.csv", columns={"w": {"scaling": "log"}})
