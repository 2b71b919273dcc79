"""Columns that number or name the rows: a model can learn them by heart, and the next row has another value.

Text that is different in *every* row is ignored from the start (see `nasflow.preprocess.plan`); here are those that
only the whole training split shows, and that only resemble one.
"""

from collections.abc import Mapping

import numpy as np

from nasflow.preprocess.findings import Finding
from nasflow.preprocess.plan import Plan
from nasflow.preprocess.quality import Quality, values
from nasflow.preprocess.summary import Summary

_LEAST_ROWS = 100
"""Fewer say nothing."""
_DISTINCT = 0.9
"""Share of the rows with a value of their own: exact duplicates of rows leave an identifier a few less."""
_DENSE = 2.0
"""Whole numbers that count rows fill at least half of their range, whatever share of the rows the split took; amounts
and codes do not."""
_TELLING = 0.6
"""Cross-validated AUC (R² for numbers: any above 0.05) from which an identifier says something about the label."""


def find(plan: Plan, summary: Summary, quality: Quality) -> dict[str, str]:
    """By column, why it looks like an identifier."""
    kinds = {column.name: column.kind for column in plan.columns}
    found = {}
    for name, texts in summary.categorical.items():
        share = texts.distinct / max(1, texts.count)
        if kinds.get(name) == "categorical" and texts.count >= _LEAST_ROWS and texts.exact and share >= _DISTINCT:
            found[name] = f"{texts.distinct:,} different texts in {texts.count:,} training rows"
    train = quality.frames.get("train")
    for name, numbers in summary.numeric.items():
        if numbers.count < _LEAST_ROWS or numbers.min is None or numbers.max is None or name not in quality.bins:
            continue
        distinct, reach = summary.distinct[name].distinct, numbers.max - numbers.min + 1
        if kinds.get(name) == "datetime" or distinct < _DISTINCT * numbers.count or reach > _DENSE * numbers.count:
            continue
        sample = values(train, name)
        sample = sample[np.isfinite(sample)]
        if len(sample) and (sample == np.rint(sample)).all():
            found[name] = (
                f"{distinct:,} different whole numbers from {numbers.min:g} to {numbers.max:g} in "
                f"{numbers.count:,} training rows: it counts them"
            )
    return found


def findings(found: Mapping[str, str], quality: Quality, *, dropped: bool) -> list[Finding]:
    """One for each column that looks like an identifier, and was not hidden for another reason."""
    return [_finding(name, reason, quality, dropped=dropped) for name, reason in found.items()]


def _finding(name: str, reason: str, quality: Quality, *, dropped: bool) -> Finding:
    alone = quality.alone.get(name, 0.0)
    telling = alone >= _TELLING if quality.task != "tabular_regression" else alone >= 0.05
    order = " It even predicts the label: the rows are in an order that a model will not meet again." if telling else ""
    return Finding(
        severity="note" if dropped else "serious" if telling else "warning",
        kind="identifier",
        column=name,
        text=f"Column {name!r} looks like an identifier: {reason}.{order}",
        numbers={"alone": round(alone, 6)},
        remedy="It was hidden from the model."
        if dropped
        else "Hide it: a model can learn it by heart, and new rows have other values.",
        switch="" if dropped else "data.optimise.drop_identifiers: true",
    )
