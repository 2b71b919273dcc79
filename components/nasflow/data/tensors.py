"""The tensors that a model sees: names, shapes and dtypes, agreed by preprocess, models and serving.

numeric      float32 [rows, width]          scaled, finite, missing imputed; indicators are columns of it
plain        float32 [rows, width]          finite numbers that need no encoding: members of lists, turns of the clock
categorical  int32   [rows, columns]        0 = missing, 1 = not in the vocabulary, 2.. = the vocabulary
discrete     int32   [rows, columns]        numeric columns of few values as categories; ids as above
image        uint8   [rows, height, width, channels]    0–255; the model itself normalises
text_0, …    int32   [rows, length]         the first tokens of a text column: 0 = no token, 1 = not in the vocabulary,
                                            2.. = the vocabulary, then hashes; one tensor a column
"""

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

SLOTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "numeric": ("numeric", "missing"),
        "plain": ("plain",),
        "discrete": ("discrete",),
        "categorical": ("categorical",),
        "image": ("image",),
    }
)
"""By tensor, the slots that columns fill; a tensor has all columns of its first slot, then those of the next."""
DTYPES: Mapping[str, str] = MappingProxyType(
    {"numeric": "float32", "plain": "float32", "discrete": "int32", "categorical": "int32", "image": "uint8"}
)
"""Of all tensors but those of text; see `dtype_of`."""


TEXT = "text_"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TextShape:
    """One text column's tensor."""

    length: int
    """Tokens of a row."""
    ids: int
    """How many ids there are, those of padding and of unknown tokens included."""
    idf: tuple[float, ...] = ()
    """By id, its inverse document frequency, 0 for padding; empty: unknown."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """Shape of a model's inputs; a field is None or empty where the data has no such columns."""

    numeric: int = 0
    """Width of ``numeric``."""
    edges: tuple[tuple[float, ...], ...] = ()
    """For each column of ``numeric`` (indicators included), the edges of its bins in the tensor's units: ascending and
    at least two, or none. Empty where no column has any."""
    plain: int = 0
    """Width of ``plain``."""
    vectors: tuple[int, ...] = ()
    """Lengths of the list columns of numbers: the last columns of ``plain``, one list after the other."""
    cardinalities: tuple[int, ...] = ()
    """For each column of ``categorical``, how many ids there are, the two special ones included."""
    discrete: tuple[int, ...] = ()
    """The same for each column of ``discrete``."""
    image: tuple[int, int, int] | None = None
    """Height, width, channels."""
    image_mean: tuple[float, ...] = ()
    """Per channel, of the training images, on 0–255."""
    image_std: tuple[float, ...] = ()
    """Per channel, > 0."""
    texts: tuple[TextShape, ...] = ()
    """Of ``text_0``, ``text_1``, …"""

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Of one row of a tensor; () where the data has none."""
        if tensor == "image":
            return self.image or ()
        widths = {
            "numeric": self.numeric,
            "plain": self.plain,
            "discrete": len(self.discrete),
            "categorical": len(self.cardinalities),
        }
        if tensor in text_tensors(self):
            return (self.texts[text_place(tensor)].length,)
        return (widths[tensor],) if widths.get(tensor) else ()


def text_tensors(inputs: InputSpec) -> tuple[str, ...]:
    """Names of the text columns' tensors, in order.

    >>> text_tensors(InputSpec(texts=(TextShape(length=8, ids=99), TextShape(length=8, ids=99))))
    ('text_0', 'text_1')
    """
    return tuple(f"{TEXT}{place}" for place in range(len(inputs.texts)))


def text_place(tensor: str) -> int:
    """The inverse."""
    return int(tensor.removeprefix(TEXT))


def dtype_of(tensor: str) -> str:
    """NumPy's name of a tensor's dtype."""
    return "int32" if tensor.startswith(TEXT) else DTYPES[tensor]


def is_whole(tensor: str) -> bool:
    """Whether one raw column is the whole tensor, with a shape of its own; the others have a number a column."""
    return tensor == "image" or tensor.startswith(TEXT)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """What a model predicts."""

    classes: int | None
    """Number of classes (logits); None: one number."""
    mean: float = 0.0
    """Regression: mean of the training targets; the network predicts (target − mean) / std."""
    std: float = 1.0
    """Regression: their standard deviation, > 0."""
    weights: tuple[float, ...] = ()
    """By class, what a row counts in the training loss; empty: all alike."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tensors:
    """One split in memory."""

    inputs: Mapping[str, NDArray[np.generic]]
    """By the names above; all with the same number of rows."""
    labels: NDArray[np.generic]
    """int32 class ids [rows], or float64 targets in their own units [rows]."""
    weights: NDArray[np.float64] | None = None
    """How much each row counts, float64 [rows], >= 0, not all 0; None: all alike."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.labels)

    def only(self, names: Iterable[str]) -> "Tensors":
        """The tensors of these names, which must be there: a model need not look at all of them."""
        return dataclasses.replace(self, inputs={name: self.inputs[name] for name in names})

    def take(self, rows: NDArray[np.integer] | slice) -> "Tensors":
        """A selection of rows."""
        return Tensors(
            inputs={name: values[rows] for name, values in self.inputs.items()},
            labels=self.labels[rows],
            weights=None if self.weights is None else self.weights[rows],
        )

    def join(self, other: "Tensors") -> "Tensors":
        """These rows, then the other's. Where only one has weights, rows of the other weigh 1."""
        inputs = {name: np.concatenate([values, other.inputs[name]]) for name, values in self.inputs.items()}
        weights = None
        if self.weights is not None or other.weights is not None:
            parts = [np.ones(part.rows) if part.weights is None else part.weights for part in (self, other)]
            weights = np.concatenate(parts)
        return Tensors(inputs=inputs, labels=np.concatenate([self.labels, other.labels]), weights=weights)
