"""What stands on the edges of a cell: the operations that values name, or all of them at once."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from nasflow.spaces.edges import EDGES, NONE
from nasflow.spaces.graph import Graph
from nasflow.spaces.relaxed import MIXED, PART, REJOIN, Option

SKIP = "skip"


class Edges(Protocol):
    """Writes edges into a graph. `name`: of the parameter, or the beginning of the parameters' names."""

    def dense(self, graph: Graph, name: str, x: str, width: int) -> str | None:
        """One edge of a dense cell; None: it is not there."""

    def pair(self, graph: Graph, name: str, sources: Sequence[str], width: int, strides: Sequence[int]) -> str:
        """A node of a pairs cell: the sum of operations on two of the sources."""

    def joined(self, graph: Graph, node: int, terms: Sequence[str]) -> str:
        """Node number `node` of a dense cell: the sum of the edges that are there."""


class Chosen:
    """The operations that values name."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def dense(self, graph: Graph, name: str, x: str, width: int) -> str | None:
        """See `Edges`."""
        op = self._values[name]
        return None if op == NONE else EDGES[op](graph, x, width, 1)

    def pair(self, graph: Graph, name: str, sources: Sequence[str], width: int, strides: Sequence[int]) -> str:
        """See `Edges`."""
        pair = self._values.get(f"{name}_inputs", "0+1")
        terms = [
            EDGES[self._values[f"{name}_{side}"]](graph, sources[source], width, strides[source])
            for side, source in zip(("first", "second"), map(int, pair.split("+")), strict=True)
        ]
        return graph.sum(terms)

    def joined(self, graph: Graph, node: int, terms: Sequence[str]) -> str:
        """See `Edges`."""
        return graph.sum(terms)


class AllAtOnce:
    """Every operation on every edge, weighted; where a node takes two of its sources, all of them, weighted by a
    softmax over the sources (Xu et al. 2020, "PC-DARTS", §3.3, edge normalisation), and twice that, because two sources
    are what is meant.

    `partial`: the operations of an edge see the first of so many parts of the channels, the rest passes them by (the
    same, §3.2). `edge_weights`: also the edges of a dense node are weighted by a softmax over them, times their number:
    what an operation seems worth depends less on which channels it was shown.
    """

    def __init__(self, operations: Sequence[str], *, partial: int = 1, edge_weights: bool = False) -> None:
        self._operations = tuple(operations)
        self._partial, self._edge_weights = partial, edge_weights
        self.choices: dict[str, tuple[str, ...]] = {}

    def dense(self, graph: Graph, name: str, x: str, width: int) -> str | None:
        """See `Edges`."""
        return self._edge(graph, name, x, width, 1)

    def pair(self, graph: Graph, name: str, sources: Sequence[str], width: int, strides: Sequence[int]) -> str:
        """See `Edges`."""
        terms = [
            self._edge(graph, f"{name}_from_{place}", source, width, stride)
            for place, (source, stride) in enumerate(zip(sources, strides, strict=True))
        ]
        if len(terms) == 2:  # both are taken
            return graph.sum(terms)
        choice = f"{name}_inputs"
        self.choices[choice] = tuple(map(str, range(len(terms))))
        return _mixed(graph, terms, choice=choice, arms=range(len(terms)), scale=2.0)

    def joined(self, graph: Graph, node: int, terms: Sequence[str]) -> str:
        """See `Edges`."""
        if len(terms) == 1 or not self._edge_weights:
            return graph.sum(terms)
        choice = f"node_{node}_inputs"
        self.choices[choice] = tuple(map(str, range(len(terms))))
        return _mixed(graph, terms, choice=choice, arms=range(len(terms)), scale=float(len(terms)))

    def _edge(self, graph: Graph, name: str, x: str, width: int, stride: int) -> str:
        if self._partial == 1:
            return self._operated(graph, name, x, width, stride)
        shown = graph.add(PART, x, of=self._partial)
        made = self._operated(graph, name, shown, width // self._partial, stride)
        return graph.add(REJOIN, made, x, of=self._partial, stride=stride)

    def _operated(self, graph: Graph, name: str, x: str, width: int, stride: int) -> str:
        self.choices[name] = self._operations
        there = [place for place, op in enumerate(self._operations) if op != NONE]
        terms = [EDGES[self._operations[place]](graph, x, width, stride) for place in there]
        skip = [self._operations[place] for place in there].index(SKIP) if SKIP in self._operations else None
        auxiliary = stride == 1 and len(self._operations) > 1
        terms += [x] if auxiliary else []
        return _mixed(graph, terms, choice=name, arms=there, skip=skip if stride == 1 else None, auxiliary=auxiliary)


def _mixed(
    graph: Graph,
    terms: Sequence[str],
    *,
    choice: str,
    arms: Sequence[int],
    skip: int | None = None,
    auxiliary: bool = False,
    scale: float = 1.0,
) -> str:
    return graph.add(MIXED, *terms, choice=choice, arms=list(arms), skip=skip, auxiliary=auxiliary, scale=scale)


def dense_options(name: str, operations: Sequence[str]) -> tuple[Option, ...]:
    """What an edge of a dense cell can be. "No operation" is an arm of the softmax, and never derived (Liu et al. 2019,
    §2.4): how likely it is says little about what it is worth, because the norms behind the sum undo its scale, and
    cells full of it are no network at all."""
    return tuple(
        Option(values={name: op}, arms=((name, arm),), skips=int(op == SKIP))
        for arm, op in enumerate(operations)
        if op != NONE
    )


def pair_options(name: str, node: int, operations: Sequence[str], *, counted: bool) -> tuple[Option, ...]:
    """What node number `node` of a pairs cell can be: two sources, an operation on each. `counted`: whether its skips
    count (those of a reduction are convolutions)."""
    found = []
    for a, b in itertools.combinations(range(node + 2), 2):
        taken = ((f"{name}_inputs", a), (f"{name}_inputs", b)) if node else ()
        for (one, first), (two, second) in itertools.product(enumerate(operations), repeat=2):
            values = {f"{name}_first": first, f"{name}_second": second}
            values |= {f"{name}_inputs": f"{a}+{b}"} if node else {}
            arms = (*taken, (f"{name}_from_{a}", one), (f"{name}_from_{b}", two))
            skips = (first == SKIP) + (second == SKIP) if counted else 0
            found.append(Option(values=values, arms=arms, skips=skips))
    return tuple(found)
