"""Cells: small graphs with an operation on each edge, stacked in stages with reductions between.

`topology: dense`: node 0 is the cell's input, every node is the sum of an operation on each earlier node (``none``: no
edge), the last one is the output; stages are joined by a residual block of stride 2. With its settings for
`nasbench201` it is the space of Dong & Yang 2020. `topology: pairs`: a cell sees the two cells before it, every node is
the sum of two operations on two different earlier nodes, the output joins all nodes; reductions are cells of their own.
With its settings for `darts` it is the space of Liu et al. 2019.

In `dense` different values can mean isomorphic architectures (a skip only renames a node; an edge from a node without
inputs changes nothing): `Architecture.identity` is the same for them.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture, Recipe
from nasflow.spaces.cell_edges import AllAtOnce, Chosen, Edges, dense_options, pair_options
from nasflow.spaces.edges import EDGES, NONE, relu_conv_norm
from nasflow.spaces.graph import Graph
from nasflow.spaces.image_recipe import ImageRecipe, Searched
from nasflow.spaces.parameters import Choice, Parameter, active
from nasflow.spaces.relaxed import Option, Relaxed
from nasflow.spaces.resolution import most_stages, stem, stem_strides

NASBENCH201 = ("none", "skip", "conv_1x1", "conv_3x3", "avg_pool_3x3")
"""Operations of NAS-Bench-201."""
DARTS = ("skip", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5", "max_pool_3x3", "avg_pool_3x3")
"""Operations of DARTS; its `none` is never part of a derived cell."""

_LONGEST_STACK = 3
Topology = Literal["dense", "pairs"]
Numbers = int | Sequence[int]


class CellSpace(Space):
    """For images."""

    name = "cell"

    def __init__(
        self,
        *,
        inputs: InputSpec,
        output: OutputSpec,
        topology: Topology = "dense",
        nodes: int = 4,
        operations: Sequence[str] = NASBENCH201,
        stages: Numbers | None = None,
        cells: Numbers = (1, 2, 3),
        width: Numbers = (8, 16, 24, 32),
        recipe: Searched = "some",
    ) -> None:
        """Settings of the space.

        Args:
            inputs: images.
            output: of the task.
            topology: see above.
            nodes: of a cell: with `dense` its input is one of them, with `pairs` its inputs are not.
            operations: what an edge can be; see `nasflow.spaces.edges`.
            stages: how often, plus one, the image is halved; left out, up to 3, as far as the image allows. A list is
                searched; so are those of the next two.
            cells: in each stage.
            width: channels of the first stage; each reduction doubles them.
            recipe: see `nasflow.spaces.image_recipe`.

        Raises:
            ValueError: settings that describe no space.
        """
        if inputs.image is None:
            raise ValueError("a cell needs images")
        del output  # the head follows from it in build() and cost()
        side = min(inputs.image[:2])
        self._stem = stem_strides(side)[0]
        most = most_stages(side)
        self._dense = _one_of("topology", topology, ("dense", "pairs")) == "dense"
        self._nodes = _whole("nodes", nodes, least=2 if self._dense else 1)
        self.operations = _operations(operations, dense=self._dense)
        self._macro = {
            "stages": _numbers("stages", min(_LONGEST_STACK, most) if stages is None else stages),
            "cells": _numbers("cells", cells),
            "width": _numbers("width", width),
        }
        if max(self._macro["stages"]) > most:
            raise ValueError(f"stages must be <= {most} for images of {side} pixels, got {stages}")
        self._recipe = ImageRecipe(side, recipe)
        self.kinds = ("normal", "reduce") if not self._dense and max(self._macro["stages"]) > 1 else ("normal",)
        self._parameters = tuple(self._declare())

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """The edges of a dense cell as (from, to), in the order of their parameters ``edge_FROM_TO``."""
        return tuple((source, node) for node in range(1, self._nodes) for source in range(node))

    def parameters(self) -> tuple[Parameter, ...]:
        return self._parameters

    def _declare(self) -> list[Parameter]:
        found: list[Parameter] = [
            Choice(name=name, values=values) for name, values in self._macro.items() if len(values) > 1
        ]
        if self._dense:
            found += [Choice(name=f"edge_{a}_{b}", values=self.operations) for a, b in self.edges]
            return found + self._recipe.parameters()
        for kind in self.kinds:
            for node in range(self._nodes):
                if node:
                    found.append(Choice(name=f"{kind}_{node}_inputs", values=_pairs(node)))
                found += [Choice(name=f"{kind}_{node}_{side}", values=self.operations) for side in ("first", "second")]
        return found + self._recipe.parameters()

    def presets(self) -> tuple[dict[str, Any], ...]:
        """Cells known to be good, in stacks of a few sizes. Dense: a residual pair of convolutions, and the best cell
        of NAS-Bench-201 on CIFAR-10. Pairs: the second-order cells of DARTS, and one of separable convolutions."""
        layouts = [{"cells": 1, "width": 16}, {"cells": 1, "width": 32}, {"cells": 2, "width": 16}]
        found: list[dict[str, Any]] = []
        for cell, layout in itertools.product(self._cells(), layouts):
            macro = {name: _nearest(values, layout.get(name, values[-1])) for name, values in self._macro.items()}
            values = {**macro, **cell, **self._recipe.preset()}
            preset = {parameter.name: values[parameter.name] for parameter in active(self._parameters, values)}
            if preset not in found:
                found.append(preset)
        return tuple(found[:3])

    def _cells(self) -> list[dict[str, Any]]:
        """The presets' choices for edges; an operation that this space lacks is replaced by the one nearest to it."""
        if self._dense:
            last = self._nodes - 1
            chain = {(a, b): "conv_3x3" if b == a + 1 else NONE for a, b in self.edges}
            residual = chain | {(last - 1, last): "conv_3x3" if last < 3 else "skip", (0, last): "skip"}
            residual = chain | {(0, 1): "conv_3x3"} if last == 1 else residual
            full = {(a, b): "skip" if (a, b) == (0, last) and last > 1 else "conv_3x3" for a, b in self.edges}
            return [{f"edge_{a}_{b}": self._like(op) for (a, b), op in edges.items()} for edges in (residual, full)]
        return [self._pair_cells(_DARTS_V2), self._pair_cells({"normal": (), "reduce": ()})]

    def _pair_cells(self, known: Mapping[str, Sequence[tuple[str, str, str]]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for kind in self.kinds:
            for node in range(self._nodes):
                plain = ("0+1", "sep_conv_3x3", "sep_conv_3x3")
                pair, first, second = known[kind][node] if node < len(known[kind]) else plain
                values |= {
                    f"{kind}_{node}_inputs": pair,
                    f"{kind}_{node}_first": self._like(first),
                    f"{kind}_{node}_second": self._like(second),
                }
        return values

    def _like(self, op: str) -> str:
        """`op`, or the first convolution, or the first operation that there is."""
        if op in self.operations:
            return op
        alike = [other for other in self.operations if "conv" in other and "conv" in op]
        return (alike or [other for other in self.operations if other != NONE])[0]

    def architecture(self, values: Mapping[str, Any]) -> Architecture:
        self.check(values)
        macro = {name: values.get(name, known[0]) for name, known in self._macro.items()}
        return self._network(Chosen(values), self._recipe.of(values), **macro)

    def relaxed(self, *, partial: int = 1, edge_weights: bool = False) -> Relaxed:
        """All operations at once, in a stack of one cell a stage, as wide as the first preset and trained by its
        recipe: a proxy, as in DARTS §3.1 (8 cells of 16 channels are searched, 20 of 36 trained). The other stacks are
        for the trials. See `Space.relaxed`."""
        preset = self.presets()[0]
        macro = {name: preset.get(name, known[0]) for name, known in self._macro.items()}
        if macro["width"] % partial:
            raise ValueError(f"{partial} does not divide the supernet's {macro['width']} channels")
        edges = AllAtOnce(self.operations, partial=partial, edge_weights=edge_weights)
        network = self._network(edges, self._recipe.of(preset), **{**macro, "cells": 1})
        return Relaxed(network=network, choices=edges.choices, parts=tuple(self._parts()))

    def _parts(self) -> Iterator[tuple[Option, ...]]:
        if self._dense:
            for a, b in self.edges:
                yield dense_options(f"edge_{a}_{b}", self.operations)
            return
        for kind, node in itertools.product(self.kinds, range(self._nodes)):
            yield pair_options(f"{kind}_{node}", node, self.operations, counted=kind == "normal")

    def _network(self, edges: Edges, recipe: Recipe, *, stages: int, cells: int, width: int) -> Architecture:
        graph = Graph()
        x = stem(graph, width, stride=self._stem)
        stack = self._dense_stack if self._dense else self._pair_stack
        x = stack(graph, x, edges, stages=stages, cells=cells, width=width)
        x = graph.add("activation", x, function="relu")
        return graph.finish(graph.add("global_avg_pool", x), recipe)

    def _dense_stack(self, graph: Graph, x: str, edges: Edges, *, stages: int, cells: int, width: int) -> str:
        for stage in range(stages):
            if stage:
                x = _reduction(graph, x, width << stage)
            for _ in range(cells):
                x = self._dense_cell(graph, x, edges, width << stage)
        return graph.add("batch_norm", x)

    def _dense_cell(self, graph: Graph, x: str, edges: Edges, width: int) -> str:
        """None of what a node without inputs feeds exists; a cell without an output puts out zeros."""
        nodes: list[str | None] = [x]
        for node in range(1, self._nodes):
            made = [
                edges.dense(graph, f"edge_{source}_{node}", tensor, width)
                for source, tensor in enumerate(nodes)
                if tensor is not None
            ]
            terms = [term for term in made if term is not None]
            nodes.append(edges.joined(graph, node, terms) if terms else None)
        return nodes[-1] or graph.add("zero", x)

    def _pair_stack(self, graph: Graph, x: str, edges: Edges, *, stages: int, cells: int, width: int) -> str:
        before, last, halved = x, x, False
        for stage in range(stages):
            kinds = (["reduce"] if stage else []) + ["normal"] * cells
            for kind in kinds:
                made = self._pair_cell(graph, (before, last), edges, kind, width << stage, halved=halved)
                before, last, halved = last, made, kind == "reduce"
        return last

    def _pair_cell(
        self, graph: Graph, sources: tuple[str, str], edges: Edges, kind: str, width: int, *, halved: bool
    ) -> str:
        """`halved`: the cell before was a reduction, so that the one before that is larger."""
        before, last = sources
        nodes = [
            relu_conv_norm(graph, before, width, stride=2 if halved else 1),
            relu_conv_norm(graph, last, width),
        ]
        for node in range(self._nodes):
            strides = [2 if kind == "reduce" and source < 2 else 1 for source in range(len(nodes))]
            nodes.append(edges.pair(graph, f"{kind}_{node}", nodes, width, strides))
        return graph.add("concat", *nodes[2:]) if self._nodes > 1 else nodes[2]


def _reduction(graph: Graph, x: str, width: int) -> str:
    """The residual block between two stages of NAS-Bench-201: two 3×3 convolutions beside pooling and a 1×1 one."""
    y = relu_conv_norm(graph, x, width, kernel=3, stride=2)
    y = relu_conv_norm(graph, y, width, kernel=3)
    shortcut = graph.add("avg_pool", x, size=2)
    shortcut = graph.add("conv", shortcut, filters=width, kernel=1, stride=1, bias=False)
    return graph.add("add", y, shortcut)


_DARTS_V2: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "normal": (
        ("0+1", "sep_conv_3x3", "sep_conv_3x3"),
        ("0+1", "sep_conv_3x3", "sep_conv_3x3"),
        ("0+1", "skip", "sep_conv_3x3"),
        ("0+2", "skip", "dil_conv_3x3"),
    ),
    "reduce": (
        ("0+1", "max_pool_3x3", "max_pool_3x3"),
        ("1+2", "max_pool_3x3", "skip"),
        ("0+2", "max_pool_3x3", "skip"),
        ("1+2", "max_pool_3x3", "skip"),
    ),
}
"""The cells that Liu et al. 2019 found on CIFAR-10 (second order, figures 4 and 5)."""


def _pairs(node: int) -> tuple[str, ...]:
    """Two different ones of the nodes that a node of a `pairs` cell can see."""
    return tuple(f"{a}+{b}" for a, b in itertools.combinations(range(node + 2), 2))


def _operations(given: Sequence[str], *, dense: bool) -> tuple[str, ...]:
    known = (NONE, *EDGES) if dense else tuple(EDGES)
    chosen = (given,) if isinstance(given, str) else tuple(given)
    for op in chosen:
        _one_of("operations", op, known)
    if len(set(chosen)) != len(chosen) or not any(op != NONE for op in chosen):
        raise ValueError(f"operations: name each once, and one besides {NONE}; got {', '.join(chosen)}")
    return chosen


def _one_of(name: str, value: Any, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"{name}: must be one of {', '.join(known)}, got {value!r}")
    return str(value)


def _whole(name: str, value: Any, *, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{name}: must be a whole number >= {least}, got {value!r}")
    return value


def _numbers(name: str, given: Numbers) -> tuple[int, ...]:
    """Ascending and different."""
    values = (given,) if isinstance(given, int) else tuple(given)
    for value in values:
        _whole(name, value, least=1)
    if not values or tuple(sorted(set(values))) != values:
        raise ValueError(f"{name}: must be whole numbers in ascending order, got {list(values)}")
    return values


def _nearest(values: Sequence[int], wanted: int) -> int:
    return min(values, key=lambda value: (abs(value - wanted), value))
