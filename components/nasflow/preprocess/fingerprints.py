"""How often each row occurs, and whether its equals have another label: mergeable, of bounded memory."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

_MAX_FINGERPRINTS = 1_000_000

_PENDING_ROWS = 250_000

_LABEL_SHIFT, _ONE = np.uint64(33), np.uint32(1)


@dataclasses.dataclass(slots=True)
class Fingerprints:
    """How often each row occurs. Memory is bounded: when there are too many distinct rows, only those below a falling
    threshold are kept (a uniform sample of the distinct rows), and counts are scaled up."""

    shift: int = 0
    """Kept are fingerprints whose upper `shift` bits are 0."""
    rows: NDArray[np.uint64] = dataclasses.field(default_factory=lambda: np.empty(0, np.uint64))
    """Fingerprints, each once, ascending."""
    counts: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))

    labels: NDArray[np.uint32] = dataclasses.field(default_factory=lambda: np.empty(0, np.uint32))
    """31 bits of each row's label (of the smallest, where the same features have several), shifted left by one; the
    lowest bit is 1 where they have several."""

    _pending: list[tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.uint32]]] = dataclasses.field(
        default_factory=list
    )
    """What came since the last `compact`."""

    def update(self, fingerprints: NDArray[np.uint64], labels: NDArray[np.uint64] | None = None) -> None:
        """Adds uint64 [n], with bits of their labels [n]."""
        bits = np.zeros(len(fingerprints), np.uint32) if labels is None else (labels >> _LABEL_SHIFT).astype(np.uint32)
        if self.shift:
            kept = fingerprints <= self._limit()
            fingerprints, bits = fingerprints[kept], bits[kept]
        self._add(fingerprints, np.ones(len(fingerprints), np.int64), bits << _ONE)

    def merge(self, other: "Fingerprints") -> None:
        """Joins another's."""
        other.compact()
        self.shift = max(self.shift, other.shift)
        self._add(other.rows, other.counts, other.labels)

    def compact(self) -> None:
        """Every kept fingerprint once, sorted."""
        if not self._pending and (not len(self.rows) or self.rows[-1] <= self._limit()):
            return
        parts = [(self.rows, self.counts, self.labels), *self._pending]
        self._pending = []
        rows, counts, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
        if self.shift:
            kept = rows <= self._limit()
            rows, counts, labels = rows[kept], counts[kept], labels[kept]
        order = np.argsort(rows)
        rows, counts, labels = rows[order], counts[order], labels[order]
        new = np.append(True, rows[1:] != rows[:-1]) if len(rows) else np.empty(0, bool)
        if not new.all():
            starts = np.flatnonzero(new)
            rows, counts = rows[starts], np.add.reduceat(counts, starts)
            several = np.bitwise_or.reduceat(labels & _ONE, starts)
            low, high = np.minimum.reduceat(labels, starts), np.maximum.reduceat(labels, starts)
            labels = (low & ~_ONE) | several | ((low ^ high) > _ONE)
        while len(rows) > _MAX_FINGERPRINTS:
            self.shift += 1
            rows = rows[: np.searchsorted(rows, self._limit(), side="right")]
        self.rows, self.counts, self.labels = rows, counts[: len(rows)], labels[: len(rows)]

    def _add(self, rows: NDArray[np.uint64], counts: NDArray[np.int64], labels: NDArray[np.uint32]) -> None:
        self._pending.append((rows, counts, labels))
        if sum(len(rows) for rows, _, _ in self._pending) > max(_PENDING_ROWS, len(self.rows) // 2):
            self.compact()

    def conflicting(self) -> int:
        """Rows whose equals do not all have one label (estimated where `shift` > 0)."""
        self.compact()
        return int(self.counts[(self.labels & _ONE) > 0].sum()) << self.shift

    def duplicates(self) -> int:
        """Rows that have an equal one before them (estimated where `shift` > 0)."""
        self.compact()
        return int((self.counts - 1).sum()) << self.shift

    def shared(self, other: "Fingerprints") -> int:
        """Rows of these that the other has, too."""
        shift = self.shift = other.shift = max(self.shift, other.shift)
        self.compact()
        other.compact()
        if not len(other.rows):
            return 0
        places = np.minimum(np.searchsorted(other.rows, self.rows), len(other.rows) - 1)
        return int(self.counts[other.rows[places] == self.rows].sum()) << shift

    def _limit(self) -> np.uint64:
        return np.uint64((1 << (64 - self.shift)) - 1)
