"""``statistics.json`` and the findings: what a person should know about the data before trusting a model of it."""

from collections.abc import Mapping
from typing import Any

from nasflow.core.artifacts import SPLITS
from nasflow.data.schema import Schema
from nasflow.preprocess.dead_letters import DeadLetters, by_count
from nasflow.preprocess.plan import Plan
from nasflow.preprocess.summary import NumericSummary, Summary

_TOP = 20
_IMBALANCE = 10.0
_MISSING_SHARE = 0.2
_FEW_ROWS = 10


def describe(
    plan: Plan, schema: Schema, summary: Summary, dead: DeadLetters, rows: Mapping[str, int]
) -> dict[str, Any]:
    """Numbers of the training split, label distributions of all splits, and findings. JSON-safe."""
    columns: dict[str, Any] = {name: _numeric(found) for name, found in summary.numeric.items()}
    for name, values in summary.distinct.items():
        columns[name] |= {"distinct": values.distinct, "exact": values.exact}
    for name, texts in summary.categorical.items():
        columns[name] = {
            "kind": "categorical",
            "count": texts.count,
            "missing": texts.missing,
            "distinct": texts.distinct,
            "exact": texts.exact,
            "top": dict(texts.top[:_TOP]),
        }
    if summary.image is not None:
        columns[plan.columns[0].name] = {
            "kind": "image",
            "count": rows["train"],
            "mean": list(summary.image.mean),
            "std": list(summary.image.std),
        }
    label: dict[str, Any] = {split: _numeric(found) for split, found in summary.targets.items()}
    if schema.label.classes is not None:
        label = {
            split: {name: summary.classes[split].get(name, 0) for name in schema.label.classes} for split in SPLITS
        }
    return {
        "rows": dict(rows),
        "columns": columns,
        "label": label,
        "ignored": schema.ignored,
        "duplicates": summary.duplicates.model_dump(),
        "dead": dict(by_count(dead.counts)),
        "findings": findings(plan, schema, summary, dead),
    }


def findings(plan: Plan, schema: Schema, summary: Summary, dead: DeadLetters) -> list[str]:
    """One sentence each, the weightiest first."""
    found = []
    if dead.total:
        reasons = ", ".join(f"{count:,} × {reason}" for reason, count in by_count(dead.counts))
        found.append(f"{dead.total:,} rows could not be used: {reasons}.")
    found += _duplicates(summary)
    found += _classes(schema, summary)
    found += [f"Column {name!r} is ignored: {reason}." for name, reason in schema.ignored.items()]
    found += [f"Column {note}." for note in plan.notes]
    for name, column in summary.numeric.items():
        if name in schema.ignored:
            continue
        found += _missing(name, column.missing, column.count + column.missing + column.non_finite)
        if column.non_finite:
            found.append(f"Column {name!r} has {column.non_finite:,} infinite values; they count as missing.")
    for name, texts in summary.categorical.items():
        if name in schema.ignored:
            continue
        found += _missing(name, texts.missing, texts.count + texts.missing)
        if texts.distinct > len(texts.top) or not texts.exact:
            found.append(
                f"Column {name!r} has {'more than ' * (not texts.exact)}{texts.distinct:,} different texts; the "
                f"{len(texts.top):,} most frequent are the vocabulary, the others count as unknown."
            )
    return found


def _duplicates(summary: Summary) -> list[str]:
    found, about = [], "" if summary.duplicates.exact else "about "
    if count := summary.duplicates.train_source:
        found.append(
            f"{about.capitalize()}{count:,} rows repeat the features of another row; equal rows are in the same split."
        )
    if count := summary.duplicates.test_in_train:
        found.append(
            f"{about.capitalize()}{count:,} rows of the test file are in the training file, too: the test score will "
            "be too good."
        )
    return found


def _classes(schema: Schema, summary: Summary) -> list[str]:
    if schema.label.classes is None:
        return []
    found = []
    counts = {name: summary.classes["train"].get(name, 0) for name in schema.label.classes}
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[least] and counts[most] / counts[least] >= _IMBALANCE:
        found.append(
            f"Classes are unbalanced: {most!r} has {counts[most]:,} training rows, {least!r} {counts[least]:,}; "
            "consider f1_macro as the objective."
        )
    for split in SPLITS:
        lacking = [name for name in schema.label.classes if not summary.classes[split].get(name, 0)]
        if lacking:
            found.append(f"The {split} split has no row of class {', '.join(map(repr, lacking[:_FEW_ROWS]))}.")
    return found


def _missing(name: str, missing: int, rows: int) -> list[str]:
    if rows and missing / rows >= _MISSING_SHARE:
        return [f"Column {name!r} is missing in {missing / rows:.0%} of the training rows."]
    return []


def _numeric(found: NumericSummary) -> dict[str, Any]:
    return {"kind": "numeric", **found.model_dump()}
