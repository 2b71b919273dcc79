"""The Dataset's report: a self-contained page."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.core.artifacts import SPLITS
from nasflow.data.schema import Schema
from nasflow.data.transform import TransformSpec
from nasflow.preprocess import pictures, report_columns, report_findings
from nasflow.preprocess.dead_letters import DeadLetters, by_count
from nasflow.preprocess.quality import Quality
from nasflow.preprocess.report_style import STYLE
from nasflow.preprocess.spec import PreprocessSpec
from nasflow.preprocess.summary import Summary
from nasflow.preprocess.text_report import text_sections

_SHOWN_LETTERS = 20


def render(
    spec: PreprocessSpec,
    *,
    schema: Schema,
    transform: TransformSpec,
    summary: Summary,
    facts: Mapping[str, Any],
    dead: DeadLetters,
    quality: Quality,
) -> bytes:
    """UTF-8 HTML."""
    rows = facts["rows"]
    anchors = report_columns.anchors(schema)
    lead = f"What nasflow found in {spec.data.train}, and how it becomes tensors for {spec.task.replace('_', ' ')}."
    sections: list[tuple[str, Markup]] = [("Findings", STYLE + report_findings.listed(facts["quality"], anchors))]
    sections.append(("Rows", _facts(schema, transform, rows, dead)))
    sections.append((f"Label: {schema.label.name}", _label(schema, summary)))
    if any(column.kind not in ("text", "image") for column in schema.columns):
        sections.append(("Features", report_columns.table(facts, quality, schema, anchors)))
    sections += text_sections(schema, transform, summary, quality, anchors)
    if schema.image is not None:
        sections.append(("Images", _images(schema, transform, summary)))
    if schema.ignored:
        sections.append(("Ignored columns", html.table(["column", "why"], list(schema.ignored.items()))))
    if dead.total:
        sections.append(("Dead letters", _dead(dead)))
    return html.page("Dataset", lead, sections)


def _facts(schema: Schema, transform: TransformSpec, rows: Mapping[str, int], dead: DeadLetters) -> Markup:
    inputs = transform.inputs
    shown: dict[str, Any] = {split: rows[split] for split in SPLITS} | {"unusable": dead.total - dead.dropped}
    if dead.dropped:
        shown["left out (data.optimise)"] = dead.dropped
    if inputs.image is not None:
        shown["image"] = "×".join(map(str, inputs.image))
    columns = {"numeric": transform.numeric, "categorical": transform.categorical, "text": transform.text}
    shown |= {f"{kind} columns": len(found) for kind, found in columns.items() if found}
    if schema.label.classes is not None:
        shown["classes"] = len(schema.label.classes)
    return html.facts(shown)


def _label(schema: Schema, summary: Summary) -> Markup:
    if schema.label.classes is None:
        columns = ["split", "rows", "mean", "std", "min", "max"]
        targets = [(split, found) for split, found in summary.targets.items() if found.count]
        return html.table(columns, [[split, t.count, t.mean, t.std, t.min, t.max] for split, t in targets])
    figure = pictures.class_balance(schema.label.classes, summary)
    return html.figure_of(figure, "Share of each class in each split. Equal bars: the split kept the balance.")


def _images(schema: Schema, transform: TransformSpec, summary: Summary) -> Markup:
    body = Markup("")
    if summary.pictures:
        body += html.figure_of(pictures.examples(summary), "Training images, drawn at random, as the model sees them.")
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
