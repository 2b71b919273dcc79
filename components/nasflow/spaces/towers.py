"""From an image, and from the columns of a table, to one vector: towers of `nasflow.spaces.multimodal`."""

from collections.abc import Mapping
from typing import Any

from nasflow.data.tensors import InputSpec
from nasflow.spaces.graph import Graph
from nasflow.spaces.parameters import Choice, Parameter, When

_MOST_STAGES = 4
_ENCODED = 100
"""The preset encodes at most so many numeric columns."""


def shifts(inputs: InputSpec) -> tuple[int, ...]:
    """By how many pixels an image may be shifted."""
    side = min(inputs.image[:2]) if inputs.image else 0
    return (0, *sorted({pixels for pixels in (side // 16, side // 8) if pixels >= 1}))


def image_parameters(inputs: InputSpec, *, prefix: str) -> tuple[Parameter, ...]:
    """Stages of residual convolutions, each ended by pooling, then the mean over all places."""
    stages = tuple(range(1, _stages(inputs) + 1))
    return (
        Choice(name=f"{prefix}width", values=(8, 16, 24, 32, 48)),
        Choice(name=f"{prefix}stages", values=stages),
        Choice(name=f"{prefix}blocks", values=(0, 1, 2)),
        Choice(name=f"{prefix}kernel", values=(3, 5)),
        Choice(name=f"{prefix}pool", values=("max", "avg")),
    )


def image_preset(inputs: InputSpec, *, prefix: str) -> dict[str, Any]:
    """Values of all genes."""
    values = {"width": 24, "stages": min(3, _stages(inputs)), "blocks": 1, "kernel": 3, "pool": "max"}
    return {prefix + name: value for name, value in values.items()}


def write_image(graph: Graph, values: Mapping[str, Any], *, prefix: str) -> str:
    """Adds the tower; (height, width, channels) → (filters,)."""
    kernel, x = values[f"{prefix}kernel"], graph.add("input", tensor="image")
    for stage in range(values[f"{prefix}stages"]):
        filters = values[f"{prefix}width"] << stage
        x = _convolution(graph, x, filters, kernel)
        for _ in range(values[f"{prefix}blocks"]):
            x = graph.add("add", x, _convolution(graph, x, filters, kernel))
        x = graph.add(f"{values[f'{prefix}pool']}_pool", x, size=2)
    return graph.add("global_avg_pool", x)


def _convolution(graph: Graph, x: str, filters: int, kernel: int) -> str:
    x = graph.add("conv", x, filters=filters, kernel=kernel, stride=1, bias=False)
    return graph.add("activation", graph.add("batch_norm", x), function="relu")


def _stages(inputs: InputSpec) -> int:
    """As many as leave two pixels to the last pooling."""
    side = min(inputs.image[:2]) if inputs.image else 0
    return max(1, min(_MOST_STAGES, side.bit_length() - 1))


def table_parameters(inputs: InputSpec, *, prefix: str) -> tuple[Parameter, ...]:
    """Encodings of the columns, as in `mlp`, then dense layers."""
    found: list[Parameter] = []
    if inputs.numeric:
        encodings = ("piecewise", *(["quantile"] if inputs.edges else []))
        encoded = When(parent=f"{prefix}numeric", values=encodings)
        found += [
            Choice(name=f"{prefix}numeric", values=("plain", *encodings)),
            Choice(name=f"{prefix}bins", values=(8, 16, 32, 64), when=encoded),
            Choice(name=f"{prefix}numeric_dim", values=(4, 8, 16), when=encoded),
        ]
    if inputs.discrete:
        found.append(Choice(name=f"{prefix}discrete", values=("off", "on")))
    if inputs.cardinalities or inputs.discrete:
        only = None if inputs.cardinalities else When(parent=f"{prefix}discrete", values=("on",))
        found.append(Choice(name=f"{prefix}embedding", values=(2, 4, 8, 16), when=only))
    return (
        *found,
        Choice(name=f"{prefix}depth", values=(0, 1, 2)),
        Choice(name=f"{prefix}width", values=(32, 64, 128, 256), when=When(parent=f"{prefix}depth", values=(1, 2))),
    )


def table_preset(inputs: InputSpec, *, prefix: str) -> dict[str, Any]:
    """Values of all genes."""
    values = {
        "numeric": "quantile" if inputs.edges and inputs.numeric <= _ENCODED else "plain",
        "bins": 32,
        "numeric_dim": 8,
        "discrete": "on",
        "embedding": 8,
        "depth": 1,
        "width": 64,
    }
    return {prefix + name: value for name, value in values.items()}


def write_table(graph: Graph, inputs: InputSpec, values: Mapping[str, Any], *, prefix: str) -> str:
    """Adds the tower; (d,)."""
    parts = []
    if inputs.numeric:
        x, encoding = graph.add("input", tensor="numeric"), values[f"{prefix}numeric"]
        if encoding != "plain":
            x = graph.add(encoding, x, bins=values[f"{prefix}bins"], dim=values[f"{prefix}numeric_dim"])
        parts.append(x)
    if inputs.plain:
        parts.append(graph.add("input", tensor="plain"))
    tables = ["categorical"] * bool(inputs.cardinalities) + ["discrete"] * (values.get(f"{prefix}discrete") == "on")
    for tensor in tables:
        ids = graph.add("input", tensor=tensor)
        parts.append(graph.add("embedding", ids, tensor=tensor, dim=values[f"{prefix}embedding"]))
    x = graph.add("concat", *parts) if len(parts) > 1 else parts[0]
    for _ in range(values[f"{prefix}depth"]):
        x = graph.add("activation", graph.add("dense", x, units=values[f"{prefix}width"], bias=True), function="relu")
    return x
