"""An architecture as a picture: a box for each operation, from the inputs above to the output below."""

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.spaces.architecture import Architecture, Node

_STEP = 0.62
_WIDTH = 2.6
_HIDDEN = {"layer", "name"}
_MOST_SETTINGS = 4


def drawing(architecture: Architecture, caption: str) -> Markup:
    """Inline SVG. A node is as deep as its longest way from an input; those of one depth stand side by side."""
    from matplotlib.figure import Figure

    places = positions(architecture)
    rows = 1 + max(row for _, row in places.values())
    width = 1 + max(abs(column) for column, _ in places.values()) * 2
    figure = Figure(figsize=(max(5.0, _WIDTH * width), max(1.5, _STEP * rows)))
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(-width / 2, width / 2)
    axes.set_ylim(rows - 0.4, -0.6)
    for node in architecture.nodes:
        column, row = places[node.name]
        for source in node.inputs:
            start = places[source]
            bend = 0.0 if abs(column - start[0]) < 1e-9 and row - start[1] == 1 else 0.25
            axes.annotate(
                "",
                xy=(column, row - 0.3),
                xytext=(start[0], start[1] + 0.3),
                arrowprops={"arrowstyle": "-|>", "color": "#5c6675", "connectionstyle": f"arc3,rad={bend}"},
            )
        axes.text(
            column,
            row,
            label(node).replace("$", r"\$"),
            ha="center",
            va="center",
            fontsize=9,
            color="#1c2430",
            bbox={"boxstyle": "round,pad=0.35", "facecolor": _colour(node.op), "edgecolor": "#b8c2cd"},
        )
    return html.picture(figure, caption)


def positions(architecture: Architecture) -> dict[str, tuple[float, int]]:
    """(column, row) of each node by name; columns are centred on 0.

    >>> nodes = (Node(name="x", op="input", inputs=()), Node(name="a", op="dense", inputs=("x",)),
    ...          Node(name="b", op="dense", inputs=("x",)), Node(name="y", op="add", inputs=("a", "b")))
    >>> positions(Architecture(nodes=nodes))
    {'x': (0.0, 0), 'a': (-0.5, 1), 'b': (0.5, 1), 'y': (0.0, 2)}
    """
    rows: dict[str, int] = {}
    for node in architecture.nodes:
        rows[node.name] = 1 + max((rows[source] for source in node.inputs), default=-1)
    places: dict[str, tuple[float, int]] = {}
    for row in range(1 + max(rows.values())):
        beside = [name for name, depth in rows.items() if depth == row]
        for place, name in enumerate(beside):
            places[name] = (place - (len(beside) - 1) / 2, row)
    return places


def label(node: Node) -> str:
    """The operation and its first few settings.

    >>> label(Node(name="a", op="conv", inputs=(), settings={"filters": 32, "kernel": 3, "bias": None}))
    'conv  filters 32, kernel 3'
    """
    shown = {name: value for name, value in node.settings.items() if name not in _HIDDEN and value is not None}
    parts = [f"{name} {_short(value)}" for name, value in list(shown.items())[:_MOST_SETTINGS]]
    return node.op + ("  " + ", ".join(parts) if parts else "")


def _short(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    if isinstance(value, list | tuple | Mapping) and len(str(value)) > 24:
        return f"[{len(value)}]"
    return f"{value!s:.24}"


def _colour(op: str) -> str:
    if op in ("input", "output"):
        return "#e8edf3"
    if "conv" in op:
        return "#dbeafe"
    if "dense" in op or "linear" in op:
        return "#dcfce7"
    return "#fff7e6" if "pool" in op else "#ffffff"
