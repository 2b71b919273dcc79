"""The monitor's page."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from nasflow.core import html
from nasflow.data.drift import LARGE, MODERATE, Drift
from nasflow.monitor.reference import Known
from nasflow.monitor.served import Column, Served
from nasflow.monitor.verdict import Verdict

_MOST_PICTURES = 12
_LONGEST = 16


def report(verdict: Verdict, served: Served) -> bytes:
    """A self-contained page: what to act on first, then every column."""
    reference = served.reference
    facts = {
        "alerts": len(verdict.alerts),
        "requests": served.requests,
        "rows looked at": served.rows,
        "requests refused": served.refused,
    }
    sections = [("Result", html.facts(facts)), ("Alerts", _alerts(verdict, served))]
    drifts = sorted((*verdict.predicted, *verdict.compared), key=lambda each: -each.psi)
    pictures = [
        _picture(each, known, column)
        for each in drifts[:_MOST_PICTURES]
        if (known := {**reference.columns, **reference.predictions}[each.column or ""])
        and (column := {**served.columns, **served.predictions}[each.column or ""])
    ]
    if verdict.predicted:
        sections.append(("Predictions", _table(verdict.predicted, served)))
    if verdict.compared:
        sections.append(("Features", _table(verdict.compared, served)))
    if pictures:
        sections.append(("Then and now, what moved most first", Markup("").join(pictures)))
    if served.reasons:
        sections.append(("Refused requests", html.table(["reason", "requests"], served.reasons.most_common(20))))
    if served.others:
        sections.append(("Left out", html.table(["records of", "requests"], served.others.most_common(20))))
    lead = f"{reference.name} version {reference.version}, requests from {served.first or '–'} to {served.last or '–'}"
    return html.page("Monitor", lead, sections)


def _alerts(verdict: Verdict, served: Served) -> Markup:
    texts = [alert.text for alert in verdict.alerts] or ["Nothing to act on."]
    if not verdict.enough:
        texts.append(f"Only {served.rows:,} rows were served: too few to tell whether they have drifted.")
    if served.dropped:
        texts.append(f"The server could not write down {served.dropped:,} requests: its disk was too slow.")
    return Markup("").join(html.paragraph(text) for text in texts)


def _table(drifts: Sequence[Drift], served: Served) -> Markup:
    columns = ["column", "PSI", "", "test", "p", "missing", "unseen", "out of range"]
    rows = []
    for each in sorted(drifts, key=lambda each: -each.psi):
        size = "large" if each.psi >= LARGE else "moderate" if each.psi >= MODERATE else ""
        column = served.columns.get(each.column or "") or served.predictions[each.column or ""]
        shares = [f"{part / max(1, column.rows):.1%}" for part in (column.missing, column.unseen, column.out_of_range)]
        rows.append([each.column, f"{each.psi:.3f}", size, each.test, f"{each.p_value:.2g}", *shares])
    return html.table(columns, rows)


def _picture(each: Drift, known: Known, column: Column) -> Markup:
    from matplotlib.figure import Figure

    labels = bin_labels(known)
    then, now = known.counts / max(1, known.counts.sum()), column.counts / max(1, column.counts.sum())
    used = (then + now) > 0
    places = np.arange(int(used.sum()))
    figure = Figure(figsize=(max(4.0, 0.5 * len(places) + 1.5), 2.6))
    axes = figure.subplots()
    axes.bar(places - 0.2, then[used], 0.4, label="training", color="#94a3b8")
    axes.bar(places + 0.2, now[used], 0.4, label="served", color="#2563eb")
    shown = [label.replace("$", r"\$") for label, wanted in zip(labels, used, strict=True) if wanted]
    axes.set_xticks(places, shown, rotation=45, ha="right", fontsize=8)
    axes.set_ylabel("share of the rows")
    axes.legend(frameon=False, fontsize=8)
    return html.picture(figure, f"{each.column}: population stability index {each.psi:.3f}")


def bin_labels(known: Known) -> list[str]:
    """One a bin, in order; of texts, then ``others``, then ``missing``."""
    if known.bins.texts is not None:
        texts = [text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for text in known.bins.texts]
        return [*texts, "others", "missing"]
    edges = [f"{edge:.4g}" for edge in known.bins.edges]
    if not edges:
        return ["all", "missing"]
    return [f"≤ {edges[0]}", *(f"… {edge}" for edge in edges[1:]), f"> {edges[-1]}", "missing"]
