"""Small Datasets, written by hand as preprocess writes them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nasflow.core.artifacts import Dataset, Shard
from nasflow.core.storage import sha256_of
from nasflow.data.schema import Column, ImageFormat, Label, Schema
from nasflow.data.transform import ImageTransform, LabelTransform, NumericTransform, TransformSpec


def publish(folder: Path, *, task, columns, image, transform, tables) -> Dataset:
    classes = transform.label.classes
    schema = Schema(
        task=task,
        columns=columns,
        ignored={},
        image=image,
        label=Label(name="target", dtype="string" if classes else "double", classes=classes),
    )
    shards = {}
    for split, table in tables.items():
        path = folder / f"{split}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        digest, size = sha256_of(str(path))
        shards[split] = (Shard(uri=str(path), size=size, sha256=digest, rows=table.num_rows),)
    rows = {split: table.num_rows for split, table in tables.items()} | {"dead": 0}
    files = {
        "schema.json": schema.model_dump_json().encode(),
        "transform.json": transform.model_dump_json().encode(),
        "statistics.json": json.dumps({}).encode(),
    }
    return Dataset(task=task, rows=rows, shards=shards).publish(str(folder / "document"), files)


def make_table(folder: Path, *, rows=360, classes=3) -> Dataset:
    """Three Gaussian blobs in four columns; classes None: a linear target."""
    rng = np.random.default_rng(0)
    ids = rng.integers(3, size=rows)
    centres = np.array([[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]])
    numeric = (centres[ids] + rng.normal(size=(rows, 4))).astype(np.float32)
    target = numeric @ np.array([1.0, 2.0, -1.0, 0.5]) + 10
    labels = pa.array(ids.astype(np.int32)) if classes else pa.array(target.astype(np.float64))
    table = pa.table({f"numeric/c{i}": numeric[:, i] for i in range(4)} | {"label": labels})
    third = rows // 3
    transform = TransformSpec(
        numeric=tuple(NumericTransform(name=f"c{i}", mean=0.0, std=1.0, indicator=False) for i in range(4)),
        label=LabelTransform(name="target", classes=("a", "b", "c") if classes else None, mean=10.0, std=2.5),
    )
    return publish(
        folder,
        task="tabular_classification" if classes else "tabular_regression",
        columns=tuple(Column(name=f"c{i}", kind="numeric", dtype="double", missing=False, reason="") for i in range(4)),
        image=None,
        transform=transform,
        tables={"train": table[third:], "validation": table[:third], "test": table[:third]},
    )


def make_digits(folder: Path) -> Dataset:
    """scikit-learn's digits: 1,797 images of 8 × 8."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images * 15).astype(np.uint8)
    column = pa.array([image.tobytes() for image in images], type=pa.binary(64))
    table = pa.table({"image": column, "label": pa.array(digits.target.astype(np.int32))})
    table = table.take(np.random.default_rng(0).permutation(len(table)))
    transform = TransformSpec(
        image=ImageTransform(name="image", height=8, width=8, channels=1, mean=(73.0,), std=(90.0,)),
        label=LabelTransform(name="target", classes=tuple("0123456789")),
    )
    return publish(
        folder,
        task="image_classification",
        columns=(Column(name="image", kind="image", dtype="list<uint8>", missing=False, reason=""),),
        image=ImageFormat(height=8, width=8, channels=1, encoding="array"),
        transform=transform,
        tables={"train": table[600:], "validation": table[300:600], "test": table[:300]},
    )


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> Dataset:
    return make_table(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="session")
def regression_table(tmp_path_factory) -> Dataset:
    return make_table(tmp_path_factory.mktemp("regression"), classes=None)
