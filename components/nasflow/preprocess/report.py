"""The Dataset's report: a self-contained page."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.core.artifacts import SPLITS
from nasflow.data.schema import Schema
from nasflow.data.transform import TransformSpec
from nasflow.preprocess import pictures
from nasflow.preprocess.dead_letters import DeadLetters, by_count
from nasflow.preprocess.spec import PreprocessSpec
from nasflow.preprocess.summary import Summary

_SHOWN_LETTERS = 20
_SHOWN_TEXTS = 3


def render(
    spec: PreprocessSpec,
    *,
    schema: Schema,
    transform: TransformSpec,
    summary: Summary,
    facts: Mapping[str, Any],
    dead: DeadLetters,
) -> bytes:
    """UTF-8 HTML."""
    rows = facts["rows"]
    lead = f"What nasflow found in {spec.data.train}, and how it becomes tensors for {spec.task.replace('_', ' ')}."
    sections: list[tuple[str, Markup]] = [("Rows", _facts(schema, transform, rows))]
    sections.append(("Findings", _list(facts["findings"] or ["Nothing out of the ordinary."])))
    sections.append((f"Label: {schema.label.name}", _label(schema, summary)))
    if schema.image is None:
        sections.append(("Features", _features(summary, schema)))
    else:
        sections.append(("Images", _images(schema, transform, summary)))
    if schema.ignored:
        sections.append(("Ignored columns", html.table(["column", "why"], list(schema.ignored.items()))))
    if dead.total:
        sections.append(("Dead letters", _dead(dead)))
    return html.page("Dataset", lead, sections)


def _facts(schema: Schema, transform: TransformSpec, rows: Mapping[str, int]) -> Markup:
    inputs = transform.inputs
    shown: dict[str, Any] = {split: rows[split] for split in SPLITS} | {"unusable": rows["dead"]}
    if inputs.image is not None:
        shown["image"] = "×".join(map(str, inputs.image))
    else:
        shown |= {"numeric columns": len(transform.numeric), "text columns": len(transform.categorical)}
    if schema.label.classes is not None:
        shown["classes"] = len(schema.label.classes)
    return html.facts(shown)


def _label(schema: Schema, summary: Summary) -> Markup:
    if schema.label.classes is None:
        columns = ["split", "rows", "mean", "std", "min", "max"]
        targets = [(split, found) for split, found in summary.targets.items() if found.count]
        return html.table(columns, [[split, t.count, t.mean, t.std, t.min, t.max] for split, t in targets])
    figure = pictures.class_balance(schema.label.classes, summary)
    return html.picture(figure, "Share of each class in each split. Equal bars: the split kept the balance.")


def _features(summary: Summary, schema: Schema) -> Markup:
    body = Markup("")
    names = [name for name in summary.numeric if name not in schema.ignored]
    if names:
        body += html.picture(
            pictures.histograms(names, summary),
            "Numeric columns, from a sample of the training rows, cut at their 0.5 and 99.5 percentiles.",
        )
        columns = ["numeric column", "values", "missing", "infinite", "mean", "std", "min", "max"]
        found = [(name, summary.numeric[name]) for name in names]
        body += html.table(
            columns, [[n, f.count, f.missing, f.non_finite, f.mean, f.std, f.min, f.max] for n, f in found]
        )
    texts = [(name, found) for name, found in summary.categorical.items() if name not in schema.ignored]
    if texts:
        rows = []
        for name, column in texts:
            frequent = ", ".join(f"{text[:40]} ({count:,})" for text, count in column.top[:_SHOWN_TEXTS])
            rows.append([name, column.count, column.missing, column.distinct, frequent])
        body += html.table(["text column", "values", "missing", "different", "most frequent"], rows)
    return body


def _images(schema: Schema, transform: TransformSpec, summary: Summary) -> Markup:
    body = Markup("")
    if summary.pictures:
        body += html.picture(pictures.examples(summary), "Training images, drawn at random, as the model sees them.")
    if summary.image is not None:
        rows = [[f"channel {place + 1}", *pair] for place, pair in enumerate(_pairs(summary))]
        body += html.table(["of all training pixels, 0–255", "mean", "std"], rows)
    return body


def _pairs(summary: Summary) -> list[tuple[float, float]]:
    return list(zip(summary.image.mean, summary.image.std, strict=True)) if summary.image else []


def _dead(dead: DeadLetters) -> Markup:
    body = html.table(["reason", "rows"], by_count(dead.counts))
    shown = [[x.file, x.row, x.column, x.value[:80], x.reason] for x in dead.letters[:_SHOWN_LETTERS]]
    return body + html.table(["file", "row", "column", "value", "reason"], shown)


def _list(items: list[str]) -> Markup:
    return Markup("<ul>{}</ul>").format(Markup("").join(Markup("<li>{}</li>").format(item) for item in items))
