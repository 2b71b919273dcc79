"""Where a split by time, or a stratified one, cuts: found by one pass over the keys before anything else is counted.

Both cuts are exact, and a function of the set of rows alone: batches, shards and workers may come in any order.

    time          the newest rows are test, the rows before them validation, all others train; rows of one moment stay
                  together, so that everything in validation is later than everything in train
    stratified    in each class, rows are ordered by priority (`nasflow.preprocess.split`), which is a hash of their
                  content; the first are test, the next validation. Every split gets at least one row of each class
                  that has three different rows. Equal rows of one class are together; where they differ in label,
                  they need not be
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from nasflow.core.errors import DataError
from nasflow.core.spec import SplitSection
from nasflow.data.codes import Codes
from nasflow.preprocess.split import TEST, TRAIN, VALIDATION

_PENDING = 1 << 20
_MAX_CLASSES = 10_000
_EXACT_ROWS = 65_536
"""Different rows of one class up to which its shares are exact. A class with more is cut where a uniform hash expects
its shares to be; at this size they are off by less than 0.2 points (standard deviation)."""


class Cuts(BaseModel):
    """What the survey found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation_from: float | None = None
    """Times from here on are no longer train; None: by another rule."""
    test_from: float | None = None
    """Times from here on are test; None: none are."""
    classes: dict[str, tuple[int, int]] = {}
    """By class, the last priority of test and the last of validation; −1: none."""

    def by_time(self, times: NDArray[np.float64]) -> NDArray[np.int8]:
        """int8 [n]: places in `SPLITS`."""
        places = np.full(len(times), TRAIN, np.int8)
        if self.validation_from is not None:
            places[times >= self.validation_from] = VALIDATION
        if self.test_from is not None:
            places[times >= self.test_from] = TEST
        return places

    def by_class(self, labels: Codes, priorities: NDArray[np.uint64]) -> NDArray[np.int8]:
        """int8 [n]: places in `SPLITS`.

        Raises:
            DataError: a class that the survey did not see.
        """
        classes = labels.each(labels.texts.once(self, self._places, missing=-1))
        if len(classes) and classes.min() < 0:
            raise DataError("data.train changed while it was read: a class came up between two passes; run again")
        places = np.full(len(priorities), TRAIN, np.int8)
        for column, place in ((1, VALIDATION), (0, TEST)):
            limits = [limit[column] for limit in self.classes.values()]
            last = np.array([max(limit, 0) for limit in limits], np.uint64)[classes]
            places[np.array([limit >= 0 for limit in limits], bool)[classes] & (priorities <= last)] = place
        return places

    def _places(self, names: pa.Array) -> NDArray[np.int32]:
        return np.asarray(pc.fill_null(pc.index_in(names, value_set=pa.array(list(self.classes), pa.string())), -1))


@dataclasses.dataclass(slots=True)
class Tally:
    """How often each value occurs. Mergeable; 16 bytes a different value."""

    values: NDArray[np.generic]
    counts: NDArray[np.int64]
    limit: int | None = None
    """Only so many of the smallest values are kept."""
    complete: bool = True
    """Whether no value was left out."""
    settled: int = 0
    """Values after the last `compact`."""

    @classmethod
    def of(cls, values: NDArray[np.generic], limit: int | None = None) -> "Tally":
        """Each value once."""
        return cls(values, np.ones(len(values), np.int64), limit)

    def merge(self, other: "Tally") -> None:
        """Adds another's."""
        self.values = np.concatenate([self.values, other.values])
        self.counts = np.concatenate([self.counts, other.counts])
        self.complete &= other.complete
        if len(self.values) > 2 * max(self.settled, self.limit or _PENDING):
            self.compact()

    def compact(self) -> None:
        """Every value once, in order."""
        order = np.argsort(self.values)  # np.unique with its inverse takes four times as long
        values = self.values[order]
        starts = np.flatnonzero(np.append(True, values[1:] != values[:-1])) if len(values) else np.empty(0, np.int64)
        values, counts = values[starts], np.add.reduceat(self.counts[order], starts) if len(starts) else self.counts
        if self.limit is not None and len(values) > self.limit:
            values, counts, self.complete = values[: self.limit], counts[: self.limit], False
        self.values, self.counts, self.settled = values, counts, len(values)


@dataclasses.dataclass(slots=True)
class Survey:
    """Mergeable: all times, or the first priorities of each class."""

    times: Tally = dataclasses.field(default_factory=lambda: Tally.of(np.empty(0, np.float64)))
    classes: dict[str, Tally] = dataclasses.field(default_factory=dict)

    def add_times(self, times: NDArray[np.float64]) -> None:
        """Adds float64 [n]."""
        self.times.merge(Tally.of(times))

    def add_classes(self, labels: Codes, priorities: NDArray[np.uint64]) -> None:
        """Adds class names [n] and uint64 [n]."""
        order = np.argsort(labels.indices, kind="stable")
        starts = np.searchsorted(labels.indices[order], np.arange(len(labels.texts) + 1))
        for place, name in enumerate(labels.texts.values.to_pylist()):
            ranks = priorities[order[starts[place] : starts[place + 1]]]
            if len(ranks):
                self.merge(Survey(classes={name: Tally.of(ranks, _EXACT_ROWS)}))

    def merge(self, other: "Survey") -> None:
        """Adds another's.

        Raises:
            DataError: the label has too many values for classes.
        """
        self.times.merge(other.times)
        for name, tally in other.classes.items():
            if name in self.classes:
                self.classes[name].merge(tally)
            else:
                self.classes[name] = tally
        if len(self.classes) > _MAX_CLASSES:
            raise DataError(
                f"data.label: more than {_MAX_CLASSES:,} different values such as {min(self.classes)!r}, too many to "
                "stratify by; set data.split.by: hash, or name another label"
            )

    def cuts(self, split: SplitSection, *, has_test_file: bool) -> Cuts:
        """The cuts that give each split its share."""
        test = 0.0 if has_test_file else split.test
        if split.by == "time":
            return _time_cuts(self.times, split.validation, test)
        return Cuts(classes=_class_cuts(self.classes, split.validation, test))


def _time_cuts(times: Tally, validation: float, test: float) -> Cuts:
    times.compact()
    newest, counts = times.values[::-1], np.cumsum(times.counts[::-1])
    rows = int(counts[-1]) if len(counts) else 0
    tested = _reach(counts, test, rows, taken=0)
    held = _reach(counts, validation, rows, taken=tested)
    return Cuts(
        validation_from=float(newest[tested + held - 1]) if held else None,
        test_from=float(newest[tested - 1]) if tested else None,
    )


def _class_cuts(classes: Mapping[str, Tally], validation: float, test: float) -> dict[str, tuple[int, int]]:
    limits: dict[str, tuple[int, int]] = {}
    for name, tally in sorted(classes.items()):
        tally.compact()
        if not tally.complete:
            limits[name] = (int(test * 2**64) - 1, int((test + validation) * 2**64) - 1)
            continue
        counts = np.cumsum(tally.counts)
        different, rows = len(counts), int(counts[-1])
        kept_back = 1 + (validation > 0 and different > 2)
        tested = min(_reach(counts, test, rows, taken=0), max(0, different - kept_back))
        held = min(_reach(counts, validation, rows, taken=tested), different - tested - 1)
        ranks = [-1, *(int(rank) for rank in tally.values[: tested + held])]
        limits[name] = (ranks[tested], ranks[tested + held])
    return limits


def _reach(counts: NDArray[np.int64], share: float, rows: int, *, taken: int) -> int:
    """How many values after the first `taken` hold that share of the rows, and at least one row; `counts` add up."""
    if share <= 0 or taken >= len(counts):
        return 0
    before = int(counts[taken - 1]) if taken else 0
    wanted = before + max(1, round(share * rows))
    return min(int(np.searchsorted(counts, wanted)) + 1, len(counts)) - taken
