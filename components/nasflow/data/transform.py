"""TransformSpec: from raw columns to tensors. One versioned spec drives NumPy here and the served graph.

`nasflow.models.export` builds the same arithmetic as a graph; a parity test on golden rows holds the two together.
"""

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from nasflow.core.storage import sha256
from nasflow.data.tensors import InputSpec, OutputSpec

MISSING_ID = 0
UNKNOWN_ID = 1
FIRST_ID = 2
LEAST_BIN = 1e-6
"""Edges of bins are at least so far apart, in standard deviations."""
SMALLEST_NORMAL = float(np.finfo(np.float64).tiny)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NumericTransform(_Frozen):
    """(x − mean) / std in float64, clipped to ±`clip`, then float32. NaN and ±inf count as missing: they become 0,
    the training mean, and where `indicator` is set a further column holds 1.0 for them and 0.0 for others."""

    name: str
    mean: float
    std: float
    """> 0; a constant column has 1.0."""
    clip: float = 10.0
    indicator: bool
    edges: tuple[float, ...] = ()
    """Quantiles of the *distinct* training values, in the column's own units, ascending: the bins of a piecewise-linear
    encoding. Empty where there are fewer than two values."""

    @property
    def scaled_edges(self) -> tuple[float, ...]:
        """The edges in the tensor's units, as float32 tells them apart; empty where fewer than two are left.

        >>> column = NumericTransform(name="x", mean=1.0, std=2.0, clip=3.0, indicator=False, edges=(1.0, 5.0, 90.0))
        >>> column.scaled_edges
        (0.0, 2.0, 3.0)
        """
        with np.errstate(over="ignore"):
            scaled = (np.asarray(self.edges, np.float64) - self.mean) / self.std
        found: list[float] = []
        for edge in np.clip(scaled, -self.clip, self.clip).astype(np.float32).tolist():
            if not found or edge - found[-1] >= LEAST_BIN:
                found.append(edge)
        return tuple(found) if len(found) > 1 else ()


class DiscreteTransform(_Frozen):
    """A numeric column of few distinct values, seen as a category as well: its ids are the column's place in the
    tensor ``discrete``.

    0 missing (NaN, ±inf), 1 no value of the training rows, 2.. the value's place + 2. Values are compared exactly in
    float64; −0.0 and subnormal numbers, which not all machines keep, count as 0.0.
    """

    name: str
    """A column of `TransformSpec.numeric`."""
    values: tuple[float, ...]
    """Distinct, ascending."""


class CategoricalTransform(_Frozen):
    """Text to id: 0 missing (null or empty text), 1 not in the vocabulary, 2.. the vocabulary's place + 2."""

    name: str
    vocabulary: tuple[str, ...]
    """Most frequent first, ties by text."""


class ImageTransform(_Frozen):
    """Decode (where encoded), convert to `channels`, resize (bilinear, antialiased, rounded to uint8)."""

    name: str
    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class LabelTransform(_Frozen):
    """Class names to ids, or the scale of a regression target."""

    name: str
    classes: tuple[str, ...] | None
    mean: float = 0.0
    std: float = 1.0
    weights: tuple[float, ...] = ()
    """By class, what a row counts in the training loss; empty: all alike."""


class TransformSpec(_Frozen):
    """Fitted on the training rows only. Order matters: it is the order of the tensors' columns."""

    version: Literal[1, 2] = 2
    """2 added `NumericTransform.edges` and `discrete`; documents of version 1 have neither."""
    numeric: tuple[NumericTransform, ...] = ()
    discrete: tuple[DiscreteTransform, ...] = ()
    """Numeric columns that are categories, too."""
    categorical: tuple[CategoricalTransform, ...] = ()
    image: ImageTransform | None = None
    label: LabelTransform

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON."""
        return sha256(self.model_dump_json().encode())

    @property
    def inputs(self) -> InputSpec:
        """Width of ``numeric``: all values in order, then all indicators in order."""
        image = self.image
        indicators = sum(column.indicator for column in self.numeric)
        edges = tuple(column.scaled_edges for column in self.numeric)
        return InputSpec(
            numeric=len(self.numeric) + indicators,
            edges=(*edges, *[(0.0, 1.0)] * indicators) if any(edges) else (),
            discrete=tuple(len(column.values) + FIRST_ID for column in self.discrete),
            cardinalities=tuple(len(column.vocabulary) + FIRST_ID for column in self.categorical),
            image=(image.height, image.width, image.channels) if image else None,
            image_mean=image.mean if image else (),
            image_std=image.std if image else (),
        )

    @property
    def output(self) -> OutputSpec:
        """What the model predicts."""
        classes = self.label.classes
        return OutputSpec(
            classes=len(classes) if classes is not None else None,
            mean=self.label.mean,
            std=self.label.std,
            weights=self.label.weights,
        )
