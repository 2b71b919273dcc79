"""Writes the nodes of an architecture one after the other."""

from collections.abc import Sequence
from typing import Any

from nasflow.spaces.architecture import Architecture, Node, Recipe


class Graph:
    """Collects nodes; names them by operation and number."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []

    def add(self, op: str, *sources: str, **settings: Any) -> str:
        """Adds a node and returns its name."""
        name = f"{op}_{len(self._nodes)}"
        self._nodes.append(Node(name=name, op=op, inputs=sources, settings=settings))
        return name

    def sum(self, sources: Sequence[str]) -> str:
        """Their sum; one alone is its own."""
        return self.add("add", *sources) if len(sources) > 1 else sources[0]

    def finish(self, source: str, recipe: Recipe, *, end: str = "output") -> Architecture:
        """Puts the output on `source` (or ``logits``, where that is the output); nodes that do not lead there are left
        out."""
        self.add(end, source)
        wanted, kept = {self._nodes[-1].name}, list[Node]()
        for node in reversed(self._nodes):
            if node.name in wanted:
                wanted.update(node.inputs)
                kept.append(node)
        return Architecture(nodes=tuple(reversed(kept)), recipe=recipe)
