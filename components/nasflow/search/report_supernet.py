"""The report's part about a supernet: how its softmaxes moved, and the cells that they mean."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.search.record import Prepared, Record

_MOST_PANELS = 24
_COLUMNS = 4
_COLOURS = ("#2563b0", "#d97706", "#2a9d8f", "#8e6bbf", "#c0392b", "#7a8b2f", "#5fa8d3", "#6c757d")
_SHOWN = 8


def sections(prepared: Prepared, records: Sequence[Record]) -> list[tuple[str, Markup]]:
    """Heading and body; none where no supernet was trained. `records`: all trials."""
    if not prepared.ended:
        return []
    content = prepared.content
    told = html.paragraph(
        f"The supernet was trained for {prepared.epochs or len(content['history'])} epochs on two halves of the "
        f"training rows ({prepared.seconds:,.0f} s, no trial of the budget), its weights on one, its softmaxes on the "
        "other. What the softmaxes think is no score: the cells below were trained from scratch as trials."
    )
    notes = [note for note in [content["message"], *content["notes"]] if note]
    body = told + Markup("").join(html.paragraph(f"{note[:1].upper()}{note[1:]}.") for note in notes)
    if any(entry["judged"] is not None for entry in content["history"]):
        caption = (
            "Probability of each operation after each epoch, an edge a panel; the dotted line ends the warm-up, in "
            "which only the weights learned."
        )
        body += html.picture(_paths(content["softmaxes"], content["history"]), caption)
    if content["derived"]:
        body += html.table(*_cells(content["derived"], records))
    return [("What the supernet learned", body)]


def _paths(softmaxes: Mapping[str, Sequence[str]], history: Sequence[Mapping[str, Any]]) -> Any:
    from matplotlib.figure import Figure

    names = list(softmaxes)[:_MOST_PANELS]
    rows = -(-len(names) // _COLUMNS)
    figure = Figure(figsize=(8.5, 1.7 * rows + 0.6))
    epochs = [entry["number"] for entry in history]
    warm_up = next(entry["number"] for entry in history if entry["judged"] is not None) - 0.5
    every = list(dict.fromkeys(arm for arms in softmaxes.values() for arm in arms))
    colours = {arm: _COLOURS[place % len(_COLOURS)] for place, arm in enumerate(every)}
    lines: dict[str, Any] = {}
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(rows, _COLUMNS, place)
        axes.spines[["top", "right"]].set_visible(False)
        for arm, label in enumerate(softmaxes[name]):
            path = [entry["probabilities"][name][arm] for entry in history]
            (line,) = axes.plot(epochs, path, color=colours[label], linewidth=1.3)
            lines.setdefault(label, line)
        axes.axvline(warm_up, color="#9aa3af", linestyle=":", linewidth=0.8)
        axes.set_ylim(0, 1)
        axes.set_title(name, fontsize=8)
        axes.tick_params(labelsize=6)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.4 / (1.7 * rows + 0.6)))
    figure.legend(lines.values(), lines.keys(), loc="upper center", ncols=min(6, len(lines)), frameon=False, fontsize=8)
    return figure


def _cells(derived: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> tuple[list[str], list[list[Any]]]:
    """The likeliest cells, and the first trial that has each."""
    names = list(derived[0]["values"])
    rows: list[list[Any]] = []
    for place, cell in enumerate(derived[:_SHOWN], start=1):
        mine = [r for r in records if r.score is not None and cell["values"].items() <= r.values.items()]
        first = mine[0] if mine else None
        rows.append(
            [
                place,
                cell["log_probability"],
                first.trial_id if first else None,
                first.score if first else None,
                *(cell["values"].get(name) for name in names),
            ]
        )
    return ["rank", "log-probability", "first trial", "its score", *names], rows
