"""Numbers of few values, seen as categories as well."""

import numpy as np
from numpy.typing import NDArray

from nasflow.data.transforms._base import (
    FIRST_ID,
    MISSING_ID,
    UNKNOWN_ID,
    ColumnTransform,
    Part,
    RawColumn,
    normal,
)


class DiscreteTransform(ColumnTransform):
    """A numeric column of few distinct values, seen as a category as well: its ids are the column's place in the
    tensor ``discrete``.

    0 missing (NaN, ±inf), 1 no value of the training rows, 2.. the value's place + 2. Values are compared exactly in
    float64; −0.0 and subnormal numbers, which not all machines keep, count as 0.0.
    """

    name: str
    """A column of `TransformSpec.numeric`."""
    values: tuple[float, ...]
    """Distinct, ascending."""

    @property
    def parts(self) -> tuple[Part, ...]:
        return (Part(slot="discrete", name=f"discrete/{self.name}", ids=len(self.values) + FIRST_ID),)

    def apply(self, values: RawColumn) -> list[NDArray[np.generic]]:
        return [discrete(self, values)]


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
