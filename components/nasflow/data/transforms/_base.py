"""What every family shares: a fitted column says which parts of which tensors it fills, and fills them."""

import dataclasses
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

RawColumn: TypeAlias = Any
"""By `nasflow.data.schema.RAW_OF`: number float64 [n]; vector float64 [n, length]; text object[str] [n], Arrow strings
or `nasflow.data.codes.Codes`; image uint8 [n, h, w, c] or object[bytes] [n]. (Arrow has no types to name here.)"""

MISSING_ID = 0
UNKNOWN_ID = 1
FIRST_ID = 2
SMALLEST_NORMAL = float(np.finfo(np.float64).tiny)


class Frozen(BaseModel):
    """Immutable, and strict about keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One column of a tensor (or the whole ``image``)."""

    slot: str
    """A key of `nasflow.data.tensors.SLOTS`."""
    name: str
    """Its column in a shard; unique in the spec."""
    edges: tuple[float, ...] = ()
    """Slot ``numeric``: edges of bins in the tensor's units, ascending, at least two, or none."""
    ids: int = 0
    """Slots of ids: how many there are, `MISSING_ID` and `UNKNOWN_ID` included."""


class ColumnTransform(Frozen):
    """One fitted raw column. The spec is data; subclasses add the arithmetic."""

    name: str
    """The raw column."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """What it becomes, in order."""
        raise NotImplementedError

    def apply(self, values: RawColumn) -> list[NDArray[np.generic]]:
        """One array [n] for each of `parts`: float32 in slots of numbers, int32 in slots of ids; all finite."""
        raise NotImplementedError


def normal(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Subnormal numbers and −0.0 as 0.0: TensorFlow's threads flush them, so that only this compares alike."""
    return np.where(np.abs(values) < SMALLEST_NORMAL, 0.0, values)
