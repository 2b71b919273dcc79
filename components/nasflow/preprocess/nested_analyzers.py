"""Mergeable accumulators of columns whose cells hold several values."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from nasflow.data.codes import Codes
from nasflow.preprocess.analyzers import Counts
from nasflow.preprocess.nested import elements


@dataclasses.dataclass(slots=True)
class ListCounts:
    """How often each element occurs; an element that a list repeats counts each time."""

    counts: Counts = dataclasses.field(default_factory=Counts)
    rows: int = 0
    empty: int = 0
    """Rows without any element; a missing list is one."""
    longest: int = 0

    def update(self, texts: Codes) -> None:
        """Adds joined lists [n]."""
        flat, rows = elements(texts.text())
        self.counts.update(Codes.of(flat))
        self.rows += len(texts)
        self.empty += int(texts.missing.sum())
        self.longest = max(self.longest, int(np.bincount(rows).max(initial=0)))

    def merge(self, other: "ListCounts") -> None:
        """Adds another's."""
        self.counts.merge(other.counts)
        self.rows += other.rows
        self.empty += other.empty
        self.longest = max(self.longest, other.longest)


@dataclasses.dataclass(slots=True)
class VectorMoments:
    """Count, mean and squared deviations of each place of vectors; the formula of `analyzers.Moments`."""

    count: NDArray[np.float64]
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]
    rows: int = 0
    incomplete: int = 0
    """Rows in which a number is missing or not finite."""

    @classmethod
    def of(cls, length: int) -> "VectorMoments":
        """Nothing seen yet."""
        return cls(np.zeros(length), np.zeros(length), np.zeros(length))

    def update(self, values: NDArray[np.float64]) -> None:
        """Adds float64 [n, length]; what is not finite enters no moment."""
        finite = np.isfinite(values)
        count = finite.sum(axis=0).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # `fit` refuses moments that overflow
            mean = np.where(finite, values, 0.0).sum(axis=0) / np.maximum(count, 1)
            m2 = np.square(np.where(finite, values - mean, 0.0)).sum(axis=0)
        self.merge(VectorMoments(count, mean, m2, len(values), int((~finite).any(axis=1).sum())))

    def merge(self, other: "VectorMoments") -> None:
        """Joins another part's."""
        total = self.count + other.count
        safe = np.maximum(total, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            delta = other.mean - self.mean
            self.m2 = self.m2 + other.m2 + delta * delta * (self.count * other.count / safe)
            self.mean = self.mean + delta * other.count / safe
        self.count = total
        self.rows += other.rows
        self.incomplete += other.incomplete

    @property
    def std(self) -> NDArray[np.float64]:
        """Population standard deviation of each place; 0 without values."""
        return np.sqrt(self.m2 / np.maximum(self.count, 1))
