"""An architecture as a picture: a box for each operation, from the inputs above to the output below.

Norm, activation and dropout stand in the box of the operation that they follow. An edge that skips rows has a place of
its own in each of them, so that it runs beside boxes and not behind them (Sugiyama et al. 1981).
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.architecture import Architecture, Node
from nasflow.spaces.cost import measures
from nasflow.spaces.operations._base import Measure

_ROW_INCHES = 0.86
_BOX_INCHES = 2.9
_BOX_HEIGHT = 0.3
"""Half of it, in rows."""
_LETTERS = 8.5
"""Points."""
_LINE_CHARACTERS = 36
"""So many of these letters go into a box, by trial."""
_PASSING = 0.3
"""Width of a passing edge's place, in boxes."""
_HIDDEN = {"layer", "name", "code", "arguments", "parameters", "multiply_adds"}
_MOST_SETTINGS = 4
_FOLLOWS = frozenset({"batch_norm", "layer_norm", "group_norm", "activation", "dropout", "identity"})
_INK, _QUIET, _EDGE = "#1c2430", "#5c6675", "#8a94a3"


@dataclasses.dataclass(frozen=True, slots=True)
class _Box:
    """An operation and what follows it."""

    nodes: tuple[Node, ...]

    @property
    def name(self) -> str:
        return self.nodes[0].name


def drawing(
    architecture: Architecture, caption: str, *, inputs: InputSpec | None = None, output: OutputSpec | None = None
) -> Markup:
    """Inline SVG. With `inputs` and `output` each box says the shape that it puts out, and its parameters."""
    return html.picture(figure(architecture, inputs=inputs, output=output), caption)


def figure(architecture: Architecture, *, inputs: InputSpec | None = None, output: OutputSpec | None = None) -> Any:
    """The same as a matplotlib Figure.

    Raises:
        ArchitectureError: with `inputs` and `output`: it does not fit them.
    """
    from matplotlib.figure import Figure

    measured = measures(architecture, inputs, output) if inputs is not None and output is not None else {}
    boxes = _boxes(architecture)
    owner = {node.name: box.name for box in boxes for node in box.nodes}
    sources = {box.name: [owner[source] for source in box.nodes[0].inputs] for box in boxes}
    places, ways = _layout(sources)
    columns = [column for column, _ in [*places.values(), *(p for way in ways for p in way)]]
    left, right, rows = min(columns) - 0.55, max(columns) + 0.55, 1 + max(row for _, row in places.values())
    made = Figure(figsize=(max(4.0, _BOX_INCHES * (right - left)), max(1.5, _ROW_INCHES * rows)))
    axes = made.subplots()
    made.subplots_adjust(left=0, right=1, bottom=0, top=1)
    axes.set_axis_off()
    axes.set_xlim(left, right)
    axes.set_ylim(rows - 0.45, -0.55)
    for way in ways:
        _draw_way(axes, way)
    for box in boxes:
        _draw_box(axes, box, places[box.name], measured)
    return made


def _boxes(architecture: Architecture) -> list[_Box]:
    consumers: dict[str, int] = {}
    for node in architecture.nodes:
        for source in node.inputs:
            consumers[source] = consumers.get(source, 0) + 1
    groups: dict[str, list[Node]] = {}
    head: dict[str, str] = {}
    for node in architecture.nodes:
        before = head.get(node.inputs[0]) if len(node.inputs) == 1 else None
        if node.op in _FOLLOWS and before is not None and consumers[node.inputs[0]] == 1 and groups[before][0].inputs:
            groups[before].append(node)
            head[node.name] = before
        else:
            groups[node.name] = [node]
            head[node.name] = node.name
    return [_Box(tuple(nodes)) for nodes in groups.values()]


Place = tuple[float, int]


def _layout(sources: Mapping[str, Sequence[str]]) -> tuple[dict[str, Place], list[list[Place]]]:
    """((column, row) of each box; for each edge the places that it runs through). Boxes come after what feeds them."""
    rows: dict[str, int] = {}
    for name, given in sources.items():
        rows[name] = 1 + max((rows[source] for source in given), default=-1)
    items: list[list[str]] = [[] for _ in range(1 + max(rows.values()))]
    above: dict[str, list[str]] = {}
    chains: list[list[str]] = []
    for name, given in sources.items():
        items[rows[name]].append(name)
        above.setdefault(name, [])
        for number, source in enumerate(given):
            chain = [source]
            for row in range(rows[source] + 1, rows[name]):
                passing = f"\0{source}\0{name}\0{number}\0{row}"
                items[row].append(passing)
                above[passing] = [chain[-1]]
                chain.append(passing)
            above[name].append(chain[-1])
            chains.append([*chain, name])
    columns: dict[str, float] = {}
    for beside in items:
        if len(beside) > 1:
            wanted = {item: _mean([columns[source] for source in above[item]]) for item in beside}
            beside.sort(key=lambda item: (wanted[item], item.startswith("\0")))
        widths = [_PASSING if item.startswith("\0") else 1.0 for item in beside]
        at = -sum(widths) / 2
        for item, width in zip(beside, widths, strict=True):
            columns[item], at = at + width / 2, at + width
        if len(beside) == 1 and above[beside[0]]:
            columns[beside[0]] = 0.0
    row_of = {item: number for number, beside in enumerate(items) for item in beside}
    ways = [[(columns[item], row_of[item]) for item in chain] for chain in chains]
    return {name: (columns[name], rows[name]) for name in sources}, ways


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0


def _draw_way(axes: Any, way: Sequence[Place]) -> None:
    """From the lower edge of one box to the upper edge of another, upright through the places between."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    points = [(way[0][0], way[0][1] + _BOX_HEIGHT)]
    for column, row in way[1:-1]:
        points += [(column, row - _BOX_HEIGHT), (column, row + _BOX_HEIGHT)]
    points.append((way[-1][0], way[-1][1] - _BOX_HEIGHT))
    vertices, codes = [points[0]], [Path.MOVETO]
    for (x, y), (to_x, to_y) in itertools.pairwise(points):
        middle = (y + to_y) / 2
        vertices += [(x, middle), (to_x, middle), (to_x, to_y)]
        codes += [Path.CURVE4] * 3
    axes.add_patch(
        FancyArrowPatch(path=Path(vertices, codes), arrowstyle="-|>", mutation_scale=9, color=_EDGE, linewidth=1.1)
    )


def _draw_box(axes: Any, box: _Box, place: Place, measured: Mapping[str, Measure]) -> None:
    from matplotlib.patches import FancyBboxPatch

    column, row = place
    axes.add_patch(
        FancyBboxPatch(
            (column - 0.44, row - _BOX_HEIGHT),
            0.88,
            2 * _BOX_HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.05",
            mutation_aspect=_BOX_INCHES / _ROW_INCHES,
            facecolor=_colour(box.nodes[0].op),
            edgecolor="#b8c2cd",
        )
    )
    lines = [(label(box.nodes[0]), _LETTERS, _INK)]
    if follows := "  ·  ".join(label(node) for node in box.nodes[1:]):
        lines.append((follows, 7.5, _QUIET))
    if measured:
        shape = " × ".join(map(str, measured[box.nodes[-1].name].shape))
        count = sum(measured[node.name].parameters for node in box.nodes)
        lines.append((f"→ {shape}" + (f"  ·  {count:,} parameters" if count else ""), 7.5, _QUIET))
    for number, (text, size, colour) in enumerate(lines):
        offset = (number - (len(lines) - 1) / 2) * 0.17
        fitting = min(size, _LETTERS * _LINE_CHARACTERS / max(1, len(text)))  # longer ones would run into the next box
        shown = text.replace("$", r"\$")
        axes.text(column, row + offset, shown, ha="center", va="center", fontsize=fitting, color=colour)


def label(node: Node) -> str:
    """The operation and its first few settings.

    >>> label(Node(name="a", op="conv", inputs=(), settings={"filters": 32, "kernel": 3, "bias": None}))
    'conv  3 × 3, filters 32'
    >>> label(Node(name="a", op="activation", inputs=(), settings={"function": "relu"}))
    'relu'
    """
    shown = {name: value for name, value in node.settings.items() if name not in _HIDDEN and value is not None}
    if node.op == "activation":
        return str(shown.get("function", "activation"))
    if node.op == "input":
        return f"input  {shown.get('tensor', '')}"
    parts = []
    one_axis = node.op.endswith("1d") or node.op.startswith("token")
    for key in ("kernel", "size"):
        if key in shown:
            side = shown.pop(key)
            parts.append(f"{side}" if one_axis else f"{side} × {side}")
    for name in ("bias", "stride"):
        if shown.get(name) in (True, False, 1):
            shown.pop(name)
    parts += [f"{name} {_short(value)}" for name, value in list(shown.items())[:_MOST_SETTINGS]]
    return node.op.replace("_", " ") + ("  " + ", ".join(parts) if parts else "")


def _short(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    if isinstance(value, list | tuple | Mapping) and len(str(value)) > 24:
        return f"[{len(value)}]"
    return f"{value!s:.24}"


def _colour(op: str) -> str:
    if op in ("input", "output", "logits"):
        return "#e8edf3"
    if "conv" in op:
        return "#dbeafe"
    if "dense" in op or "gru" in op or "cross" in op:
        return "#dcfce7"
    if "pool" in op or op.startswith("series_"):
        return "#fff7e6"
    return "#fae8ff" if op in ("add", "concat", "multiply") else "#ffffff"
