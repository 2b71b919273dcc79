"""Mergeable accumulators over batches. They know NumPy and Arrow, and nothing of Beam.

Merging in another order changes floating-point results in their last bits, so the pipeline merges in a fixed order.
"""

import dataclasses
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.data.codes import Codes, Texts

MAX_VOCABULARY = 10_000
_MAX_COUNTED = 200_000
"""Distinct texts held at once; beyond it the rarest half is dropped and the vocabulary is approximate."""
_PENDING = 100_000
"""Texts that may wait before they are counted together."""


@dataclasses.dataclass(slots=True)
class Moments:
    """Count, mean and squared deviations of finite numbers.

    Batches are joined by the pairwise formula of Chan, Golub and LeVeque (1979, Updating formulae and a pairwise
    algorithm for computing sample variances, eq. 2.1), which does not cancel as a sum of squares does.
    """

    count: int = 0
    missing: int = 0
    non_finite: int = 0
    mean: float = 0.0
    m2: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def update(self, values: NDArray[np.float64]) -> None:
        """Adds float64 [n]: NaN counts as missing, ±inf as non-finite; neither enters the moments."""
        fine = np.isfinite(values)
        finite = values if fine.all() else values[fine]
        rest = len(values) - len(finite)
        missing = int(np.isnan(values).sum()) if rest else 0
        other = Moments(missing=missing, non_finite=rest - missing)
        if len(finite):
            with np.errstate(over="ignore", invalid="ignore"):  # `fit` refuses a column whose moments overflow
                mean = float(finite.mean())
                deviations = finite - mean
                other.m2 = float((np.square(deviations, out=deviations)).sum())
            other.count, other.mean = len(finite), mean
            other.low, other.high = float(finite.min()), float(finite.max())
        self.merge(other)

    def merge(self, other: "Moments") -> None:
        """Joins another part's moments to these."""
        total = self.count + other.count
        if other.count:
            delta = other.mean - self.mean
            self.m2 += other.m2 + delta * delta * (self.count * other.count / total)
            self.mean += delta * other.count / total
        self.count = total
        self.missing += other.missing
        self.non_finite += other.non_finite
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    @property
    def std(self) -> float:
        """Population standard deviation; 0 without values."""
        return math.sqrt(self.m2 / self.count) if self.count else 0.0


@dataclasses.dataclass(slots=True)
class Counts:
    """How often each text occurs. Exact up to `_MAX_COUNTED` different texts at once."""

    missing: int = 0
    total: int = 0
    exact: bool = True
    _texts: Any = dataclasses.field(default_factory=lambda: pa.array([], pa.string()))
    """Arrow strings, each once, after `compact`."""
    _counts: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    _pending: list[tuple[Any, NDArray[np.int64]]] = dataclasses.field(default_factory=list)
    _last: Texts | None = None
    """What the last of `_pending` counts."""

    def update(self, values: Codes) -> None:
        """Adds texts [n]."""
        found = values.counts()
        self.missing += int(found[-1])
        self.total += len(values) - int(found[-1])
        if self._last is values.texts:
            self._pending[-1][1][:] += found[:-1]
        else:
            self._add(values.texts.values, found[:-1])
            self._last = values.texts

    def merge(self, other: "Counts") -> None:
        """Adds another's counts."""
        other.compact()
        self.missing += other.missing
        self.total += other.total
        self.exact &= other.exact
        self._add(other._texts, other._counts)

    def compact(self) -> None:
        """Every text once."""
        if self._pending:
            every = pa.concat_arrays([self._texts, *(texts for texts, _ in self._pending)])
            counts = np.concatenate([self._counts, *(counts for _, counts in self._pending)])
            used = np.flatnonzero(counts)
            coded = pc.dictionary_encode(every.take(pa.array(used)))
            self._texts = coded.dictionary
            sums = np.bincount(np.asarray(coded.indices), weights=counts[used], minlength=len(self._texts))
            self._counts = sums.astype(np.int64)  # exact: float64 counts to 2^53
            self._pending, self._last = [], None
        if len(self._texts) > _MAX_COUNTED:
            kept = self._order()[: _MAX_COUNTED // 2]
            self._texts, self._counts = self._texts.take(pa.array(kept)), self._counts[kept]
            self.exact = False

    @property
    def distinct(self) -> int:
        """How many different texts."""
        self.compact()
        return len(self._texts)

    @property
    def values(self) -> dict[str, int]:
        """How often each one occurs."""
        self.compact()
        return dict(zip(self._texts.to_pylist(), self._counts.tolist(), strict=True))

    def top(self, limit: int = MAX_VOCABULARY) -> list[tuple[str, int]]:
        """The most frequent first, ties by text."""
        self.compact()
        first = self._order()[:limit]
        return list(zip(self._texts.take(pa.array(first)).to_pylist(), self._counts[first].tolist(), strict=True))

    def __getstate__(self) -> tuple[Any, ...]:
        """As it is sent to another worker: compact."""
        self.compact()
        return self.missing, self.total, self.exact, self._texts, self._counts

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.missing, self.total, self.exact, self._texts, self._counts = state
        self._pending, self._last = [], None

    def _add(self, texts: Any, counts: NDArray[np.int64]) -> None:
        self._pending.append((texts, counts))
        self._last = None
        if sum(len(counts) for _, counts in self._pending) > max(_PENDING, len(self._counts)):
            self.compact()

    def _order(self) -> NDArray[np.int64]:
        table = pa.table({"text": self._texts, "count": self._counts})
        return np.asarray(pc.sort_indices(table, sort_keys=[("count", "descending"), ("text", "ascending")])).astype(
            int
        )


@dataclasses.dataclass(slots=True)
class Pixels:
    """How often each of the 256 values occurs in each channel: exact, so that order cannot matter."""

    counts: NDArray[np.int64]
    """int64 [channels, 256]."""

    @classmethod
    def of(cls, channels: int) -> "Pixels":
        """Nothing counted yet."""
        return cls(np.zeros((channels, 256), np.int64))

    def update(self, images: NDArray[np.uint8]) -> None:
        """Adds uint8 [n, height, width, channels]."""
        from PIL import Image

        for channel in range(len(self.counts)):
            pixels = np.ascontiguousarray(images[..., channel])
            size = (math.prod(pixels.shape[1:]), len(pixels))
            # Pillow counts five times as fast as np.bincount, which makes each one a 64-bit number first
            counted = Image.frombuffer("L", size, pixels.reshape(-1), "raw", "L", 0, 1).histogram()
            self.counts[channel] += np.array(counted, np.int64)

    def merge(self, other: "Pixels") -> None:
        """Adds another's counts."""
        self.counts = self.counts + other.counts

    def moments(self) -> list[tuple[float, float]]:
        """(mean, standard deviation) of each channel, on 0–255."""
        values = np.arange(256, dtype=np.float64)
        found = []
        for counts in self.counts:
            total = int(counts.sum())
            mean = float((counts * values).sum() / total) if total else 0.0
            variance = float((counts * np.square(values - mean)).sum() / total) if total else 0.0
            found.append((mean, math.sqrt(variance)))
        return found


@dataclasses.dataclass(slots=True)
class Sample:
    """The rows with the smallest priorities: a uniform sample that is the same for every batch size and order."""

    size: int
    priorities: NDArray[np.uint64] = dataclasses.field(default_factory=lambda: np.empty(0, np.uint64))
    items: list[Any] = dataclasses.field(default_factory=list)

    def wanted(self, priorities: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Places of the rows of a batch that could enter, smallest first."""
        places = np.argsort(priorities, kind="stable")[: self.size]
        if len(self.items) == self.size:
            places = places[priorities[places] < self.priorities[-1]]
        return places

    def add(self, priorities: NDArray[np.uint64], items: list[Any]) -> None:
        """Offers rows."""
        joined = np.concatenate([self.priorities, priorities])
        order = np.argsort(joined, kind="stable")[: self.size]
        everything = [*self.items, *items]
        self.priorities, self.items = joined[order], [everything[place] for place in order]

    def merge(self, other: "Sample") -> None:
        """Offers another's rows."""
        self.add(other.priorities, other.items)
