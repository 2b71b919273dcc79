"""The TransformSpec's arithmetic in NumPy and Arrow. The served graph does the same, step by step."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.data.image import decode_resized, resize
from nasflow.data.transform import (
    FIRST_ID,
    MISSING_ID,
    SMALLEST_NORMAL,
    UNKNOWN_ID,
    CategoricalTransform,
    DiscreteTransform,
    ImageTransform,
    LabelTransform,
    NumericTransform,
    TransformSpec,
)

RawColumn: TypeAlias = Any
"""numeric: float64 [n]; categorical: object[str] [n] or an Arrow string array; image: uint8 [n, h, w, c] or
object[bytes] [n]. (Arrow has no types to name here.)"""


def apply(transform: TransformSpec, raw: Mapping[str, RawColumn]) -> dict[str, NDArray[np.generic]]:
    """Raw columns to the tensors of `nasflow.data.tensors`.

    Only the tensors that the spec has are returned: ``numeric`` float32 [n, width], ``categorical`` int32 [n, columns],
    ``discrete`` int32 [n, columns], ``image`` uint8 [n, height, width, channels].

    Raises:
        DataError: an encoded image cannot be decoded.
    """
    tensors: dict[str, NDArray[np.generic]] = {}
    if transform.numeric:
        values = [numeric(column, raw[column.name]) for column in transform.numeric]
        flags = [missing(raw[column.name]) for column in transform.numeric if column.indicator]
        tensors["numeric"] = np.stack([*values, *flags], axis=1)
    if transform.discrete:
        tensors["discrete"] = np.stack([discrete(column, raw[column.name]) for column in transform.discrete], axis=1)
    if transform.categorical:
        tensors["categorical"] = np.stack(
            [categorical(column, raw[column.name]) for column in transform.categorical], axis=1
        )
    if transform.image is not None:
        tensors["image"] = image(transform.image, raw[transform.image.name])
    return tensors


def numeric(transform: NumericTransform, values: RawColumn) -> NDArray[np.float32]:
    """(x − mean) / std in float64, clipped, 0 where not finite; float32 [n]."""
    numbers = np.asarray(values, np.float64)
    finite = np.isfinite(numbers)
    with np.errstate(over="ignore"):  # an overflow is ±inf, which the clip brings back
        scaled = (np.where(finite, numbers, transform.mean) - transform.mean) / transform.std
    clipped = np.clip(scaled, -transform.clip, transform.clip)
    return np.where(finite, clipped, 0.0).astype(np.float32)


def missing(values: RawColumn) -> NDArray[np.float32]:
    """1.0 where a number is not finite, else 0.0; float32 [n]."""
    return (~np.isfinite(np.asarray(values, np.float64))).astype(np.float32)


def discrete(transform: DiscreteTransform, values: RawColumn) -> NDArray[np.int32]:
    """Numbers to ids, int32 [n]: 0 for what is not finite, 1 for what is none of the known values.

    >>> discrete(DiscreteTransform(name="x", values=(0.0, 2.5)), [2.5, -0.0, 1.0, float("nan")]).tolist()
    [3, 2, 1, 0]
    """
    known = np.asarray(transform.values, np.float64)
    numbers = normal(np.asarray(values, np.float64))
    places = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    ids = np.where(known[places] == numbers, places + FIRST_ID, UNKNOWN_ID)
    return np.where(np.isfinite(numbers), ids, MISSING_ID).astype(np.int32)


def normal(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Subnormal numbers and −0.0 as 0.0: TensorFlow's threads flush them, so that only this compares alike."""
    return np.where(np.abs(values) < SMALLEST_NORMAL, 0.0, values)


def categorical(transform: CategoricalTransform, values: RawColumn) -> NDArray[np.int32]:
    """Text to ids, int32 [n]: 0 for null and empty text, 1 for text outside the vocabulary."""
    text = values if isinstance(values, pa.Array) else pa.array(list(values), pa.string())
    places = pc.index_in(text, value_set=pa.array(transform.vocabulary, text.type))
    ids = pc.fill_null(pc.add(places, pa.scalar(FIRST_ID, pa.int32())), UNKNOWN_ID)
    absent = pc.fill_null(pc.equal(text, ""), fill_value=True)
    return np.asarray(pc.if_else(absent, pa.scalar(MISSING_ID, pa.int32()), ids), np.int32)


def image(transform: ImageTransform, values: RawColumn) -> NDArray[np.uint8]:
    """uint8 [n, height, width, channels] from arrays of any size, or from encoded files.

    Raises:
        DataError: an encoded image cannot be decoded; names the row.
    """
    size = {"height": transform.height, "width": transform.width}
    if values.dtype == np.uint8:
        return resize(values, **size)
    images = np.empty((len(values), transform.height, transform.width, transform.channels), np.uint8)
    for row, data in enumerate(values):
        try:
            images[row] = decode_resized(data, channels=transform.channels, **size)
        except DataError as error:
            raise DataError(f"row {row + 1}: column {transform.name!r}: {error}") from error
    return images


def encode_labels(transform: LabelTransform, labels: RawColumn) -> NDArray[np.generic]:
    """Class names to int32 ids [n], −1 for a name that is no class; regression targets stay float64 [n]."""
    if transform.classes is None:
        return np.asarray(labels, np.float64)
    text = labels if isinstance(labels, pa.Array) else pa.array(list(labels), pa.string())
    places = pc.index_in(text, value_set=pa.array(transform.classes, text.type))
    return np.asarray(pc.fill_null(places, -1), np.int32)


def decode_labels(transform: LabelTransform, labels: NDArray[np.generic]) -> list[str] | list[float]:
    """What `encode_labels` was given: class names, or targets as floats."""
    if transform.classes is None:
        return [float(value) for value in labels.tolist()]
    classes = transform.classes
    return [classes[place] for place in labels.tolist()]
