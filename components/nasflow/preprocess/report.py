"""The Dataset's report: a self-contained page."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.core.artifacts import SPLITS
from nasflow.data.dates import iso_text
from nasflow.data.drift import LARGE, MODERATE, SIGNIFICANT
from nasflow.data.schema import RAW_OF, Column, Kind, Schema
from nasflow.data.transform import TransformSpec
from nasflow.preprocess import pictures, sparklines
from nasflow.preprocess.dead_letters import DeadLetters, by_count
from nasflow.preprocess.quality import Quality, values
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
    quality: Quality,
) -> bytes:
    """UTF-8 HTML."""
    rows = facts["rows"]
    lead = f"What nasflow found in {spec.data.train}, and how it becomes tensors for {spec.task.replace('_', ' ')}."
    sections: list[tuple[str, Markup]] = [("Findings", sparklines.STYLE + _findings(facts["quality"]))]
    sections.append(("Rows", _facts(schema, transform, rows, dead)))
    sections.append((f"Label: {schema.label.name}", _label(schema, summary)))
    if schema.image is None:
        sections.append(("Features", _features(facts, quality, schema)))
    else:
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


def _features(facts: Mapping[str, Any], quality: Quality, schema: Schema) -> Markup:
    """One table row a column: what it looks like in each split, how much is missing, how far it drifts."""
    rows = Markup("").join(
        _feature(column, facts["columns"][column.name], quality)
        for column in schema.columns
        if column.name in facts["columns"]
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


def _feature(about: Column, column: Mapping[str, Any], quality: Quality) -> Markup:
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
        "<tr><td>{}<small>{}</small>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n"
    ).format(
        name,
        f"{about.kind}" if about.confidence == 1 else f"{about.kind} ({about.confidence:.0%} sure)",
        _decisions(about),
        picture,
        _numbers(column, about.kind) if numeric else _places(column) if "top" not in column else _texts(column),
        missing,
        f"{column['alone']:.3f}" if "alone" in column else "–",
        _drift(drift),
    )


def _decisions(about: Column) -> Markup:
    """What was chosen for a column and why, folded away."""
    lines: list[tuple[str, str, str, float]] = [("kind", about.kind, about.reason, about.confidence)]
    lines += [(made.about, made.choice, made.reason, made.confidence) for made in about.decisions]
    items = Markup("").join(
        Markup("<li>{}: {} <small>{}{}</small></li>").format(
            what, choice, reason, "" if confidence == 1 else f" ({confidence:.0%} sure)"
        )
        for what, choice, reason, confidence in lines
    )
    return Markup("<details><summary>decisions</summary><ul>{}</ul></details>").format(items)


def _places(column: Mapping[str, Any]) -> Markup:
    """Vectors."""
    return Markup("{} numbers a row").format(len(column["mean"])) if "mean" in column else Markup("–")


def _numbers(column: Mapping[str, Any], kind: Kind) -> Markup:
    if not column["count"]:
        return Markup("–")
    if kind == "datetime":
        return Markup("{} … {}").format(*(iso_text(column[key]) for key in ("min", "max")))
    return Markup("{} ± {}<small>{} … {}</small>").format(
        *(f"{column[key]:.4g}" for key in ("mean", "std", "min", "max"))
    )


def _texts(column: Mapping[str, Any]) -> Markup:
    total = max(1, column["count"] + column["missing"])
    shown = list(column["top"].items())[:_SHOWN_TEXTS]
    frequent = ", ".join(f"{text[:30]} {count / total:.0%}" for text, count in shown)
    return Markup("{}<small>{} different</small>").format(frequent, f"{column['distinct']:,}")


def _drift(drift: Mapping[str, Any] | None) -> Any:
    if drift is None:
        return "–"
    shown = f"{drift['psi']:.2f}"
    if drift["psi"] < MODERATE or drift["p_value"] >= SIGNIFICANT:
        return shown
    return sparklines.badge(shown, "serious" if drift["psi"] >= LARGE else "warning")


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


def _findings(found: Sequence[Mapping[str, Any]]) -> Markup:
    """The weightiest first, each with what to do about it."""
    if not found:
        return html.paragraph("Nothing out of the ordinary.")
    items = Markup("")
    for finding in found:
        items += Markup("<dt>{} {}</dt>").format(
            sparklines.badge(finding["severity"], finding["severity"]), finding["text"]
        )
        switch = Markup(" In the YAML: <code>{}</code>.").format(finding["switch"]) if finding["switch"] else ""
        if finding["remedy"] or switch:
            items += Markup("<dd>{}{}</dd>").format(finding["remedy"], switch)
    return Markup('<dl class="findings">{}</dl>').format(items)
