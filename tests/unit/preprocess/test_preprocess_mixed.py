"""A table with an image, a text, numbers and categories: all kinds through preprocess, a model, the SavedModel and the
server's rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from PIL import Image

from nasflow.core.artifacts import Dataset
from nasflow.core.errors import DataError
from nasflow.core.spec import ExperimentSpec
from nasflow.data.golden import read_golden
from nasflow.data.reader import read, read_schema, read_transform
from nasflow.preprocess import step
from nasflow.preprocess.spec import PreprocessSpec

ROWS = 120


def table(folder: Path) -> dict[str, list[Any]]:
    """The class is the picture's brightness; text and numbers are noise. One picture is missing, one is no picture."""
    rng = np.random.default_rng(0)
    (folder / "img").mkdir()
    label = rng.choice(["dark", "light"], ROWS).tolist()
    for row, name in enumerate(label):
        low = 0 if name == "dark" else 150
        Image.fromarray(rng.integers(low, low + 100, (10, 12), dtype=np.uint8)).save(folder / "img" / f"{row}.png")
    (folder / "img" / "3.png").unlink()
    (folder / "img" / "4.png").write_bytes(b"no picture")
    return {
        "image_uri": [f"img/{row}.png" for row in range(ROWS)],
        "title": [" ".join(f"w{word}" for word in rng.integers(0, 50, 6)) for _ in range(ROWS)],
        "price": rng.normal(10, 3, ROWS).tolist(),
        "shop": rng.choice(["a", "b", "c"], ROWS).tolist(),
        "y": label,
    }


def run(folder: Path, **data: Any) -> Dataset:
    content = {"train": str(folder / "train.csv"), "label": "y", "image": "image_uri", "image_size": 8}
    content |= {"split": {"validation": 0.2, "test": 0.2}, "max_bad_fraction": 0.1, **data}
    spec = PreprocessSpec.of(ExperimentSpec.model_validate({"task": "tabular_classification", "data": content}))
    return step.run(spec, work_dir=str(folder / "work"), output=str(folder / "dataset"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("mixed")
    pacsv.write_csv(pa.table(table(folder)), folder / "train.csv")
    return run(folder)


def test_all_kinds_are_there(dataset: Dataset) -> None:
    schema, transform = read_schema(dataset), read_transform(dataset)
    kinds = {column.name: column.kind for column in schema.columns}
    assert kinds == {"image": "image", "title": "text", "price": "numeric", "shop": "categorical"}
    assert schema.ignored == {}
    assert dataset.rows["dead"] == 2
    tensors = read(dataset, "train")
    assert set(tensors.inputs) == {"image", "text_0", "numeric", "categorical"}
    assert tensors.inputs["image"].shape[1:] == (8, 8, 1)
    inputs = transform.inputs
    assert (inputs.image, len(inputs.texts), inputs.numeric, len(inputs.cardinalities)) == ((8, 8, 1), 1, 1, 1)
    light = transform.label.classes.index("light")
    assert ((tensors.inputs["image"].mean(axis=(1, 2, 3)) > 120) == (tensors.labels == light)).all()


def test_dead_letters_name_the_picture(dataset: Dataset) -> None:
    import json

    letters = [json.loads(line) for line in dataset.file("dead_letters.jsonl").splitlines()]
    assert [(letter["row"], letter["column"]) for letter in letters] == [(4, "image_uri"), (5, "image")]


def test_the_report_shows_all_of_it(dataset: Dataset) -> None:
    html = dataset.file("report.html").decode()
    assert all(title in html for title in ("Features", "Text: title", "Images"))


def test_a_multimodal_model_serves_raw_rows(dataset: Dataset, tmp_path: Path) -> None:
    from nasflow.data.raw import raw_batch
    from nasflow.models.build import build
    from nasflow.models.export import export
    from nasflow.models.saved import SavedModel
    from nasflow.serving.rows import raw_from_instances
    from nasflow.spaces.registry import get_space

    schema, transform = read_schema(dataset), read_transform(dataset)
    inputs, output = transform.inputs, transform.output
    space = get_space("auto", task="tabular_classification", inputs=inputs, output=output)
    assert space.name == "multimodal"
    golden = read_golden(dataset)
    assert set(golden.rows[0]) == {"image", "title", "price", "shop"}
    model = build(space.architecture(space.presets()[2]), inputs, output, seed=1)
    export(model, tmp_path / "bundle", schema=schema, transform=transform, golden=golden)  # asserts parity
    raw = raw_from_instances({"instances": golden.rows}, schema, max_rows=100)
    served = SavedModel(tmp_path / "bundle").predict(raw)
    np.testing.assert_allclose(served, SavedModel(tmp_path / "bundle").predict(raw_batch(golden.rows, schema)))


def test_the_same_pictures_with_other_texts_are_other_rows(tmp_path: Path) -> None:
    content = table(tmp_path)
    content["image_uri"] = ["img/0.png"] * ROWS
    pacsv.write_csv(pa.table(content), tmp_path / "train.csv")
    found = run(tmp_path)
    assert found.json("statistics.json")["duplicates"]["train_source"] == 0
    assert min(found.rows[split] for split in ("train", "validation", "test")) > 5


def test_another_column_must_not_be_called_image(tmp_path: Path) -> None:
    content = table(tmp_path)
    content["image"] = content.pop("shop")
    pacsv.write_csv(pa.table(content), tmp_path / "train.csv")
    with pytest.raises(DataError, match="column 'image' is not the image"):
        run(tmp_path)
