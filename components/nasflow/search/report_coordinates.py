"""Parallel coordinates (Inselberg 1985): every trial a line through its choices and its score. An inline SVG by hand:
500 lines weigh about 60 kB, a sixth of matplotlib's."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from nasflow.core import html
from nasflow.core.metrics import maximised
from nasflow.search.record import Record
from nasflow.search.study import Study
from nasflow.spaces.parameters import Choice, Integer, Parameter

_WIDTH, _HEIGHT, _TOP, _BOTTOM = 1000, 400, 56, 336
_IDLE = 372
"""Where lines pass that do not have a choice."""
_LEFT, _RIGHT = 40, 900
_AXES = 9
_JITTER = 0.34
"""Of the way to the neighbouring value: lines of one value spread, so that their number is seen."""
_COLOURS = ("#d5dde8", "#b7c9e0", "#86a9d4", "#2563b0", "#d97706")
"""From the worst fifth to the best tenth."""
_BOUNDS = (0.25, 0.5, 0.75, 0.9)

_CAPTION = (
    "Each line is a completed trial, from its choices to its score; the best tenth is orange, then the darker the "
    "better. A line runs below an axis where the trial does not have that choice; lines of one value are spread a "
    "little. Point at one to see its trial."
)


def sections(records: Sequence[Record], study: Study, order: Sequence[str]) -> list[tuple[str, Markup]]:
    """The picture. `order`: names of genes, the most important first; nothing where fewer than five trials completed,
    or only one choice was made."""
    scored = [record for record in records if record.status == "completed" and record.score is not None]
    by_name = {parameter.name: parameter for parameter in study.parameters}
    varied = [n for n in order if len({record.values.get(n) for record in scored}) > 1]
    if len(scored) < 5 or len(varied) < 2:
        return []
    chosen = {name: by_name[name] for name in sorted(varied[:_AXES], key=list(by_name).index)}
    left = len(varied) - len(chosen)
    more = f" The {len(chosen)} most important choices of {len(varied)}." if left else ""
    svg = drawing(scored, chosen, metric=study.metric)
    return [("All choices at once", html.figure_of(svg, _CAPTION + more))]


def drawing(records: Sequence[Record], parameters: Mapping[str, Parameter], *, metric: str) -> Markup:
    """The SVG. `records` have scores."""
    ranked = sorted(records, key=lambda record: record.score or 0.0, reverse=not maximised(metric))
    scores = [record.score or 0.0 for record in records]
    low, high = min(scores), max(scores)
    gap = (_RIGHT - _LEFT) / len(parameters)
    xs = [_LEFT + gap * place for place in range(len(parameters) + 1)]
    lines = []
    for place, record in enumerate(ranked):
        share = place / max(1, len(ranked) - 1)
        group = sum(share >= bound for bound in _BOUNDS)
        spread = ((place * 0.618034) % 1 - 0.5) * _JITTER
        ys = [_y(parameter, record.values.get(name), spread) for name, parameter in parameters.items()]
        ys.append(_scaled((record.score or 0.0) - low, high - low))
        points = " ".join(f"{x:.0f},{y:.0f}" for x, y in zip(xs, ys, strict=True))
        told = f"{record.trial_id}: {record.score:.5g}"
        lines.append(
            Markup('<polyline class="c{}" points="{}"><title>{}</title></polyline>').format(group, points, told)
        )
    axes = [
        _axis(x, name, parameters[name], place) for place, (x, name) in enumerate(zip(xs, parameters, strict=False))
    ]
    axes.append(_score_axis(xs[-1], metric, low, high, place=len(parameters)))
    styles = "".join(f".pc .c{i}{{stroke:{colour}}}" for i, colour in enumerate(_COLOURS))
    return Markup(
        '<svg class="pc" viewBox="0 0 {} {}" width="{}" xmlns="http://www.w3.org/2000/svg" role="img" '
        'aria-label="parallel coordinates"><style>.pc polyline{{fill:none;stroke-width:1.2;stroke-opacity:.7}}'
        ".pc .c4{{stroke-width:1.8;stroke-opacity:.95}}"
        ".pc polyline:hover{{stroke:#1c2430;stroke-width:3;stroke-opacity:1}}"
        ".pc line{{stroke:#5c6675}}.pc text{{font:11px sans-serif;fill:#1c2430;paint-order:stroke;stroke:#fff;"
        "stroke-width:3px;stroke-linejoin:round}}.pc .t{{font-weight:600;text-anchor:middle}}{}</style>{}{}</svg>"
    ).format(_WIDTH, _HEIGHT, _WIDTH, Markup(styles), Markup("").join(lines), Markup("").join(axes))  # noqa: S704  # ours


def _y(parameter: Parameter, value: Any, spread: float) -> float:
    if value is None:
        return _IDLE + 20 * spread
    step = 1 / max(1, (parameter.count or 1) - 1) if isinstance(parameter, Choice) else 0.0
    return _scaled(_unit(parameter, value) + step * spread, 1.0)


def _unit(parameter: Parameter, value: Any) -> float:
    """A place in [0, 1]; a whole number's own place, not the middle of its share."""
    if isinstance(parameter, Integer) and parameter.high > parameter.low:
        if parameter.log:
            return math.log(value / parameter.low) / math.log(parameter.high / parameter.low)
        return float((value - parameter.low) / (parameter.high - parameter.low))
    return parameter.unit(value)


def _scaled(part: float, whole: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * (part / whole if whole > 0 else 0.5)


def _axis(x: float, name: str, parameter: Parameter, place: int) -> Markup:
    if isinstance(parameter, Choice):
        every = math.ceil(len(parameter.values) / 12)
        ticks = [(_unit(parameter, value), value) for value in parameter.values[::every]]
    else:
        values: list[Any] = [parameter.low, parameter.at(0.5), parameter.high]
        ticks = [(_unit(parameter, value), value) for value in dict.fromkeys(values)]
    marks = Markup("").join(_tick(x, _scaled(unit, 1.0), _short(value)) for unit, value in ticks)
    idle = Markup("") if parameter.when is None else _tick(x, _IDLE, "–")
    return _head(x, name, place) + marks + idle


def _score_axis(x: float, metric: str, low: float, high: float, place: int) -> Markup:
    values = [low, (low + high) / 2, high] if high > low else [low]
    marks = (_tick(x, _scaled(value - low, high - low), f"{value:.4g}") for value in values)
    return _head(x, metric, place) + Markup("").join(marks)


def _head(x: float, name: str, place: int) -> Markup:
    """The line and its name; names of neighbours stand at two heights, so that they do not meet."""
    text = name if len(name) <= 26 else f"{name[:12]}…{name[-13:]}"
    return Markup(
        '<line x1="{0:.0f}" x2="{0:.0f}" y1="{1}" y2="{2}"/><text class="t" x="{3:.0f}" y="{4}">{5}</text>'
    ).format(x, _TOP - 6, _BOTTOM + 6, max(x, 4 + 3.2 * len(text)), 18 if place % 2 else 36, escape(text))


def _tick(x: float, y: float, text: str) -> Markup:
    return Markup('<text x="{:.0f}" y="{:.0f}">{}</text>').format(x + 5, y + 4, escape(text))


def _short(value: Any) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 12 else f"{text[:11]}…"
