"""The version in production, judged on the candidate's test rows.

The champion's own bundle answers: raw features in, as it is served. Nothing of it is trained or transformed anew.
"""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.artifacts import Dataset
from nasflow.core.errors import DocumentError
from nasflow.data.raw_test import read_raw_test
from nasflow.data.schema import Kind, Schema
from nasflow.data.tensors import Tensors
from nasflow.registry._base import Registry, Version
from nasflow.registry.open import CHAMPION
from nasflow.serving.bundle import Bundle

logger = logging.getLogger(__name__)

Array = NDArray[Any]
_BATCH = 2048


class IncomparableError(Exception):
    """The champion cannot answer these rows; the message says why, as part of a sentence."""


def champion_to_beat(registry: Registry, name: str, bundle_digest: str) -> Version | None:
    """The champion; where that is this very bundle (the step is run again), the one before it. None: there is none.

    A promotion must not change what the promoted model was judged against, or running a finished pipeline again would
    judge it anew.
    """
    champion = registry.aliases(name).get(CHAMPION)
    if champion is None:
        return None
    version = registry.get(name, version=champion)
    if version.bundle_digest != bundle_digest:
        return version
    moves = [move for move in registry.history(name) if move.alias == CHAMPION and move.to_version == champion]
    before = next((move.from_version for move in moves if move.kind == "promote"), None)
    return None if before is None else registry.get(name, version=before)


def predictions(version: Version, dataset: Dataset, schema: Schema, test: Tensors) -> Array:
    """What the champion says of the test rows: probabilities float64 [rows, classes] in the Dataset's class order, or
    targets float64 [rows].

    Raises:
        IncomparableError: another task, column, kind or class, or the raw rows are not there.
    """
    try:
        bundle = Bundle.load(version.bundle_uri, version.files, digest=version.bundle_digest)
    except DocumentError as error:
        raise IncomparableError(f"its bundle cannot be loaded ({error})") from error
    columns = _matched_columns(bundle.schema, schema)
    places = _class_places(bundle.schema, schema)
    if bundle.schema.image is not None and len(bundle.schema.columns) > 1:
        raise IncomparableError("it looks at images and other columns together, whose raw test rows are not kept")
    raw = _images(bundle.schema, test) if bundle.schema.image is not None else _table(columns, dataset, test.rows)
    parts = [
        np.asarray(bundle.predict({name: values[start : start + _BATCH] for name, values in raw.items()}), np.float64)
        for start in range(0, test.rows, _BATCH)
    ]
    answers = np.concatenate(parts)
    if places is None:
        return answers
    ordered = np.zeros((test.rows, len(schema.label.classes or ())))
    ordered[:, places] = answers
    return ordered


def _matched_columns(champion: Schema, schema: Schema) -> list[str]:
    if champion.task != schema.task:
        raise IncomparableError(f"it is for task {champion.task}, this data for {schema.task}")
    if champion.label.name != schema.label.name and schema.image is None:
        raise IncomparableError(f"it predicts {champion.label.name!r}, this model {schema.label.name!r}")
    kinds = {column.name: column.kind for column in schema.columns}
    for column in champion.columns:
        if _alike(kinds.get(column.name, column.kind)) != _alike(column.kind):
            raise IncomparableError(
                f"column {column.name!r} is {column.kind} for it and {kinds[column.name]} in this data"
            )
    return [column.name for column in champion.columns]


def _alike(kind: Kind) -> Kind:
    """Kinds whose raw values are the same."""
    return {"integer": "numeric", "boolean": "categorical"}.get(kind, kind)  # type: ignore[return-value]  # both are


def _class_places(champion: Schema, schema: Schema) -> list[int] | None:
    """Where the champion's classes are among the Dataset's. A class that it never saw has probability 0."""
    if champion.label.classes is None or schema.label.classes is None:
        return None
    known = {name: place for place, name in enumerate(schema.label.classes)}
    if gone := [name for name in champion.label.classes if name not in known]:
        raise IncomparableError(f"it knows the class {gone[0]!r}, which this data lacks")
    return [known[name] for name in champion.label.classes]


def _table(columns: list[str], dataset: Dataset, rows: int) -> Mapping[str, Array]:
    raw = read_raw_test(dataset)
    if raw is None:
        raise IncomparableError("the Dataset has no raw test rows; an earlier version made it, run preprocess again")
    if missing := [name for name in columns if name not in raw]:
        raise IncomparableError(f"it needs the column {missing[0]!r}, which this data lacks")
    if len(raw[columns[0]]) != rows:
        raise DocumentError(f"{dataset.uri}: {len(raw[columns[0]])} raw test rows and {rows} transformed ones")
    return {name: raw[name] for name in columns}


def _images(champion: Schema, test: Tensors) -> Mapping[str, Array]:
    """The test pixels: as arrays, or as PNG files, which lose nothing."""
    form = champion.image
    assert form is not None  # asked for a champion of images only
    pixels = test.inputs["image"]
    if pixels.shape[3] != form.channels:
        raise IncomparableError(f"it takes images of {form.channels} channels, this data has {pixels.shape[3]}")
    name = champion.columns[0].name
    if form.encoding == "bytes":
        import tensorflow as tf

        files = np.empty(len(pixels), object)
        files[:] = [tf.io.encode_png(image).numpy() for image in pixels]
        return {name: files}
    if pixels.shape[1:3] != (form.height, form.width):
        raise IncomparableError(
            f"it takes images of {form.height} × {form.width} pixels, this data has {pixels.shape[1]} × "
            f"{pixels.shape[2]}"
        )
    return {name: pixels}
