"""Best score over trials, over time and by generation."""

import itertools
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.core.metrics import better
from nasflow.search.record import Record
from nasflow.search.study import Study
from nasflow.search.trials import generations

_ENOUGH = 8
"""Scored trials from which on time and generations are drawn."""
_BLUE, _ORANGE, _GREY, _RED = "#2563b0", "#d97706", "#9aa3af", "#c0392b"
_PROGRESS = (
    "Each point is a trial; the line is the best so far. The dashed line is the best preset: what no search at all "
    "would have given."
)


def sections(records: Sequence[Record], study: Study, chosen: Record) -> list[tuple[str, Markup]]:
    """The pictures. `chosen`: the trial that is returned."""
    body = html.picture(_progress(records, study, chosen), _PROGRESS)
    scored = [record for record in records if record.status == "completed" and record.score is not None]
    if len(scored) >= _ENOUGH:
        born = generations(records)
        bred = max(born[record.trial_id] for record in scored) > 0
        told = "The same over the time that was searched, in the order in which trials ended"
        told += (
            "; and by generation: 0 has no parents, every other is one more than its oldest line of parents. The line "
            "is the best of each."
            if bred
            else "."
        )
        body += html.picture(_time(scored, study, born if bred else None), told)
    return [(f"{study.metric.capitalize()} over trials", body)]


def _best_so_far(scores: Sequence[float], study: Study) -> list[float]:
    found: list[float] = []
    for score in scores:
        found.append(score if not found or better(study.metric, score, found[-1]) else found[-1])
    return found


def _time(scored: Sequence[Record], study: Study, born: dict[str, int] | None) -> Any:
    """`born`: generations by trial; None where there is only one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 2.8))
    panels = figure.subplots(1, 1 if born is None else 2, squeeze=False, sharey=True)[0]
    for axes in panels:
        _tidy(axes)
    known = [record for record in scored if record.ended_seconds is not None]
    if len(known) == len(scored):
        timed = sorted(((r.ended_seconds or 0.0, r.score or 0.0) for r in known), key=lambda each: each[0])
    else:  # an old ledger: as if trials had run one after the other
        ends = itertools.accumulate(record.seconds for record in scored)
        timed = [(end, record.score or 0.0) for end, record in zip(ends, scored, strict=True)]
    scale, unit = (
        (3600, "hours") if timed[-1][0] > 3 * 3600 else (60, "minutes") if timed[-1][0] > 180 else (1, "seconds")
    )
    times, scores = [time / scale for time, _ in timed], [score for _, score in timed]
    panels[0].plot(times, scores, "o", color=_GREY, markersize=3.5)
    panels[0].step(times, _best_so_far(scores, study), where="post", color=_BLUE, linewidth=1.6)
    panels[0].set_xlabel(f"{unit} of searching")
    panels[0].set_ylabel(study.metric)
    if born is not None:
        by_generation: dict[int, list[float]] = {}
        for record in scored:
            by_generation.setdefault(born[record.trial_id], []).append(record.score or 0.0)
        order = sorted(by_generation)
        for generation in order:
            members = by_generation[generation]
            panels[1].plot([generation] * len(members), members, "o", color=_GREY, markersize=3.5)
        best = [_best_so_far(by_generation[generation], study)[-1] for generation in order]
        panels[1].plot(order, best, "o-", color=_BLUE, linewidth=1.6, markersize=4)
        panels[1].xaxis.get_major_locator().set_params(integer=True)
        panels[1].set_xlabel("generation")
    figure.tight_layout()
    return figure


def _tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="y", color="#e5e9ee", linewidth=0.8)
    axes.set_axisbelow(True)


def _progress(records: Sequence[Record], study: Study, chosen: Record) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 3.4))
    axes: Any = figure.add_subplot()
    _tidy(axes)
    trained = [record for record in records if record.status in ("completed", "failed")]
    scored = [(n, r) for n, r in enumerate(trained, start=1) if r.score is not None]
    running = _best_so_far([r.score or 0.0 for _, r in scored], study)
    axes.step([n for n, _ in scored], running, where="post", color=_BLUE, linewidth=1.6, label="best so far")
    for origin, label, colour in (("preset", "preset", _ORANGE), ("", "suggested", _GREY)):
        mine = [(n, r.score) for n, r in scored if (r.origin == "preset") == (origin == "preset")]
        axes.plot([n for n, _ in mine], [s for _, s in mine], "o", color=colour, markersize=5, label=label)
    place = trained.index(chosen) + 1
    axes.plot([place], [chosen.score], "o", markersize=11, markerfacecolor="none", color=_BLUE, label="returned")
    failed = [n for n, record in enumerate(trained, start=1) if record.status == "failed"]
    if failed and scored:
        lowest = min(r.score for _, r in scored if r.score is not None)
        axes.plot(failed, [lowest] * len(failed), "x", color=_RED, markersize=6, label="failed")
    presets = [r.score for _, r in scored if r.origin == "preset" and r.score is not None]
    if presets:
        top = presets[0]
        for score in presets:
            top = score if better(study.metric, score, top) else top
        axes.axhline(top, color=_ORANGE, linestyle="--", linewidth=1, zorder=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("trial")
    axes.set_ylabel(study.metric)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=5, fontsize=9)
    return figure
