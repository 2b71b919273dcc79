"""The table of columns: what each looks like in each split, how much is missing, what it predicts, how far it drifts.

One row of a few hundred bytes for each, without a script, so that 500 columns stay a light page.
"""

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.core.artifacts import SPLITS
from nasflow.data.dates import iso_text
from nasflow.data.drift import LARGE, MODERATE, SIGNIFICANT
from nasflow.data.schema import RAW_OF, Column, Kind, Schema
from nasflow.preprocess import sparklines
from nasflow.preprocess.quality import Quality, values

_SHOWN_TEXTS = 3
_TOP_TEXTS = 8
_TEXT_LENGTH = 30


def anchors(schema: Schema) -> dict[str, str]:
    """Ids of the rows, by column."""
    return {column.name: f"c{number}" for number, column in enumerate(schema.columns)}


def table(facts: Mapping[str, Any], quality: Quality, schema: Schema, anchors: Mapping[str, str]) -> Markup:
    """One table row a column: what it looks like in each split, how much is missing, how far it drifts."""
    rows = Markup("").join(
        _row(column, facts["columns"][column.name], quality, anchors[column.name])
        for column in schema.columns
        if column.name in facts["columns"] and column.kind not in ("text", "image")
    )
    sizes = ", ".join(f"{frame.num_rows:,} {split}" for split, frame in quality.frames.items())
    head = ["column", "values", "missing", "predicts", "drift"]
    return (
        sparklines.KEY
        + Markup('<div class="scroll"><table class="columns"><thead><tr><th>{}</th><th></th>').format(head[0])
        + Markup("").join(Markup("<th>{}</th>").format(name) for name in head[1:])
        + Markup("</tr></thead><tbody>{}</tbody></table></div>").format(rows)
        + html.paragraph(
            f"Pictures, missing and drift are of samples ({sizes} rows); numbers beside the pictures are of all "
            "training rows. Pictures are cut at the training rows' 0.5 and 99.5 percentiles. Missing: train / "
            "validation / test. Predicts: cross-validated "
            f"{'R²' if schema.label.classes is None else 'AUC'} of predicting the label from the column alone. Drift: "
            "population stability index of the test rows against the training rows (from 0.1 moderate, from 0.25 "
            "large)."
        )
    )


def _row(about: Column, column: Mapping[str, Any], quality: Quality, anchor: str) -> Markup:
    name = about.name
    numeric = RAW_OF[about.kind] == "number"
    counts = quality.counts.get(name)
    picture = Markup("")
    missing = "–"
    if counts is not None:
        columns = {split: values(frame, name) for split, frame in quality.frames.items()}
        picture = (
            sparklines.histogram(columns) if numeric else sparklines.bars({s: c.tolist() for s, c in counts.items()})
        )
        shares = [counts[split][-1] / max(1, counts[split].sum()) for split in SPLITS if split in counts]
        missing = " / ".join(f"{share:.1%}" for share in shares) if any(shares) else "0"
    drift = column.get("drift", {}).get("test")
    return Markup(
        '<tr id="{}"><td>{}<small>{}</small></td><td>{}</td><td>{}{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n'
    ).format(
        anchor,
        name,
        f"{about.kind}" if about.confidence == 1 else f"{about.kind} ({about.confidence:.0%} sure)",
        picture,
        _numbers(column, about.kind) if numeric else _places(column) if "top" not in column else _texts(column),
        _more(about, name, quality),
        missing,
        f"{column['alone']:.3f}" if "alone" in column else "–",
        _drift(drift),
    )


def _more(about: Column, name: str, quality: Quality) -> Markup:
    """Folded away: the frequent values by split, what was chosen for the column and why."""
    body = _by_split(name, quality) + _decisions(about)
    return Markup("<details><summary>more</summary><div>{}</div></details>").format(body)


def _by_split(name: str, quality: Quality) -> Markup:
    """The values that are most frequent in the training rows, with their share in each split's sample."""
    bins, counts = quality.bins.get(name), quality.counts.get(name)
    if bins is None or counts is None or bins.texts is None:
        return Markup("")
    splits = [split for split in SPLITS if split in counts]
    rows = [
        [text[:_TEXT_LENGTH], *(f"{counts[split][place] / max(1, counts[split].sum()):.1%}" for split in splits)]
        for place, text in enumerate(bins.texts[:_TOP_TEXTS])
    ]
    return html.table(["most frequent", *splits], rows)


def _decisions(about: Column) -> Markup:
    """What was chosen for a column and why."""
    lines: list[tuple[str, str, str, float]] = [("kind", about.kind, about.reason, about.confidence)]
    lines += [(made.about, made.choice, made.reason, made.confidence) for made in about.decisions]
    items = Markup("").join(
        Markup("<li>{}: {} <small>{}{}</small></li>").format(
            what, choice, reason, "" if confidence == 1 else f" ({confidence:.0%} sure)"
        )
        for what, choice, reason, confidence in lines
    )
    return Markup("<ul>{}</ul>").format(items)


def _places(column: Mapping[str, Any]) -> Markup:
    """Vectors."""
    return Markup("{} numbers a row").format(len(column["mean"])) if "mean" in column else Markup("–")


def _numbers(column: Mapping[str, Any], kind: Kind) -> Markup:
    if not column["count"]:
        return Markup("–")
    if kind == "datetime":
        return Markup("{} … {}").format(*(iso_text(column[key]) for key in ("min", "max")))
    return Markup("{} ± {}<small>{} … {}</small>").format(
        *(number(column[key]) for key in ("mean", "std", "min", "max"))
    )


def number(value: float) -> str:
    """Four digits, as people write them.

    >>> number(0.123456), number(53.3812), number(36224.1), number(-5.115e9), number(0.0)
    ('0.1235', '53.38', '36,224', '-5.115e+09', '0')
    """
    size = abs(value)
    return f"{value:,.0f}" if math.isfinite(value) and 1e4 <= size < 1e9 else f"{value:.4g}"


def _texts(column: Mapping[str, Any]) -> Markup:
    total = max(1, column["count"] + column["missing"])
    shown = list(column["top"].items())[:_SHOWN_TEXTS]
    frequent = ", ".join(f"{text[:_TEXT_LENGTH]} {_share(count / total)}" for text, count in shown)
    return Markup("{}<small>{} different</small>").format(frequent, f"{column['distinct']:,}")


def _share(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def _drift(drift: Mapping[str, Any] | None) -> Any:
    if drift is None:
        return "–"
    shown = f"{drift['psi']:.2f}"
    if drift["psi"] < MODERATE or drift["p_value"] >= SIGNIFICANT:
        return shown
    return sparklines.badge(shown, "serious" if drift["psi"] >= LARGE else "warning")
