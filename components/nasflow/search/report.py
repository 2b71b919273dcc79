"""``report.html``: what the search found, why that, and what it cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.core.artifacts import Search
from nasflow.core.metrics import maximised
from nasflow.data.tensors import InputSpec
from nasflow.search import (
    report_ancestry,
    report_coordinates,
    report_curves,
    report_failures,
    report_front,
    report_importance,
    report_looks,
    report_progress,
    report_strategy,
    report_supernet,
)
from nasflow.search.record import Record
from nasflow.search.selection import Selection
from nasflow.search.study import Study
from nasflow.spaces.architecture import Architecture, Shape
from nasflow.spaces.drawing import drawing
from nasflow.spaces.operations import measure
from nasflow.strategies._base import Trace

_TABLE = 60
"""Rows of trials at most."""
_ORIGINS = {
    "preset": "preset",
    "earlier": "earlier study",
    "strategy": "suggested",
    "shrunk": "shrunk to fit",
    "supernet": "derived from the supernet",
    "look": "second look",
}
_NOTES = 40
"""Rows of notes at most."""


def report(
    search: Search,
    study: Study,
    selection: Selection,
    inputs: InputSpec,
    rows: Mapping[str, int],
    *,
    traces: Sequence[Trace] = (),
) -> bytes:
    """The page. `rows`: of the train and validation splits; `traces`: what the strategy tells of itself."""
    everything, best = study.ledger.records, selection.order[0]
    records = [record for record in everything if record.look_of is None]
    """Of the search for architectures; second looks have a section of their own."""
    seconds = study.ledger.seconds
    lead = (
        f"{search.strategy} over the {search.space} space: {search.trials.completed} trials trained on "
        f"{rows['train']:,} rows and compared by {study.metric} on {rows['validation']:,}."
    )
    score = f"{study.metric} on validation"
    if search.ranked_by:
        lead = (
            f"{search.strategy} over the {search.space} space: {search.trials.completed} untrained networks ranked by "
            f"{search.ranked_by}, a zero-cost proxy. Nothing was trained, no accuracy is known: the scores say which "
            "network may learn best, on no scale that means anything else."
        )
        score = f"{search.ranked_by} (untrained)"
    facts = {
        score: selection.score(best),
        "trials completed": search.trials.completed,
        "failed": search.trials.failed,
        "infeasible": search.trials.infeasible,
        "known already, not trained": search.trials.same,
        "parameters": best.parameters,
        "FLOPs an example": best.flops,
        "minutes of trials": round(seconds / 60, 2),
        "ended by": search.stopped_by,
    }
    if search.trials.looks:
        facts["of them second looks"] = search.trials.looks
    if study.filter is not None:
        facts[f"left out by {study.filter.by}"] = search.trials.filtered
    if study.ledger.scoring_cpu_seconds:
        facts["CPU seconds of zero-cost scores"] = round(study.ledger.scoring_cpu_seconds, 1)
    if search.hypervolume is not None:
        facts["Hypervolume"] = search.hypervolume
    if (spent := study.budget.spent) is not None:
        facts["money spent"] = round(spent, 2)
    architecture = study.space.architecture(best.values)
    importance, explained = report_importance.explained(records, study)
    important = [gene.name for gene in importance.genes] if importance else [p.name for p in study.parameters]
    sections: list[tuple[str, Markup]] = [
        ("Result", html.facts(facts)),
        ("Why this one", html.paragraph(f"{_sentence(selection.reason)} {_CAUTION}")),
        *report_looks.sections(selection, study.metric),
        *report_progress.sections(records, study, best),
        ("The architecture", drawing(architecture, _DRAWING, inputs=inputs, output=study.output)),
        (
            "Its layers",
            html.folded(f"{len(architecture.nodes)} layers", html.table(*_layers(architecture, inputs, study))),
        ),
        ("Its recipe", html.table(["setting", "value"], _recipe(architecture))),
        *report_ancestry.sections(records, selection.order, study.metric),
        *report_front.sections(search, records),
        *report_curves.sections(records, selection.order, study),
        *report_importance.sections(importance, explained, study),
        *report_coordinates.sections(records, study, important),
        *report_strategy.sections(records, study, traces),
        *report_supernet.sections(study.ledger.preparation, records),
        *report_failures.sections(everything),
        *_predictions(everything, study),
        *_trials(everything, study),
    ]
    if noted := [[record.trial_id, note] for record in everything for note in record.notes]:
        more = (
            [[f"{len(noted) - _NOTES} more", "nasflow trials FOLDER --json has them all"]]
            if len(noted) > _NOTES
            else []
        )
        told = html.table(["trial", "what happened"], [*noted[:_NOTES], *more])
        sections.append(("To be read with care", told))
    return html.page(f"Search: {best.architecture_id}", lead, sections)


_DRAWING = "From the data above to the answer below; each box says the shape that it puts out, for one example."
_CAUTION = (
    "The score ranks candidates; it is no estimate of how the model will do, because the best of many is optimistic. "
    "The held-out test set gives that, in the evaluation."
)


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


def _trials(records: Sequence[Record], study: Study) -> list[tuple[str, Markup]]:
    """The table; of many trials the best only, or it would be most of the page."""
    if len(records) <= _TABLE:
        return [("All trials", html.table(*_table(records, study)))]
    scored = [record for record in records if record.score is not None and record.look_of is None]
    best = sorted(scored, key=lambda r: r.score or 0.0, reverse=maximised(study.metric))[:_TABLE]
    told = html.paragraph(f"Of {len(records)} trials. All of them: nasflow trials FOLDER, on the folder of the run.")
    return [(f"The best {len(best)} trials", told + html.table(*_table(best, study)))]


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
            _from(record),
            *(record.values.get(name) for name in varied),
        ]
        for record in records
    ]
    return [*columns, *varied], rows


def _from(record: Record) -> str:
    if record.look_of is not None:
        return f"trial {record.look_of} once more"
    return " × ".join(record.parents) or _ORIGINS[record.origin]


def _layers(architecture: Architecture, inputs: InputSpec, study: Study) -> tuple[list[str], list[list[Any]]]:
    shapes: dict[str, Shape] = {}
    rows: list[list[Any]] = []
    for node in architecture.nodes:
        measured = measure(node, [shapes[source] for source in node.inputs], inputs, study.output)
        shapes[node.name] = measured.shape
        settings = ", ".join(f"{name} {value}" for name, value in node.settings.items())
        shape = "\u00a0×\u00a0".join(map(str, measured.shape))
        rows.append(
            [node.name, node.op, settings or None, ", ".join(node.inputs) or None, shape, measured.parameters or None]
        )
    return ["layer", "operation", "settings", "takes", "puts out", "parameters"], rows


def _recipe(architecture: Architecture) -> list[list[Any]]:
    recipe = architecture.recipe
    return [[name.replace("_", " "), _plain(getattr(recipe, name))] for name in recipe.__slots__]


def _plain(value: Any) -> Any:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
