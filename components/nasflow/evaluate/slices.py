"""Where the model is weak: the objective on parts of the test rows."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.bootstrap import weighted
from nasflow.core.metrics import maximised
from nasflow.core.spec import Kind, Metric
from nasflow.data.dates import iso_text
from nasflow.data.schema import LIST_SEPARATOR

Array = NDArray[Any]

LEAST_ROWS = 20
"""Fewer rows say too little."""
_MOST_TEXTS = 6
_THIRDS = (1 / 3, 2 / 3)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One part."""

    what: str
    """``column = value``, ``column ≤ 3``, ``label = cat``."""
    rows: int
    value: float
    """The objective on these rows."""


def slices(
    metric: Metric,
    labels: Array,
    predictions: Array,
    *,
    columns: Mapping[str, Array],
    classes: Sequence[str] | None,
    weights: Array | None = None,
    kinds: Mapping[str, Kind] | None = None,
) -> list[Slice]:
    """The weakest first. Parts of fewer than 20 rows, and those where the objective has no value, are left out.

    Args:
        metric: the objective.
        labels: class ids int32 [rows], or targets float64 [rows].
        predictions: probabilities [rows, classes], or targets [rows].
        columns: raw features by name: float64 [rows] with NaN, or object[str] [rows]; others are skipped.
        classes: names by id; None for regression. A class is a part, too, where the metric has a value on it alone.
        weights: how much each row counts; None: all alike.
        kinds: of the columns: dates are shown as such, and the members of lists are parts.
    """
    found = []
    for what, rows in _parts(columns, labels, classes, kinds or {}):
        if int(rows.sum()) < LEAST_ROWS or rows.all():
            continue
        value = weighted(metric, labels[rows], predictions[rows], None if weights is None else weights[rows])
        if np.isfinite(value):
            found.append(Slice(what=what, rows=int(rows.sum()), value=float(value)))
    return sorted(found, key=lambda part: part.value if maximised(metric) else -part.value)


def _parts(
    columns: Mapping[str, Array], labels: Array, classes: Sequence[str] | None, kinds: Mapping[str, Kind]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for place, name in enumerate(classes or ()):
        yield f"label = {name}", labels == place
    for name, values in columns.items():
        if values.ndim != 1 or not len(values):
            continue
        kind = kinds.get(name)
        if kind == "list":
            yield from _members(name, values)
        elif values.dtype == object:
            yield from _texts(name, values)
        elif values.dtype.kind == "f":
            yield from _numbers(name, values, _day if kind == "datetime" else "{:g}".format)


def _day(seconds: float) -> str:
    return (iso_text(seconds) or "?")[:10]


def _members(name: str, values: Array) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    rows = [frozenset(text.split(LIST_SEPARATOR)) if text else frozenset() for text in values.tolist()]
    counts = Counter(member for row in rows for member in row)
    for member, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_TEXTS]:
        yield f"{name} has {member}", np.array([member in row for row in rows])
    yield f"{name} is empty", np.array([not row for row in rows])


def _texts(name: str, values: Array) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    texts, counts = np.unique(values.astype(str), return_counts=True)
    for place in np.argsort(-counts, kind="stable")[:_MOST_TEXTS]:
        yield f"{name} = {texts[place] or 'missing'}", values.astype(str) == texts[place]


def _numbers(name: str, values: Array, shown: Callable[[float], str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    finite = np.isfinite(values)
    if not finite.all():
        yield f"{name} is missing", ~finite
    if not finite.any():
        return
    low, high = np.quantile(values[finite], _THIRDS)
    if low == high:
        return
    yield f"{name} ≤ {shown(low)}", finite & (values <= low)
    yield f"{shown(low)} < {name} ≤ {shown(high)}", finite & (values > low) & (values <= high)
    yield f"{name} > {shown(high)}", finite & (values > high)
