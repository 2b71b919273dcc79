"""The strategy's own view of a search: how different its points are, and what it tells of itself."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.search import diversity
from nasflow.search.record import FREE, Record
from nasflow.search.study import Study
from nasflow.strategies._base import Trace

ENOUGH = 8
_WINDOW = 20
_BLUE, _ORANGE = "#2563b0", "#d97706"


def sections(records: Sequence[Record], study: Study, traces: Sequence[Trace]) -> list[tuple[str, Markup]]:
    """Diversity over the trials that were trained, from the eighth on, and the strategy's traces."""
    trained = points_of(records)
    if len(trained) < ENOUGH:
        return []
    window = min(_WINDOW, max(4, len(trained) // 3))
    points, identities = [r.values for r in trained], [r.architecture_id for r in trained]
    spread, distinct = diversity.over_time(study.parameters, points, identities, window=window)
    told = (
        f"Of the last {window} points at each trial: the mean share of choices in which two of them differ, and how "
        "many of them are different architectures. Falling lines: the search has settled on a neighbourhood."
    )
    body = html.picture(_lines(spread, distinct, traces), told)
    body += Markup("").join(html.paragraph(f"{trace.name}: {trace.told}") for trace in traces)
    return [("What the strategy does", body)]


def points_of(records: Sequence[Record]) -> list[Record]:
    """Trials that were trained; one that went on from a shorter trial of the same point is no new point."""
    values = {record.trial_id: record.values for record in records}
    return [
        record
        for record in records
        if record.status not in FREE and all(values.get(parent) != record.values for parent in record.parents)
    ]


def _lines(spread: Sequence[float], distinct: Sequence[float], traces: Sequence[Trace]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 2.8))
    panels = figure.subplots(1, 1 + len(traces), squeeze=False)[0]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, axis="y", color="#e5e9ee", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.xaxis.get_major_locator().set_params(integer=True)
    trials = range(2, 2 + len(spread))
    panels[0].plot(trials, spread, color=_BLUE, linewidth=1.6, label="gene distance")
    panels[0].plot(trials, distinct, color=_ORANGE, linewidth=1.2, label="different architectures")
    panels[0].set_ylim(0, 1.05)
    panels[0].set_xlabel("trial")
    panels[0].legend(frameon=False, fontsize=8)
    for axes, trace in zip(panels[1:], traces, strict=True):
        axes.plot(range(1, 1 + len(trace.values)), trace.values, color=_BLUE, linewidth=1.6)
        axes.set_xlabel("trials that it has learnt from")
        axes.set_title(trace.name, fontsize=9, loc="left", color="#1c2430")
        axes.set_ylim(bottom=min(0.0, *trace.values))
    figure.tight_layout()
    return figure
