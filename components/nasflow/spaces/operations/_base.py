"""What an operation is, to those who count it: a function from its settings and its inputs' shapes to a `Measure`."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.architecture import Shape


@dataclasses.dataclass(frozen=True, slots=True)
class Measure:
    """What one operation makes and costs."""

    shape: Shape
    parameters: int = 0
    """Trainable."""
    multiply_adds: int = 0
    """Of convolutions and matrix products, for one example."""


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """What an operation is asked about."""

    settings: Mapping[str, Any]
    shapes: tuple[Shape, ...]
    """Of its inputs."""
    inputs: InputSpec
    output: OutputSpec

    def one(self, *ranks: int) -> Shape:
        """The shape of its single input.

        Raises:
            ValueError: there are more or none, or the input has another rank.
        """
        (shape,) = self.shapes
        if ranks and len(shape) not in ranks:
            raise ValueError(f"an input of rank {' or '.join(map(str, ranks))} is needed")
        return shape

    def whole(self, name: str, default: int | None = None) -> int:
        """A setting that is a whole number from 1 on.

        Raises:
            KeyError: it is missing and has no default.
            ValueError: it is something else.
        """
        value = self.settings[name] if default is None else self.settings.get(name, default)
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")
        return value

    def one_of(self, name: str, known: tuple[str, ...], default: str | None = None) -> str:
        """A setting that is one of a few words.

        Raises:
            KeyError: it is missing and has no default.
            ValueError: it is something else.
        """
        value = self.settings[name] if default is None else self.settings.get(name, default)
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        return str(value)


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """One entry of the table of operations."""

    measure: Callable[[Context], Measure]
    """Raises KeyError or ValueError for what it cannot take."""
    weighted: bool = False
    """Whether it has weights that count towards depth and activations (normalisation does not)."""


Table: TypeAlias = Mapping[str, Operation]


def windows(extent: int, *, size: int, stride: int, padding: str, dilation: int = 1) -> int:
    """How many windows fit along an axis, as Keras counts them.

    >>> windows(8, size=3, stride=2, padding="same"), windows(8, size=3, stride=2, padding="valid")
    (4, 3)

    Raises:
        ValueError: none fits.
    """
    if padding in ("same", "causal"):
        return -(-extent // stride)
    reach = dilation * (size - 1) + 1
    if reach > extent:
        raise ValueError(f"a window of {reach} does not fit into {extent} without padding")
    return (extent - reach) // stride + 1


def numbers(shape: Shape) -> int:
    """How many numbers a tensor of this shape holds."""
    return math.prod(shape)
