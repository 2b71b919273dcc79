"""The report's answer to: which choices mattered, and what did each of them do?"""

import collections
import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.core.metrics import maximised
from nasflow.search.importance import ENOUGH, Effect, Gene, Importance, importance
from nasflow.search.record import Record
from nasflow.search.study import Study
from nasflow.search.trials import rung
from nasflow.spaces.parameters import Parameter

_LISTED = 15
_DRAWN = 6
_PAIRS = 5
_NOTABLE = 0.01
"""Shares below this are not shown for pairs."""
_WORTH_READING = 0.1
_BLUE, _BAND = "#2563b0", "#c9d9ee"


def explained(records: Sequence[Record], study: Study) -> tuple[Importance | None, list[Record]]:
    """The importance of the genes, and the trials that it was worked out from: those that were given the number of
    epochs that most were, because a longer training is no merit of a gene."""
    scored = [record for record in records if record.status == "completed" and record.score is not None]
    given = collections.Counter(rung(record) or study.epochs for record in scored)
    usual = max(given, key=lambda epochs: (given[epochs], epochs), default=0)
    chosen = [record for record in scored if (rung(record) or study.epochs) == usual]
    scores = [record.score for record in chosen if record.score is not None]
    points = [record.values for record in chosen]
    return importance(study.parameters, points, scores, maximise=maximised(study.metric)), chosen


def sections(found: Importance | None, chosen: Sequence[Record], study: Study) -> list[tuple[str, Markup]]:
    """What `explained` found, as sections of the page."""
    if found is None:
        told = html.paragraph(
            f"Needs {ENOUGH} completed trials of the same number of epochs, with different scores; there are "
            f"{len(chosen)}."
        )
        return [("Which choices matter", told)]
    given = rung(chosen[0]) or study.epochs
    caution = "" if found.explained >= _WORTH_READING else " That is next to nothing: do not read much into the shares."
    lead = html.paragraph(
        f"How much of the variance of {study.metric} over the whole space each choice explains alone, by functional "
        f"ANOVA over a random forest (Hutter et al. 2014) of the {found.trials} trials that were given {given} epochs; "
        "± is the standard deviation over its trees. What is missing to 100 % is explained by choices together, or is "
        f"noise. On trials that they have not seen the trees explain {found.explained:.0%} of the variance.{caution} "
        "A strategy's trials are no random sample: where it has hardly been, the trees guess, and ± is large."
    )
    parts = lead + html.table(*_table(found))
    if pairs := [pair for pair in found.pairs[:_PAIRS] if pair.share >= _NOTABLE]:
        rows = [[" and ".join(pair.names), _share(pair.share, pair.deviation)] for pair in pairs]
        parts += html.table(["two choices together, beyond each alone", "share of variance"], rows)
    by_name = {parameter.name: parameter for parameter in study.parameters}
    shown = [gene for gene in found.genes[:_DRAWN] if gene.share > 0]
    body: list[tuple[str, Markup]] = [("Which choices matter", parts)]
    if shown:
        figure = _effects(shown, by_name, study.metric)
        body.append(("What each choice does", html.picture(figure, _EFFECTS)))
    return body


_EFFECTS = (
    "The mean score by the value of one choice, over all values of the others, where it is active; bars and bands hold "
    "90 % of the trees. Below a value: how many trials had it. A mean, not an optimum: the best trial may combine "
    "values that do badly elsewhere."
)


def _table(found: Importance) -> tuple[list[str], list[list[Any]]]:
    seldom = any(gene.active < 0.999 for gene in found.genes[:_LISTED])
    columns = [
        "choice",
        "share of variance",
        "among the better half",
        *(["active in", "share there"] if seldom else []),
    ]
    rows = []
    for gene in found.genes[:_LISTED]:
        more = [f"{gene.active:.0%} of points", f"{gene.where_active:.1%}"] if gene.active < 0.999 else ["always", None]
        rows.append([gene.name, _share(gene.share, gene.deviation), f"{gene.top_half:.1%}", *(more if seldom else [])])
    if (left := len(found.genes) - _LISTED) > 0:
        rest = sum(gene.share for gene in found.genes[_LISTED:])
        rows.append([f"{left} others", f"{rest:.1%}", None, *([None, None] if seldom else [])])
    return columns, rows


def _share(share: float, deviation: float) -> str:
    return f"{share:.1%}\u00a0±\u00a0{deviation:.1%}"


def _effects(genes: Sequence[Gene], by_name: dict[str, Parameter], metric: str) -> Any:
    """A panel a gene, three in a row, on one scale of the score."""
    from matplotlib.figure import Figure

    columns = min(3, len(genes))
    lines = math.ceil(len(genes) / columns)
    figure = Figure(figsize=(8.5, 2.5 * lines))
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for place, axes in enumerate(panels):
        axes.spines[["top", "right"]].set_visible(False)
        if place >= len(genes):
            axes.set_axis_off()
            continue
        gene = genes[place]
        axes.grid(visible=True, axis="y", color="#e5e9ee", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_title(f"{gene.name}  {gene.share:.0%}", fontsize=9, loc="left", color="#1c2430")
        axes.tick_params(labelsize=7.5)
        if gene.effect.trials:
            _bars(axes, gene.effect)
        else:
            _band(axes, gene.effect, log=bool(getattr(by_name[gene.name], "log", False)))
        if place % columns == 0:
            axes.set_ylabel(metric, fontsize=8)
    figure.tight_layout(h_pad=1.2, w_pad=0.8)
    return figure


def _bars(axes: Any, effect: Effect) -> None:
    places = range(len(effect.values))
    below = [mean - low for mean, low in zip(effect.means, effect.low, strict=True)]
    above = [high - mean for mean, high in zip(effect.means, effect.high, strict=True)]
    many = len(effect.values) > 8
    axes.errorbar(
        places,
        effect.means,
        yerr=[[max(0.0, b) for b in below], [max(0.0, a) for a in above]],
        fmt="o",
        color=_BLUE,
        ecolor=_BAND,
        elinewidth=5,
        markersize=4.5,
    )
    axes.set_xlim(-0.6, len(effect.values) - 0.4)
    if many:
        every = math.ceil(len(effect.values) / 8)
        axes.set_xticks(places[::every], [_label(value) for value in effect.values[::every]])
        return
    crowded = sum(len(_label(value)) for value in effect.values) > 30
    between = " " if crowded else "\n"
    labels = [f"{_label(value)}{between}({count})" for value, count in zip(effect.values, effect.trials, strict=True)]
    axes.set_xticks(list(places), labels, rotation=35 if crowded else 0, ha="right" if crowded else "center")


def _band(axes: Any, effect: Effect, *, log: bool) -> None:
    axes.fill_between(effect.values, effect.low, effect.high, color=_BAND, linewidth=0)
    axes.plot(effect.values, effect.means, color=_BLUE, linewidth=1.6)
    if log:
        axes.set_xscale("log")
        from matplotlib.ticker import NullFormatter

        axes.xaxis.set_minor_formatter(NullFormatter())


def _label(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 14 else f"{text[:13]}…"
