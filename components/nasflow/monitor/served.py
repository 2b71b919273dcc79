"""What the request log says, counted: a pass over the records that keeps histograms and no rows."""

import collections
import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.data.histogram import predicted
from nasflow.monitor.reference import Known, Reference
from nasflow.serving.request_log import Record

_MOST_EXAMPLES = 5


@dataclasses.dataclass(slots=True)
class Column:
    """One column of the served rows."""

    counts: NDArray[np.int64]
    rows: int = 0
    missing: int = 0
    out_of_range: int = 0
    unseen: int = 0
    """Texts that the model does not tell apart from each other."""
    examples: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """Some of the unseen texts."""


@dataclasses.dataclass(slots=True)
class Served:
    """All records of one version."""

    reference: Reference
    columns: dict[str, Column] = dataclasses.field(default_factory=dict)
    predictions: dict[str, Column] = dataclasses.field(default_factory=dict)
    requests: int = 0
    """Answered, estimated from the sampled ones."""
    rows: int = 0
    """Looked at."""
    refused: int = 0
    reasons: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    dropped: int = 0
    """Requests that the server could not write down."""
    others: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """Records of other models and versions, by which: left out."""
    first: str = ""
    last: str = ""

    @classmethod
    def of(cls, records: Iterable[Record], reference: Reference, *, since: dt.datetime | None = None) -> "Served":
        """Counts the records of this version (and those that name none) since a time.

        Raises:
            DataError: a record's columns are not those of the model.
        """
        served = cls(reference=reference)
        for record in records:
            if record.model != reference.name or record.version not in ("", str(reference.version)):
                served.others[f"{record.model} version {record.version or '?'}"] += 1
            elif since is None or dt.datetime.fromisoformat(record.time) >= since:
                served.add(record)
        return served

    def add(self, record: Record) -> None:
        """Counts one record."""
        self.first = min(self.first or record.time, record.time)
        self.last = max(self.last, record.time)
        self.dropped += record.dropped
        if record.status != 200:
            self.refused += 1
            self.reasons[_reason(record.error)] += 1
            return
        self.requests += round(1 / record.share) if record.share else 1
        rows = len(record.predictions)
        self.rows += rows
        for name, values in record.columns.items():
            known = self.reference.columns.get(name)
            if known is None:
                continue  # nothing to hold it against: ignored by the model, or an image whose size alone was kept
            if len(values) != rows:
                raise DataError(f"request log: {record.time}: column {name!r} has {len(values)} values for {rows} rows")
            self._count(name, values, known)
        if rows:
            answers = np.asarray(record.predictions, np.float64)
            for name, values in predicted(answers, self.reference.classes).items():
                if name in self.reference.predictions:
                    column = _column(self.predictions, name, self.reference.predictions[name])
                    column.counts += self.reference.predictions[name].bins.count(values)
                    column.rows += rows

    def _count(self, name: str, values: list[Any], known: Known) -> None:
        column = _column(self.columns, name, known)
        column.rows += len(values)
        if known.bins.texts is None:
            numbers = np.array([np.nan if value is None else value for value in values], np.float64)
            column.counts += known.bins.count(numbers)
            finite = numbers[np.isfinite(numbers)]
            column.missing += len(numbers) - len(finite)
            feature = self.reference.features.get(name)
            if feature is not None and feature.low is not None and feature.high is not None:
                column.out_of_range += int(((finite < feature.low) | (finite > feature.high)).sum())
            return
        texts = [None if value in (None, "") else str(value) for value in values]
        column.counts += known.bins.count(pa.array(texts, pa.string()))
        column.missing += texts.count(None)
        vocabulary = self.reference.vocabularies.get(name)
        if vocabulary is not None:
            for text in texts:
                if text is not None and text not in vocabulary:
                    column.unseen += 1
                    if len(column.examples) < _MOST_EXAMPLES or text in column.examples:
                        column.examples[text] += 1


def _column(columns: dict[str, Column], name: str, known: Known) -> Column:
    if name not in columns:
        columns[name] = Column(counts=np.zeros(len(known.counts), np.int64))
    return columns[name]


def _reason(error: str) -> str:
    """Without what differs from one request to the next: the row's number and the value.

    >>> _reason("row 3: column 'age': expected a number or null, got 'x'")
    "column 'age': expected a number or null"
    """
    head, _, rest = error.partition(": ")
    text = rest if head.startswith("row ") and rest else error
    return text.split(", got ")[0][:120] or "unknown"


Columns = Mapping[str, Column]
