"""The label: class names to ids, or the scale of a regression target."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.data.codes import Codes
from nasflow.data.transforms._base import Frozen, RawColumn


class LabelTransform(Frozen):
    """Class names to ids, or the scale of a regression target."""

    name: str
    classes: tuple[str, ...] | None
    mean: float = 0.0
    std: float = 1.0
    weights: tuple[float, ...] = ()
    """By class, what a row counts in the training loss; empty: all alike."""


def encode_labels(transform: LabelTransform, labels: RawColumn) -> NDArray[np.generic]:
    """Class names to int32 ids [n], −1 for a name that is no class; regression targets stay float64 [n]."""
    if transform.classes is None:
        return np.asarray(labels, np.float64)

    def ids(text: pa.Array) -> NDArray[np.int32]:
        places = pc.index_in(text, value_set=pa.array(transform.classes, pa.string()))
        return np.asarray(pc.fill_null(places, -1), np.int32)

    codes = Codes.of(labels)
    return codes.each(codes.texts.once(transform, ids, missing=-1))


def decode_labels(transform: LabelTransform, labels: NDArray[np.generic]) -> list[str] | list[float]:
    """What `encode_labels` was given: class names, or targets as floats."""
    if transform.classes is None:
        return [float(value) for value in labels.tolist()]
    classes = transform.classes
    return [classes[place] for place in labels.tolist()]
