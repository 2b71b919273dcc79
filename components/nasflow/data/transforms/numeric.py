"""Numbers: bounded, scaled, clipped; missing ones imputed and flagged."""

import numpy as np
from numpy.typing import NDArray

from nasflow.core.spec import Scaling
from nasflow.data.transforms._base import ColumnTransform, Part, RawColumn, normal

LEAST_BIN = 1e-6
"""Edges of bins are at least so far apart, in standard deviations."""


class NumericTransform(ColumnTransform):
    """In float64: x bounded to [`low`, `high`], scaled, then float32.

        zscore robust minmax   (x − mean) / std, clipped to ±`clip`; what mean and std are decides which of the three
        log                    the same of sign(x) · log(1 + |x|)
        quantile_…             linear between (knot, target) pairs, constant outside of them

    NaN and ±inf count as missing: `fill` stands for them where it is given, else the result is 0 (the training mean, of
    zscore). Where `indicator` is set, a further column holds 1.0 for them and 0.0 for others.
    """

    scaling: Scaling = "zscore"
    mean: float
    """Centre: of `robust` the median, of `minmax` the minimum, of `log` the mean of the logarithms."""
    std: float
    """Unit, > 0; a constant column has 1.0. Of `robust` the interquartile range / 1.349, of `minmax` the range."""
    clip: float = 10.0
    low: float | None = None
    high: float | None = None
    fill: float | None = None
    """In the column's own units."""
    indicator: bool
    edges: tuple[float, ...] = ()
    """Quantiles of the *distinct* training values, in the column's own units, ascending: the bins of a piecewise-linear
    encoding. Empty where there are fewer than two values."""
    knots: tuple[float, ...] = ()
    """Of `quantile_…`: at least two values, ascending, in the column's own units."""
    targets: tuple[float, ...] = ()
    """Their ranks, from 0 to 1, or normal scores."""

    @property
    def scaled_edges(self) -> tuple[float, ...]:
        """The edges in the tensor's units, as float32 tells them apart; empty where fewer than two are left.

        >>> column = NumericTransform(name="x", mean=1.0, std=2.0, clip=3.0, indicator=False, edges=(1.0, 5.0, 90.0))
        >>> column.scaled_edges
        (0.0, 2.0, 3.0)
        """
        return distinct_edges(scaled(self, np.asarray(self.edges, np.float64)))

    @property
    def parts(self) -> tuple[Part, ...]:
        value = Part(slot="numeric", name=f"numeric/{self.name}", edges=self.scaled_edges)
        return (value, flag(self.name)) if self.indicator else (value,)

    def apply(self, values: RawColumn) -> list[NDArray[np.generic]]:
        found = numeric(self, values)
        return [found, missing(values)] if self.indicator else [found]


def flag(name: str) -> Part:
    """The missing indicator of a column: 1.0 or 0.0, with a bin of its own."""
    return Part(slot="missing", name=f"missing/{name}", edges=(0.0, 1.0))


def distinct_edges(edges: NDArray[np.float64]) -> tuple[float, ...]:
    """Ascending scaled edges as float32 tells them apart; empty where fewer than two are left."""
    found: list[float] = []
    for edge in edges.astype(np.float32).tolist():
        if not found or edge - found[-1] >= LEAST_BIN:
            found.append(edge)
    return tuple(found) if len(found) > 1 else ()


def scaled(transform: NumericTransform, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Finite numbers, float64 [n], bounded and scaled; float64 [n].

    >>> transform = NumericTransform(name="x", scaling="log", mean=0.0, std=1.0, indicator=False)
    >>> scaled(transform, np.array([-np.expm1(2.0), 0.0, np.expm1(1.0)])).round(12).tolist()
    [-2.0, 0.0, 1.0]
    """
    if transform.low is not None or transform.high is not None:
        numbers = np.clip(numbers, transform.low, transform.high)
    if transform.scaling in ("quantile_uniform", "quantile_normal"):
        return between(normal(numbers), transform.knots, transform.targets)
    if transform.scaling == "log":
        numbers = np.sign(numbers) * np.log1p(np.abs(numbers))
    with np.errstate(over="ignore"):  # an overflow is ±inf, which the clip brings back
        found = numbers - transform.mean
        found /= transform.std  # in place: a new array of a batch costs more than the arithmetic
    return np.clip(found, -transform.clip, transform.clip, out=found)


def between(numbers: NDArray[np.float64], knots: tuple[float, ...], targets: tuple[float, ...]) -> NDArray[np.float64]:
    """Linear between the pairs, constant outside of them. Like `np.interp`, in operations that a graph has, too.

    >>> between(np.array([-5.0, 1.0, 3.0, 9.0]), (0.0, 2.0, 4.0), (0.0, 1.0, 5.0)).tolist()
    [0.0, 0.5, 3.0, 5.0]
    """
    x, y = np.asarray(knots, np.float64), np.asarray(targets, np.float64)
    inside = np.clip(numbers, x[0], x[-1])
    left = np.clip(np.searchsorted(x, inside, side="right") - 1, 0, len(x) - 2)
    share = (inside - x[left]) / (x[left + 1] - x[left])
    return y[left] + share * (y[left + 1] - y[left])


def numeric(transform: NumericTransform, values: RawColumn) -> NDArray[np.float32]:
    """See `NumericTransform`; float32 [n], finite."""
    numbers = np.asarray(values, np.float64)
    finite = np.isfinite(numbers)
    if finite.all():
        return scaled(transform, numbers).astype(np.float32)
    if transform.fill is not None:
        return scaled(transform, np.where(finite, numbers, transform.fill)).astype(np.float32)
    if finite.all():
        return scaled(transform, numbers).astype(np.float32)
    found = scaled(transform, np.where(finite, numbers, 0.0)).astype(np.float32)
    found[~finite] = 0.0
    return found


def missing(values: RawColumn) -> NDArray[np.float32]:
    """1.0 where a number is not finite, else 0.0; float32 [n]."""
    return (~np.isfinite(np.asarray(values, np.float64))).astype(np.float32)
