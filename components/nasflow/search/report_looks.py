"""The report's section on second looks: what each finalist had when it was trained again."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.search.looked import Looked
from nasflow.search.record import Record
from nasflow.search.selection import Selection

_BLUE, _GREY, _ORANGE = "#2563b0", "#9aa3af", "#d97706"
_TOLD = (
    "The best of many scores is the luckiest of many. So the last trainings of the budget were spent on the best "
    "trials once more, with other seeds, and on the best preset, which the result is held against. They are ordered by "
    "the mean; the spread is the standard deviation between seeds."
)
_CAPTION = (
    "Each row a finalist: the open circle is the score that its trial had, dots are second looks, the bar is the mean."
)


def sections(selection: Selection, metric: str) -> list[tuple[str, Markup]]:
    """Table and picture, in the order of what is returned; nothing where nobody was looked at again."""
    looks = selection.looks
    shown = [record for record in selection.order if record.trial_id in looks]
    if not shown:
        return []
    body = html.paragraph(_TOLD) + html.table(*_table(shown, looks, metric))
    return [("Second looks", body + html.picture(_picture(shown, looks, metric), _CAPTION))]


def _table(shown: Sequence[Record], looks: Mapping[str, Looked], metric: str) -> tuple[list[str], list[list[Any]]]:
    rows: list[list[Any]] = []
    for record in shown:
        looked = looks[record.trial_id]
        again = ", ".join(f"{score:.4f}" for score in looked.scores[1:])
        note = f"{looked.failed} failed: ordered by its first score" if looked.failed else None
        rows.append(
            [
                record.trial_id + (" (preset)" if record.origin == "preset" else ""),
                record.architecture_id[:8],
                record.score,
                again or None,
                looked.mean,
                looked.spread,
                note,
            ]
        )
    return ["trial", "architecture", metric, "again", "mean", "spread", "note"], rows


def _picture(shown: Sequence[Record], looks: Mapping[str, Looked], metric: str) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 0.9 + 0.32 * len(shown)))
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="x", color="#e5e9ee", linewidth=0.8)
    axes.set_axisbelow(True)
    for place, record in enumerate(shown):
        looked = looks[record.trial_id]
        colour = _ORANGE if record.origin == "preset" else _BLUE
        axes.plot(looked.scores[:1], [place], "o", markersize=7, markerfacecolor="none", color=colour)
        axes.plot(looked.scores[1:], [place] * len(looked.scores[1:]), "o", markersize=4, color=_GREY)
        if looked.mean is not None:
            axes.plot([looked.mean], [place], "|", markersize=16, markeredgewidth=2.5, color=colour)
    axes.set_yticks(range(len(shown)), [record.trial_id for record in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)  # the first on top, and room for the marks
    axes.set_xlabel(metric)
    axes.set_ylabel("trial")
    figure.tight_layout()
    return figure
