"""``report.html``: what the search found, why that, and what it cost."""

import collections
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.core.artifacts import Candidate, Search
from nasflow.core.metrics import better
from nasflow.data.tensors import InputSpec
from nasflow.search.ledger import Record
from nasflow.search.selection import Selection
from nasflow.search.study import Study
from nasflow.spaces.architecture import Architecture, Shape
from nasflow.spaces.drawing import drawing
from nasflow.spaces.operations import measure

_CURVES = 8
_ORIGINS = {"preset": "preset", "earlier": "earlier study", "strategy": "suggested", "shrunk": "shrunk to fit"}
_BLUE, _ORANGE, _GREY, _RED = "#2563b0", "#d97706", "#9aa3af", "#c0392b"
_OTHERS = ("#d97706", "#2a9d8f", "#8e6bbf", "#b5838d", "#7a8b2f", "#5fa8d3", "#6c757d")


def report(search: Search, study: Study, selection: Selection, inputs: InputSpec, rows: Mapping[str, int]) -> bytes:
    """The page. `rows`: of the train and validation splits."""
    records, best = study.ledger.records, selection.order[0]
    seconds = study.ledger.seconds
    lead = (
        f"{search.strategy} over the {search.space} space: {search.trials.completed} trials trained on "
        f"{rows['train']:,} rows and compared by {study.metric} on {rows['validation']:,}."
    )
    facts = {
        f"{study.metric} on validation": best.score,
        "trials completed": search.trials.completed,
        "failed": search.trials.failed,
        "infeasible": search.trials.infeasible,
        "known already, not trained": search.trials.same,
        "parameters": best.parameters,
        "FLOPs an example": best.flops,
        "minutes of trials": round(seconds / 60, 2),
        "ended by": search.stopped_by,
    }
    if search.hypervolume is not None:
        facts["Hypervolume"] = search.hypervolume
    if (spent := study.budget.spent) is not None:
        facts["money spent"] = round(spent, 2)
    architecture = study.space.architecture(best.values)
    sections: list[tuple[str, Markup]] = [
        ("Result", html.facts(facts)),
        ("Why this one", html.paragraph(f"{_sentence(selection.reason)} {_CAUTION}")),
        (f"{study.metric.capitalize()} over trials", html.picture(_progress(records, study, best), _PROGRESS)),
        ("The architecture", drawing(architecture, _DRAWING, inputs=inputs, output=study.output)),
        ("Its layers", html.table(*_layers(architecture, inputs, study))),
        ("Its recipe", html.table(["setting", "value"], _recipe(architecture))),
        ("Learning curves", html.picture(_curves(selection.order, study), "The best trials, epoch by epoch.")),
        *_front(search, records),
        *_predictions(records, study),
        ("All trials", html.table(*_table(records, study))),
    ]
    if unsuccessful := _unsuccessful(records):
        sections.append(("Trials without a score", html.table(["status", "reason", "trials"], unsuccessful)))
    if noted := [[record.trial_id, note] for record in records for note in record.notes]:
        sections.append(("To be read with care", html.table(["trial", "what happened"], noted)))
    return html.page(f"Search: {best.architecture_id}", lead, sections)


_PROGRESS = (
    "Each point is a trial; the line is the best so far. The dashed line is the best preset: what no search at all "
    "would have given."
)
_DRAWING = "From the data above to the answer below; each box says the shape that it puts out, for one example."
_CAUTION = (
    "The score ranks candidates; it is no estimate of how the model will do, because the best of many is optimistic. "
    "The held-out test set gives that, in the evaluation."
)


def _front(search: Search, records: Sequence[Record]) -> list[tuple[str, Markup]]:
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


def _predictions(records: Sequence[Record], study: Study) -> list[tuple[str, Markup]]:
    """How well the cost model foresaw the trials."""
    told = [r for r in records if r.status == "completed" and r.predicted_seconds is not None]
    if not told:
        return []
    model = study.cost_model()
    names = ("million multiply-adds", "thousand activations", "million parameters / batch", "example")
    rows: list[list[Any]] = [[f"ms per {n}", round(c, 5)] for n, c in zip(names, model.coefficients, strict=True)]
    off = sorted(abs((r.predicted_seconds or 0.0) / max(r.seconds, 1e-9) - 1) for r in told)
    rows += [
        ["seconds to start a training", round(model.start_seconds, 2)],
        ["trials foreseen before they started", len(told)],
        ["median error of those forecasts", f"{off[len(off) // 2]:.0%}"],
    ]
    return [("What training costs here", html.table(["", ""], rows))]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _figure(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, height))
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="y", color="#e5e9ee", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _progress(records: Sequence[Record], study: Study, chosen: Record) -> Any:
    figure, axes = _figure(3.4)
    trained = [record for record in records if record.status in ("completed", "failed")]
    scored = [(n, r) for n, r in enumerate(trained, start=1) if r.score is not None]
    running: list[float] = []
    for _, record in scored:
        score = record.score if record.score is not None else float("nan")
        running.append(score if not running or better(study.metric, score, running[-1]) else running[-1])
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
    axes.legend(frameon=False, loc="best", fontsize=9)
    return figure


def _curves(order: Sequence[Record], study: Study) -> Any:
    figure, axes = _figure(3.2)
    for place, record in enumerate(order[:_CURVES]):
        points = [(entry["number"], entry["score"]) for entry in record.history if entry["score"] is not None]
        colour = _BLUE if place == 0 else _OTHERS[(place - 1) % len(_OTHERS)]
        label = f"{record.architecture_id[:8]}{' (preset)' if record.origin == 'preset' else ''}"
        axes.plot(
            [n for n, _ in points],
            [s for _, s in points],
            color=colour,
            linewidth=2.2 if place == 0 else 1.2,
            zorder=3 if place == 0 else 2,
            marker="o" if len(points) == 1 else None,
            label=label,
        )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel(study.metric)
    axes.legend(frameon=False, fontsize=8, ncols=2)
    return figure


def _table(records: Sequence[Record], study: Study) -> tuple[list[str], list[list[Any]]]:
    varied = [
        parameter.name
        for parameter in study.parameters
        if len({record.values.get(parameter.name) for record in records}) > 1
    ]
    columns = ["trial", "architecture", "status", study.metric, "epochs", "seconds", "parameters", "from"]
    rows = [
        [
            record.trial_id,
            record.architecture_id[:8] or None,
            record.status if record.same_as is None else f"same architecture as trial {record.same_as}",
            record.score,
            record.epochs or None,
            round(record.seconds, 1) or None,
            record.parameters or None,
            " × ".join(record.parents) or _ORIGINS[record.origin],
            *(record.values.get(name) for name in varied),
        ]
        for record in records
    ]
    return [*columns, *varied], rows


def _layers(architecture: Architecture, inputs: InputSpec, study: Study) -> tuple[list[str], list[list[Any]]]:
    shapes: dict[str, Shape] = {}
    rows: list[list[Any]] = []
    for node in architecture.nodes:
        measured = measure(node, [shapes[source] for source in node.inputs], inputs, study.output)
        shapes[node.name] = measured.shape
        settings = ", ".join(f"{name} {value}" for name, value in node.settings.items())
        shape = " × ".join(map(str, measured.shape))
        rows.append(
            [node.name, node.op, settings or None, ", ".join(node.inputs) or None, shape, measured.parameters or None]
        )
    return ["layer", "operation", "settings", "takes", "puts out", "parameters"], rows


def _recipe(architecture: Architecture) -> list[list[Any]]:
    recipe = architecture.recipe
    return [[name.replace("_", " "), _plain(getattr(recipe, name))] for name in recipe.__slots__]


def _plain(value: Any) -> Any:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _unsuccessful(records: Sequence[Record]) -> list[list[Any]]:
    """How failures ended: [status, first line of the message, trials], most frequent first."""
    lines = [
        (record.status, next(itertools.chain(record.message.splitlines(), [""]))[:200])
        for record in records
        if record.status in ("failed", "infeasible")
    ]
    return [[status, line, count] for (status, line), count in collections.Counter(lines).most_common(20)]
