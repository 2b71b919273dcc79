"""The report's picture of a Pareto search: what is given up of one objective for another."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.core.artifacts import Candidate, Search
from nasflow.search.record import Record

_BLUE, _ORANGE, _GREY = "#2563b0", "#d97706", "#9aa3af"


def sections(search: Search, records: Sequence[Record]) -> list[tuple[str, Markup]]:
    """The set that a Pareto search returns, the knee first."""
    if not search.objectives:
        return []
    rows = [
        [c.trial_id, c.architecture_id[:8], *(_value(c, name) for name in search.objectives)]
        for c in search.candidates
        if c.trial_id in search.front
    ]
    told = html.paragraph(
        "No trial is at least as good as one of these in all objectives and better in one. The first is the knee: the "
        "one that the final training takes."
    )
    picture = html.picture(_trade(search, records), "Each point is a completed trial.")
    return [("Pareto front", told + picture + html.table(["trial", "architecture", *search.objectives], rows))]


def _trade(search: Search, records: Sequence[Record]) -> Any:
    """The first objective against each other one, the front's points joined."""
    from matplotlib.figure import Figure

    first, *others = search.objectives
    figure = Figure(figsize=(8.5, 3.4))
    for place, other in enumerate(others, start=1):
        axes = figure.add_subplot(1, len(others), place)
        axes.spines[["top", "right"]].set_visible(False)
        known = {r.trial_id: {**r.costs, **r.metrics} for r in records if r.status == "completed"}
        shown = {i: (m[other], m[first]) for i, m in known.items() if other in m and first in m}
        front = sorted(shown[trial_id] for trial_id in search.front if trial_id in shown)
        axes.plot(*zip(*shown.values(), strict=True), "o", color=_GREY, markersize=4, label="trial")
        axes.plot(*zip(*front, strict=True), "o-", color=_BLUE, markersize=5, linewidth=1, label="front")
        knee = shown.get(search.candidates[0].trial_id)
        if knee is not None:
            axes.plot(*knee, "o", markersize=11, markerfacecolor="none", color=_ORANGE, label="knee")
        axes.set_xlabel(other)
        axes.set_ylabel(first)
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return figure


def _value(candidate: Candidate, objective: str) -> float | None:
    known = {"parameters": candidate.parameters, "flops": candidate.flops, **candidate.measures}
    return known.get(objective)
