"""The distinct values of a numeric column, in bounded memory and mergeable.

Bins for a piecewise-linear encoding come from the quantiles of the distinct values, not of the rows: where one value is
most of a column (a capital gain of 0), quantiles of the rows would all be that value (research/tabular.md).
A sketch of row quantiles (KLL) cannot answer that; a uniform sample of the distinct values can.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from nasflow.data.transforms._base import normal

MOST_KEPT = 8192
"""So many distinct values are exact; of more, a sample of this size is kept: a quantile of it is off by about
√(q(1−q)/8192) ≤ 0.6 % of the values."""


@dataclasses.dataclass(slots=True)
class Distinct:
    """Finite distinct values: all of them, or those with the `limit` smallest hashes.

    Bottom-k sampling (Beyer et al. 2007, On synopses for distinct-value estimation under multiset operations, §4): a
    value's hash decides, so the result is the same for every order, batching and number of repeats.
    −0.0 and subnormal numbers count as 0.0.
    """

    limit: int = MOST_KEPT
    hashes: NDArray[np.uint64] = dataclasses.field(default_factory=lambda: np.empty(0, np.uint64))
    """Of the kept values, ascending."""
    exact: bool = True
    """Whether no value was left out."""

    def update(self, values: NDArray[np.float64]) -> None:
        """Adds float64 [n]; NaN and ±inf are passed over."""
        self._add(_hash(normal(values[np.isfinite(values)]).view(np.uint64)))

    def merge(self, other: "Distinct") -> None:
        """Adds another's values."""
        self.exact &= other.exact
        self._add(other.hashes)

    def _add(self, hashes: NDArray[np.uint64]) -> None:
        if not self.exact and len(self.hashes) == self.limit:  # most values of a long column end here, unsorted
            hashes = hashes[hashes < self.hashes[-1]]
        joined = _sorted_unique(np.concatenate([self.hashes, hashes]))
        self.exact &= len(joined) <= self.limit
        self.hashes = joined[: self.limit]

    @property
    def distinct(self) -> int:
        """How many there are; where not exact, (k − 1) / (the k-th smallest hash as a fraction): about 1 % off."""
        kept = len(self.hashes)
        return kept if self.exact else round((kept - 1) / (float(self.hashes[-1]) / 2**64))

    def values(self) -> NDArray[np.float64]:
        """The kept values, float64, ascending."""
        return np.sort(_unhash(self.hashes).view(np.float64))

    def quantiles(self, count: int) -> NDArray[np.float64]:
        """`count` of the kept values (or all, where they are fewer) at equal shares, both ends included; ascending."""
        values = self.values()
        if len(values) <= count:
            return values
        return values[np.round(np.linspace(0, len(values) - 1, count)).astype(np.int64)]


_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_FIRST_INVERSE, _SECOND_INVERSE = (np.uint64(pow(factor, -1, 2**64)) for factor in (_FIRST, _SECOND))


def _sorted_unique(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """As `np.unique`, which hashes them all first and takes 20 times as long (NumPy 2.4)."""
    values = np.sort(values)
    return values[np.append(True, values[1:] != values[:-1])] if len(values) else values


def _hash(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection, so that no two values collide."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(_FIRST)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(_SECOND)
    return bits ^ (bits >> np.uint64(31))


def _unhash(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = hashes ^ (hashes >> np.uint64(31)) ^ (hashes >> np.uint64(62))
    bits = bits * _SECOND_INVERSE
    bits = bits ^ (bits >> np.uint64(27)) ^ (bits >> np.uint64(54))
    bits = bits * _FIRST_INVERSE
    return bits ^ (bits >> np.uint64(30)) ^ (bits >> np.uint64(60))
