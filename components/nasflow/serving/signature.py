"""What a bundle says of itself: ``signature.json`` and ``golden.json``."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from nasflow.core.spec import Task
from nasflow.data.schema import Kind


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(_Frozen):
    """One raw column, and the keyword tensor that carries it into the SavedModel."""

    column: str
    tensor: str
    """The column's name as TensorFlow allows it: letters, digits, underscores."""
    kind: Kind
    dtype: Literal["float64", "string", "uint8"]
    shape: tuple[int | None, ...]
    """None is the number of rows."""


class Output(_Frozen):
    """One tensor that the SavedModel gives back."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Signature(_Frozen):
    """Inputs and outputs of ``serving_default``."""

    task: Task
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    classes: tuple[str, ...] | None
    """Class names in the order of the probabilities; None for regression."""


class AnsweredRows(_Frozen):
    """Raw rows and what a model said of them: a bundle's ``golden.json``, an evaluation's ``predictions.json``."""

    rows: tuple[dict[str, Any], ...]
    """Raw features, as in a V1 request."""
    labels: tuple[Any, ...]
    predictions: tuple[tuple[float, ...] | float, ...]
    """Probabilities in class order, or numbers in the target's units."""
