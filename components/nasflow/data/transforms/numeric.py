"""Numbers: scaled, clipped, missing ones imputed and flagged."""

import numpy as np
from numpy.typing import NDArray

from nasflow.data.transforms._base import ColumnTransform, Part, RawColumn

LEAST_BIN = 1e-6
"""Edges of bins are at least so far apart, in standard deviations."""


class NumericTransform(ColumnTransform):
    """(x − mean) / std in float64, clipped to ±`clip`, then float32. NaN and ±inf count as missing: they become 0,
    the training mean, and where `indicator` is set a further column holds 1.0 for them and 0.0 for others."""

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
        return distinct_edges(np.clip(scaled, -self.clip, self.clip))

    @property
    def parts(self) -> tuple[Part, ...]:
        value = Part(slot="numeric", name=f"numeric/{self.name}", edges=self.scaled_edges)
        return (value, flag(self.name)) if self.indicator else (value,)

    def apply(self, values: RawColumn) -> list[NDArray[np.generic]]:
        scaled = numeric(self, values)
        return [scaled, missing(values)] if self.indicator else [scaled]


def flag(name: str) -> Part:
    """The missing indicator of a column: 1.0 or 0.0, with a bin of its own."""
    return Part(slot="missing", name=f"missing/{name}", edges=(0.0, 1.0))


def distinct_edges(scaled: NDArray[np.float64]) -> tuple[float, ...]:
    """Ascending edges as float32 tells them apart; empty where fewer than two are left."""
    found: list[float] = []
    for edge in scaled.astype(np.float32).tolist():
        if not found or edge - found[-1] >= LEAST_BIN:
            found.append(edge)
    return tuple(found) if len(found) > 1 else ()


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
