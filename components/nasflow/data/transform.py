"""TransformSpec: from raw columns to tensors. One versioned spec drives NumPy here and the served graph.

`nasflow.models.export` builds the same arithmetic as a graph; a parity test on golden rows holds the two together.
"""

from pydantic import BaseModel, ConfigDict

from nasflow.core.storage import sha256
from nasflow.data.tensors import InputSpec, OutputSpec

MISSING_ID = 0
UNKNOWN_ID = 1
FIRST_ID = 2


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

    version: int = 1
    numeric: tuple[NumericTransform, ...] = ()
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
        return InputSpec(
            numeric=len(self.numeric) + sum(column.indicator for column in self.numeric),
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
