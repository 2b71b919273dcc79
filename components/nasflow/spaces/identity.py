"""The identity of a graph of layers: equal for isomorphic graphs, and only for them.

Isomorphic means: the same operations with the same settings, fed by the same nodes, in the same order where order
counts. Names do not count, and neither does the order in which nodes are listed.

Hashing each node with all that feeds it and all that it feeds (colour refinement, Weisfeiler & Leman 1968) is not
enough: `add(a, relu(a))` beside `add(b, relu(b))`, and `add(a, relu(b))` beside `add(b, relu(a))`, with equal
convolutions a and b, have the same hashes. Where nodes of one colour are left, one after the other is told apart from
the rest and all is refined again; the smallest description that this gives is the graph's (individualisation and
refinement, McKay 1981). Nodes that lead to the same description are interchangeable and one of them speaks for all, so
the cost stays polynomial in the symmetric graphs that networks are.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

COMMUTATIVE = frozenset({"add", "multiply"})
"""Operations for which the order of inputs does not count."""


class Operation(Protocol):
    """What counts of a node: see `nasflow.spaces.architecture.Node`."""

    @property
    def name(self) -> str: ...
    @property
    def op(self) -> str: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...


def canonical(nodes: Sequence[Operation]) -> str:
    """A description of the graph as text: equal for two graphs if and only if they are isomorphic.

    `nodes`: in topological order, names unique.
    """
    graph = _Graph(nodes)
    return graph.smallest(graph.refined(_ranks(graph.labels)))


class _Graph:
    """Nodes by number; a *colouring* has a rank for each, and equal ranks for nodes not told apart yet."""

    def __init__(self, nodes: Sequence[Operation]) -> None:
        number = {node.name: place for place, node in enumerate(nodes)}
        self.labels = [f"{node.op} {json.dumps(dict(node.settings), sort_keys=True)}" for node in nodes]
        self._inputs = [[number[source] for source in node.inputs] for node in nodes]
        self._ordered = [node.op not in COMMUTATIVE for node in nodes]
        self._consumers: list[list[tuple[int, int]]] = [[] for _ in nodes]
        for place, sources in enumerate(self._inputs):
            for position, source in enumerate(sources):
                self._consumers[source].append((place, position if self._ordered[place] else -1))

    def refined(self, colours: list[int]) -> list[int]:
        """Colours that differ wherever the neighbours' do, until no further node is told apart."""
        count = len(set(colours))
        while count < len(colours):
            finer = _ranks(
                [
                    (colour, self._around(place, colours), tuple(sorted((colours[c], at) for c, at in consumers)))
                    for place, (colour, consumers) in enumerate(zip(colours, self._consumers, strict=True))
                ]
            )
            if (found := len(set(finer))) == count:
                break
            colours, count = finer, found
        return colours

    def smallest(self, colours: list[int]) -> str:
        """The smallest description of all that telling equal nodes apart gives."""
        equal = _first_equal(colours)
        if not equal:
            return self._describe(colours)
        found: dict[str, str] = {}
        for node in equal:
            one = self._apart(colours, node)
            if (quick := self._any(one)) not in found:  # else some automorphism takes an earlier node to this one
                found[quick] = self.smallest(one)
        return min(found.values())

    def _any(self, colours: list[int]) -> str:
        """A description with an arbitrary choice among equals: enough to prove that two graphs are the same."""
        while equal := _first_equal(colours):
            colours = self._apart(colours, equal[0])
        return self._describe(colours)

    def _apart(self, colours: list[int], node: int) -> list[int]:
        return self.refined(_ranks([(colour, place == node) for place, colour in enumerate(colours)]))

    def _describe(self, colours: list[int]) -> str:
        """The nodes in the order of their colours, all of which differ."""
        order = sorted(range(len(colours)), key=colours.__getitem__)
        return "\n".join(f"{self.labels[place]} {self._around(place, colours)}" for place in order)

    def _around(self, place: int, colours: Sequence[int]) -> tuple[int, ...]:
        sources = [colours[source] for source in self._inputs[place]]
        return tuple(sources if self._ordered[place] else sorted(sources))


def _ranks(signatures: Sequence[Any]) -> list[int]:
    """The place of each among the distinct ones: it depends on the signatures only, not on who has them.

    >>> _ranks(["b", "a", "b"])
    [1, 0, 1]
    """
    rank = {signature: place for place, signature in enumerate(sorted(set(signatures)))}
    return [rank[signature] for signature in signatures]


def _first_equal(colours: Sequence[int]) -> list[int]:
    """The nodes of the first colour that more than one node has."""
    places: dict[int, list[int]] = {}
    for place, colour in enumerate(colours):
        places.setdefault(colour, []).append(place)
    return places[min(shared)] if (shared := [c for c, nodes in places.items() if len(nodes) > 1]) else []
