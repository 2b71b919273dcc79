"""Vectors: a fixed number of numbers in every row, each scaled by itself."""

import numpy as np
from numpy.typing import NDArray

from nasflow.data.transforms._base import ColumnTransform, Part, RawColumn
from nasflow.data.transforms.numeric import flag


class VectorTransform(ColumnTransform):
    """(x − mean) / std of each place in float64, clipped to ±`clip`, then float32. NaN and ±inf become 0, the training
    mean; the indicator is 1.0 in rows that have one."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Each > 0."""
    clip: float = 10.0
    indicator: bool

    @property
    def parts(self) -> tuple[Part, ...]:
        places = tuple(Part(slot="plain", name=f"vector/{self.name}/{place}") for place in range(len(self.mean)))
        return (*places, flag(self.name)) if self.indicator else places

    def apply(self, values: RawColumn) -> list[NDArray[np.generic]]:
        numbers = np.asarray(values, np.float64)
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        finite = np.isfinite(numbers)
        with np.errstate(over="ignore"):  # an overflow is ±inf, which the clip brings back
            scaled = np.clip((np.where(finite, numbers, mean) - mean) / std, -self.clip, self.clip)
        found: list[NDArray[np.generic]] = list(np.where(finite, scaled, 0.0).astype(np.float32, order="F").T)
        if self.indicator:
            found.append(np.asarray(~finite.all(axis=1), np.float32))
        return found
