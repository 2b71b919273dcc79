"""Where the model is weak: the objective on parts of the test rows."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.bootstrap import weighted
from nasflow.core.metrics import maximised
from nasflow.core.spec import Metric

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
) -> list[Slice]:
    """The weakest first. Parts of fewer than 20 rows, and those where the objective has no value, are left out.

    Args:
        metric: the objective.
        labels: class ids int32 [rows], or targets float64 [rows].
        predictions: probabilities [rows, classes], or targets [rows].
        columns: raw features by name: float64 [rows] with NaN, or object[str] [rows]; others are skipped.
        weights: of the rows, float64 [rows]; None: all alike.
        classes: names by id; None for regression. A class is a part, too, where the metric has a value on it alone.
    """
    found = []
    for what, rows in _parts(columns, labels, classes):
        if int(rows.sum()) < LEAST_ROWS or rows.all():
            continue
        value = weighted(metric, labels[rows], predictions[rows], None if weights is None else weights[rows])
        if np.isfinite(value):
            found.append(Slice(what=what, rows=int(rows.sum()), value=float(value)))
    return sorted(found, key=lambda part: part.value if maximised(metric) else -part.value)


def _parts(
    columns: Mapping[str, Array], labels: Array, classes: Sequence[str] | None
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for place, name in enumerate(classes or ()):
        yield f"label = {name}", labels == place
    for name, values in columns.items():
        if values.ndim != 1 or not len(values):
            continue
        if values.dtype == object:
            yield from _texts(name, values)
        elif values.dtype.kind == "f":
            yield from _numbers(name, values)


def _texts(name: str, values: Array) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    texts, counts = np.unique(values.astype(str), return_counts=True)
    for place in np.argsort(-counts, kind="stable")[:_MOST_TEXTS]:
        yield f"{name} = {texts[place] or 'missing'}", values.astype(str) == texts[place]


def _numbers(name: str, values: Array) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    finite = np.isfinite(values)
    if not finite.all():
        yield f"{name} is missing", ~finite
    if not finite.any():
        return
    low, high = np.quantile(values[finite], _THIRDS)
    if low == high:
        return
    yield f"{name} ≤ {low:g}", finite & (values <= low)
    yield f"{low:g} < {name} ≤ {high:g}", finite & (values > low) & (values <= high)
    yield f"{name} > {high:g}", finite & (values > high)
