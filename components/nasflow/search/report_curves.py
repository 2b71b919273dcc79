"""Learning curves: of the best trials, or rung by rung where the strategy gives out epochs."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.core.metrics import better
from nasflow.search.record import Record
from nasflow.search.study import Study
from nasflow.search.trials import rung

_BEST = 8
_MOST_CURVES = 150
"""Of a rung: more would hide each other, and weigh."""
_BLUE = "#2563b0"
_OTHERS = ("#d97706", "#2a9d8f", "#8e6bbf", "#b5838d", "#7a8b2f", "#5fa8d3", "#6c757d")
_RUNGS = ("#b9c6d6", "#7fa6d1", "#2a9d8f", "#d97706", "#c0392b", "#8e6bbf")
_BY_RUNG = (
    "Every trial's curve, coloured by the epochs that the strategy gave it; the thick lines are each rung's median, "
    "the black one is the trial that is returned."
)


def sections(records: Sequence[Record], order: Sequence[Record], study: Study) -> list[tuple[str, Markup]]:
    """The section; `order`: the best first."""
    rungs = by_rung(records, study)
    if len(rungs) < 2:
        return [("Learning curves", html.picture(_best(order, study), "The best trials, epoch by epoch."))]
    table = html.table(["epochs given", "trials", f"best {study.metric}", "median", "went on"], _rows(rungs, study))
    return [("Learning curves by rung", html.picture(_all(rungs, order[0], study), _BY_RUNG) + table)]


def by_rung(records: Sequence[Record], study: Study) -> dict[int, list[Record]]:
    """Trials with a curve, by the epochs that they were given, the fewest first; one rung where the strategy gives out
    none. Those that it does not decide about (presets, in some) were given all."""
    found: dict[int, list[Record]] = {}
    if all(rung(record) is None for record in records):
        return found
    for record in records:
        if record.status == "completed" and _points(record):
            found.setdefault(rung(record) or study.epochs, []).append(record)
    return dict(sorted(found.items()))


def _rows(rungs: Mapping[int, Sequence[Record]], study: Study) -> list[list[Any]]:
    rows: list[list[Any]] = []
    parents = {parent for members in rungs.values() for record in members for parent in record.parents}
    for given, members in rungs.items():
        scores = [record.score for record in members if record.score is not None]
        best = scores[0] if scores else None
        for score in scores[1:]:
            best = score if best is None or better(study.metric, score, best) else best
        went_on = sum(record.trial_id in parents for record in members)
        rows.append([given, len(members), best, statistics.median(scores) if scores else None, went_on or None])
    return rows


def _points(record: Record) -> list[tuple[int, float]]:
    """Of its first training, where it has several: epochs count on from 1."""
    return [(entry["number"], entry["score"]) for entry in record.history if entry.get("score") is not None]


def _all(rungs: Mapping[int, Sequence[Record]], chosen: Record, study: Study) -> Any:
    figure, axes = _figure()
    for place, (given, members) in enumerate(rungs.items()):
        colour = _RUNGS[min(place, len(_RUNGS) - 1)]
        for record in members[:: max(1, len(members) // _MOST_CURVES)]:
            points = _points(record)
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.7, alpha=0.55, marker=_marker(points), ms=2)
        at: dict[int, list[float]] = {}
        for record in members:
            for number, score in _points(record):
                at.setdefault(number, []).append(score)
        middle = [(number, statistics.median(scores)) for number, scores in sorted(at.items())]
        label = f"{given} epoch{'s' * (given != 1)}: {len(members)} trials"
        axes.plot(*zip(*middle, strict=True), color=colour, linewidth=2.6, marker=_marker(middle), label=label)
    if points := _points(chosen):
        axes.plot(*zip(*points, strict=True), color="#1c2430", linewidth=1.8, marker=_marker(points), label="returned")
    _finish(axes, study)
    return figure


def _best(order: Sequence[Record], study: Study) -> Any:
    figure, axes = _figure()
    for place, record in enumerate(order[:_BEST]):
        points = _points(record)
        colour = _BLUE if place == 0 else _OTHERS[(place - 1) % len(_OTHERS)]
        axes.plot(
            [n for n, _ in points],
            [s for _, s in points],
            color=colour,
            linewidth=2.2 if place == 0 else 1.2,
            zorder=3 if place == 0 else 2,
            marker=_marker(points),
            label=f"{record.architecture_id[:8]}{' (preset)' if record.origin == 'preset' else ''}",
        )
    _finish(axes, study)
    return figure


def _marker(points: Sequence[Any]) -> str | None:
    return "o" if len(points) == 1 else None


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 3.2))
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="y", color="#e5e9ee", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _finish(axes: Any, study: Study) -> None:
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel(study.metric)
    axes.legend(frameon=False, fontsize=8, ncols=2)
