"""Operations on the edges of a cell, as NAS-Bench-201 (Dong & Yang 2020, §2.1) and DARTS (Liu et al. 2019, §3.1) have
them: each keeps the image's size, or halves it at stride 2, and puts out `width` channels.

Convolutions are ReLU – convolution – batch norm. Where we differ from DARTS: a skip at stride 2 is one 1×1 convolution
(not two that are shifted against each other), and a dilated convolution at stride 2 is followed by pooling, because
Keras has no convolution with both. Drop path and the auxiliary head are left out.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from nasflow.spaces.graph import Graph

Edge: TypeAlias = Callable[[Graph, str, int, int], str]
"""(graph, what comes in, width, stride) → what comes out. What comes in has `width` channels already."""

NONE = "none"
"""The edge is not there."""


def relu_conv_norm(
    graph: Graph, x: str, width: int, *, op: str = "conv", kernel: int = 1, stride: int = 1, dilation: int = 1
) -> str:
    """ReLU, convolution without bias, batch norm."""
    settings = {"dilation": dilation} if dilation > 1 else {}
    x = graph.add("activation", x, function="relu")
    x = graph.add(op, x, filters=width, kernel=kernel, stride=stride, bias=False, **settings)
    return graph.add("batch_norm", x)


def _skip(graph: Graph, x: str, width: int, stride: int) -> str:
    return x if stride == 1 else relu_conv_norm(graph, x, width, stride=stride)


def _conv(kernel: int) -> Edge:
    return lambda graph, x, width, stride: relu_conv_norm(graph, x, width, kernel=kernel, stride=stride)


def _separable(kernel: int) -> Edge:
    """Twice, as in DARTS."""

    def edge(graph: Graph, x: str, width: int, stride: int) -> str:
        x = relu_conv_norm(graph, x, width, op="separable_conv", kernel=kernel, stride=stride)
        return relu_conv_norm(graph, x, width, op="separable_conv", kernel=kernel)

    return edge


def _dilated(kernel: int) -> Edge:
    def edge(graph: Graph, x: str, width: int, stride: int) -> str:
        x = relu_conv_norm(graph, x, width, op="separable_conv", kernel=kernel, dilation=2)
        return x if stride == 1 else graph.add("avg_pool", x, size=stride)

    return edge


def _pool(op: str) -> Edge:
    return lambda graph, x, _, stride: graph.add(op, x, size=3, stride=stride)


EDGES: Mapping[str, Edge] = MappingProxyType(
    {
        "skip": _skip,
        "conv_1x1": _conv(1),
        "conv_3x3": _conv(3),
        "conv_5x5": _conv(5),
        "sep_conv_3x3": _separable(3),
        "sep_conv_5x5": _separable(5),
        "dil_conv_3x3": _dilated(3),
        "dil_conv_5x5": _dilated(5),
        "avg_pool_3x3": _pool("avg_pool"),
        "max_pool_3x3": _pool("max_pool"),
    }
)
"""All but `NONE`."""
