"""The texts' part of the Dataset's report."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.core.artifacts import SPLITS
from nasflow.data.schema import Schema
from nasflow.data.transform import TransformSpec
from nasflow.preprocess.inspection import LABEL, PROSE
from nasflow.preprocess.quality import Quality
from nasflow.preprocess.summary import Summary

_TOKENS, _EXAMPLES, _SHOWN = 15, 8, 160


def text_sections(
    schema: Schema, transform: TransformSpec, summary: Summary, quality: Quality, anchors: Mapping[str, str]
) -> list[tuple[str, Markup]]:
    """One for each text column."""
    marks = {name: Markup('<span id="{}"></span>').format(anchor) for name, anchor in anchors.items()}
    return [
        (f"Text: {column.name}", marks[column.name] + _column(column, schema, summary, quality))
        for column in transform.text
    ]


def _column(transform: Any, schema: Schema, summary: Summary, quality: Quality) -> Markup:
    name, splits = transform.name, summary.texts[transform.name]
    about = next(column for column in schema.columns if column.name == name)
    rows: list[Sequence[Any]] = [
        [
            split,
            one.rows,
            one.empty,
            one.tokens,
            one.length(0.5),
            one.length(0.98),
            one.length(1.0),
            f"{one.unknown:.2%}",
            "–" if one.psi is None else f"{one.psi:.3f}",
        ]
        for split, one in ((split, splits[split]) for split in SPLITS)
    ]
    head = ["split", "rows", "without words", "tokens", "half have up to", "98 %", "longest", "unknown", "drift"]
    body = html.table(head, rows)
    hashed = f", {transform.buckets:,} places for others by hash" if transform.buckets else ""
    body += html.paragraph(
        f"Kind: {about.reason} ({about.confidence:.0%} sure). The model sees the first {transform.length} tokens of "
        f"each text and a vocabulary of {len(transform.vocabulary):,}{hashed}. Unknown: outside of the vocabulary. "
        "Drift: population stability index over the 30 most frequent tokens (from 0.1 moderate, from 0.25 large)."
    )
    body += html.table(
        ["most frequent tokens", *SPLITS],
        [
            [place + 1, *(_token(splits[split].top, place, splits[split].tokens) for split in SPLITS)]
            for place in range(_TOKENS)
        ],
    )
    frame = quality.frames.get("train")
    if frame is not None and PROSE + name in frame.column_names:
        texts, labels = frame.column(PROSE + name).slice(0, _EXAMPLES), frame.column(LABEL).slice(0, _EXAMPLES)
        pairs = zip(labels.to_pylist(), texts.to_pylist(), strict=True)
        body += html.table(
            [schema.label.name, "training rows, drawn at random"], [[y, (x or "")[:_SHOWN]] for y, x in pairs]
        )
    return body


def _token(top: Sequence[tuple[str, int]], place: int, total: int) -> str:
    return f"{top[place][0]} {top[place][1] / total:.1%}" if place < len(top) else ""
