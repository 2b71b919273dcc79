"""Dates: which parts say anything, and how each is seen."""

import numpy as np
from numpy.typing import NDArray

from nasflow.core.spec import DateEncoding, DatePart
from nasflow.data.dates import iso_text
from nasflow.data.schema import Decision
from nasflow.data.transforms.dates import CYCLES, DAY_SECONDS, DateNumber, DateTransform, date_parts
from nasflow.preprocess.fitting._base import Facts, Fitted, edges_of, said, scale
from nasflow.preprocess.planned import PlannedColumn

_NUMBERS: tuple[DatePart, ...] = ("elapsed_days", "year")
_MOST_IDS = 31
"""A part of more values is no category, unless that is the only encoding."""


def fit_dates(column: PlannedColumn, facts: Facts) -> Fitted:
    """Parts that are the same in all (sampled) training rows are left out, unless the YAML names them."""
    found = facts.summary.numeric[column.name]
    sample = date_parts(facts.numbers(column.name))
    parts = column.options.parts or tuple(part for part, values in sample.items() if _varies(values))
    encodings: tuple[DateEncoding, ...] = column.options.encodings or ("ids", "cyclical")
    cycles = tuple(part for part in parts if part in CYCLES)
    as_ids = tuple(
        part for part in cycles if "ids" in encodings and (CYCLES[part][1] <= _MOST_IDS or encodings == ("ids",))
    )
    absent = found.missing + found.non_finite
    indicator = column.options.indicator if column.options.indicator is not None else absent > 0
    transform = DateTransform(
        name=column.name,
        numbers=tuple(_number(part, column, facts, sample[part]) for part in _NUMBERS if part in parts),
        ids=as_ids,
        cyclical=cycles if "cyclical" in encodings else (),
        weekend="is_weekend" in parts,
        indicator=indicator,
    )
    span = f"from {iso_text(found.min or 0.0)} to {iso_text(found.max or 0.0)}"
    chosen = ", ".join(parts)
    decisions = (
        said("parts", chosen)
        if column.options.parts
        else Decision(
            about="parts", choice=chosen, reason=f"what differs between the training rows, {span}", confidence=0.9
        ),
        said("encodings", ", ".join(encodings))
        if column.options.encodings
        else Decision(
            about="encodings",
            choice="ids, cyclical",
            reason="what comes round again is seen as a category and as a point of a circle",
            confidence=0.8,
        ),
    )
    return Fitted(transforms={"dates": transform}, decisions=decisions, missing=absent > 0)


def _varies(values: NDArray[np.generic]) -> bool:
    return len(values) > 0 and bool((values != values[0]).any())


def _number(part: DatePart, column: PlannedColumn, facts: Facts, sample: NDArray[np.generic]) -> DateNumber:
    if part == "elapsed_days":
        found = facts.summary.numeric[column.name]
        quantiles = [value / DAY_SECONDS for value in facts.summary.distinct[column.name].quantiles]
        std = scale(column, found.mean, found.std / DAY_SECONDS)
        edges = edges_of(quantiles, rows=found.count)
        return DateNumber(part=part, mean=found.mean / DAY_SECONDS, std=std, edges=edges)
    values = np.asarray(sample, np.float64)
    mean, std = (float(values.mean()), float(values.std())) if len(values) else (1970.0, 1.0)
    edges = edges_of(np.unique(values).tolist(), rows=len(values))
    return DateNumber(part=part, mean=mean, std=std or 1.0, edges=edges)
