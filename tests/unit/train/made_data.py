"""Small Datasets and Searches, made by hand: what `train` and `evaluate` need, without running the steps before."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nasflow.core.artifacts import SPLITS, Candidate, Dataset, External, Search, Shard, Trials
from nasflow.data.apply import apply, encode_labels
from nasflow.data.golden import Golden
from nasflow.data.parquet_shards import columns
from nasflow.data.schema import Column, ImageFormat, Label, Schema
from nasflow.data.transform import (
    CategoricalTransform,
    DiscreteTransform,
    ImageTransform,
    LabelTransform,
    NumericTransform,
    TransformSpec,
)
from nasflow.spaces.cost import cost
from nasflow.spaces.registry import get_space

CLASSES = ("no", "perhaps", "yes")


def _column(name, kind, dtype="double"):
    return Column(name=name, kind=kind, dtype=dtype, missing=kind == "numeric", reason="made for a test")


def table_rows(rows, seed=0):
    """Raw columns with awkward names, and both kinds of label."""
    rng = np.random.default_rng(seed)
    numbers = np.round(rng.normal(5, 3, rows))
    numbers[rng.random(rows) < 0.05] = np.nan
    others = rng.normal(0, 1, rows)
    colours = np.empty(rows, object)
    colours[:] = rng.choice(["red", "green", "größe", ""], rows)
    signal = np.nan_to_num(numbers - 5) / 3 + others + 1.5 * (colours == "red")
    target = 1000 + 20 * signal + rng.normal(0, 5, rows)
    classes = np.empty(rows, object)
    classes[:] = np.asarray(CLASSES)[np.digitize(signal, [-0.3, 0.9])]
    return {"capital gain": numbers, "1st": others, "native-country": colours}, classes, target


def table(regression=False):
    label = Label(name="y", dtype="string", classes=None if regression else CLASSES)
    schema = Schema(
        task="tabular_regression" if regression else "tabular_classification",
        columns=(
            _column("capital gain", "numeric"),
            _column("native-country", "categorical", "string"),
            _column("1st", "numeric"),
        ),
        ignored={},
        image=None,
        label=label,
    )
    scale = {"mean": 1010.0, "std": 30.0} if regression else {}
    transform = TransformSpec(
        numeric=(
            NumericTransform(name="capital gain", mean=5.0, std=3.0, indicator=True, edges=(-3.0, 2.0, 5.0, 8.0, 13.0)),
            NumericTransform(name="1st", mean=0.0, std=1.0, indicator=False, edges=(-2.0, -0.3, 0.4, 2.0)),
        ),
        discrete=(DiscreteTransform(name="capital gain", values=tuple(map(float, range(-2, 13)))),),
        categorical=(CategoricalTransform(name="native-country", vocabulary=("red", "green", "größe")),),
        label=LabelTransform(name="y", classes=label.classes, **scale),
    )
    return schema, transform


def images(side=8, channels=1, encoding="array"):
    schema = Schema(
        task="image_classification",
        columns=(_column("image", "image", "image"),),
        ignored={},
        image=ImageFormat(height=side, width=side, channels=channels, encoding=encoding),
        label=Label(name="y", dtype="string", classes=CLASSES),
    )
    spec = ImageTransform(
        name="image", height=side, width=side, channels=channels, mean=(90.0,) * channels, std=(60.0,) * channels
    )
    return schema, TransformSpec(image=spec, label=LabelTransform(name="y", classes=CLASSES))


def image_rows(rows, side=8, channels=1, seed=0):
    """The class is which third of the image is bright."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 3, rows)
    pixels = rng.integers(0, 120, (rows, side, side, channels)).astype(np.uint8)
    for row, k in enumerate(ids):
        pixels[row, :, k * side // 3 : (k + 1) * side // 3] += 100
    return {"image": pixels}, np.asarray(CLASSES, object)[ids]


def golden_rows(raw, count=12):
    def cell(value):
        if isinstance(value, bytes):
            import base64

            return {"b64": base64.b64encode(value).decode()}
        if isinstance(value, np.ndarray):
            return value.tolist()
        if isinstance(value, str):
            return value or None
        return float(value) if np.isfinite(value) else None

    return [{name: cell(values[row]) for name, values in raw.items()} for row in range(count)]


def _shard(transform, tensors, labels, folder, split):
    arrays = {}
    for tensor, names in columns(transform).items():
        for place, name in enumerate(names):
            values = tensors[tensor]
            if tensor == "image":
                size = int(np.prod(values.shape[1:]))
                arrays[name] = pa.array([row.tobytes() for row in values], pa.binary(size))
            else:
                arrays[name] = pa.array(values[:, place])
    arrays["label"] = pa.array(labels)
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays), buffer)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{split}.parquet"
    path.write_bytes(buffer.getvalue())
    return Shard(**External.of(str(path)).model_dump(), rows=len(labels))


def _raw_shard(raw, folder):
    """The test rows as preprocess keeps them; images are in their shards already."""
    if "image" in raw:
        return ()
    path = folder / "raw_test.parquet"
    pq.write_table(pa.table({name: pa.array(values) for name, values in raw.items()}), path)
    return (Shard(**External.of(str(path)).model_dump(), rows=len(next(iter(raw.values())))),)


def publish(folder, schema, transform, raw, labels, sizes=(240, 60, 80)):
    """A Dataset at `folder`/dataset; `sizes`: rows of train, validation, test."""
    shards, start, golden, raw_test = {}, 0, None, ()
    for split, size in zip(SPLITS, sizes, strict=True):
        part = {name: values[start : start + size] for name, values in raw.items()}
        tensors, ids = apply(transform, part), encode_labels(transform.label, labels[start : start + size])
        shards[split] = (_shard(transform, tensors, ids, folder / "shards", split),)
        if split == "test":
            golden = Golden(rows=golden_rows(part), labels=list(labels[start : start + 12]))
            raw_test = _raw_shard(part, folder / "shards")
        start += size
    files = {
        "schema.json": schema.model_dump_json().encode(),
        "transform.json": transform.model_dump_json().encode(),
        "golden.json": golden.model_dump_json().encode(),
    }
    rows = {**dict(zip(SPLITS, sizes, strict=True)), "dead": 0}
    return Dataset(task=schema.task, rows=rows, shards=shards, raw_test=raw_test).publish(
        str(folder / "dataset"), files
    )


def dataset(folder, kind="table", sizes=(240, 60, 80)):
    """`kind`: table, regression, images."""
    if kind == "images":
        schema, transform = images()
        raw, labels = image_rows(sum(sizes))
    else:
        schema, transform = table(regression=kind == "regression")
        raw, classes, target = table_rows(sum(sizes))
        labels = target if kind == "regression" else classes
    return publish(folder, schema, transform, raw, labels, sizes)


def small_architectures(schema, transform, count=1):
    """The cheapest few of a hundred random points of the real space."""
    space = get_space("auto", task=schema.task, inputs=transform.inputs, output=transform.output)
    from nasflow.spaces.parameters import sample

    rng = np.random.default_rng(0)
    found = {}
    for _ in range(100):
        values = sample(space.parameters(), rng)
        architecture = space.architecture(values)
        size = cost(architecture, transform.inputs, transform.output)
        found[architecture.identity] = (values, architecture, size)
    ranked = sorted(found.items(), key=lambda item: item[1][2].flops + 50 * item[1][2].depth)
    return ranked[:count]


def search(folder, data, count=1):
    """A Search with `count` candidates."""
    from nasflow.data.reader import read_schema, read_transform

    picked = small_architectures(read_schema(data), read_transform(data), count)
    candidates = tuple(
        Candidate(
            trial_id=f"{place:04d}",
            architecture_id=identity,
            values=values,
            parameters=size.parameters,
            flops=size.flops,
            score=0.5,
            epochs=2,
        )
        for place, (identity, (values, _, size)) in enumerate(picked)
    )
    architectures = {identity: architecture.to_json() for identity, (_, architecture, _) in picked}
    return Search(
        strategy="random",
        space="auto",
        objective="accuracy",
        epochs=10,
        trials=Trials(completed=count, failed=0, infeasible=0),
        candidates=candidates,
        stopped_by="trials",
    ).publish(str(folder / "search"), {"architectures.json": json.dumps(architectures).encode()})
