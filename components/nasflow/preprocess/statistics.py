"""``statistics.json`` and the findings: what a person should know about the data before trusting a model of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from nasflow.core.artifacts import SPLITS
from nasflow.data.schema import Schema
from nasflow.preprocess.dead_letters import DeadLetters, by_count
from nasflow.preprocess.findings import Finding
from nasflow.preprocess.plan import Plan
from nasflow.preprocess.quality import Quality, numbers_of
from nasflow.preprocess.sources._base import IMAGE
from nasflow.preprocess.summary import CategoricalSummary, NumericSummary, Summary
from nasflow.preprocess.text_findings import describe_texts

_TOP = 20


def describe(
    plan: Plan,
    schema: Schema,
    summary: Summary,
    dead: DeadLetters,
    rows: Mapping[str, int],
    *,
    quality: Quality,
    found: Sequence[Finding],
) -> dict[str, Any]:
    """Numbers of the training split, label distributions of all splits, and findings. JSON-safe."""
    kinds: dict[str, str] = {column.name: column.kind for column in plan.columns}
    columns: dict[str, Any] = {name: _numeric(one, kinds[name]) for name, one in summary.numeric.items()}
    for name, values in summary.distinct.items():
        columns[name] |= {"distinct": values.distinct, "exact": values.exact}
    for name, texts in summary.categorical.items():
        columns[name] = {"kind": kinds[name], **_texts(texts)}
    for name, lists in summary.lists.items():
        about = {"rows": lists.rows, "empty": lists.empty, "longest": lists.longest}
        columns[name] = {"kind": "list", **_texts(lists.elements), **about, "missing": lists.empty}
    for name, vectors in summary.vectors.items():
        columns[name] = {"kind": "vector", "count": vectors.rows, "missing": vectors.incomplete}
        columns[name] |= {"mean": vectors.mean, "std": vectors.std}
    columns |= describe_texts(summary)
    if summary.image is not None:
        columns[IMAGE] = {
            "kind": "image",
            "count": rows["train"],
            "mean": list(summary.image.mean),
            "std": list(summary.image.std),
        }
    for name, bins in quality.bins.items():
        if name not in columns:
            continue
        counts = {split: counted.tolist() for split, counted in quality.counts[name].items()}
        columns[name]["bins"] = {"edges": bins.edges, "texts": bins.texts, "counts": counts}
        if name in quality.alone:
            columns[name]["alone"] = round(quality.alone[name], 6)
    for split, compared in quality.drift.items():
        for each in compared:
            if each.column is not None:
                columns[each.column].setdefault("drift", {})[split] = numbers_of(each)
    label: dict[str, Any] = {split: _numeric(one) for split, one in summary.targets.items()}
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
        "findings": [finding.text for finding in found],
        "quality": [finding.model_dump() for finding in found],
    }


def _numeric(found: NumericSummary, kind: str = "numeric") -> dict[str, Any]:
    return {"kind": kind, **found.model_dump()}


def _texts(found: CategoricalSummary) -> dict[str, Any]:
    return {
        "count": found.count,
        "missing": found.missing,
        "distinct": found.distinct,
        "exact": found.exact,
        "top": dict(found.top[:_TOP]),
    }
