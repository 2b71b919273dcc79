"""Architecture: a typed DAG of layers and the recipe that trains it, counted before any Keras object exists."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from nasflow.core.errors import TrialFailedError
from nasflow.spaces.identity import COMMUTATIVE, canonical

if TYPE_CHECKING:
    import networkx as nx

Shape = tuple[int, ...]
"""Without the batch dimension."""


class ArchitectureError(TrialFailedError):
    """An architecture that cannot exist: a shape that does not fit, or values that mean nothing."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operation."""

    name: str
    """Unique in its architecture; not part of its identity."""
    op: str
    """See `nasflow.spaces.operations`."""
    inputs: tuple[str, ...]
    """Names of the nodes that feed it; empty for an input."""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The operation's own: JSON values."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the architecture is trained."""

    optimizer: str = "adamw"
    """See `nasflow.models.optimizers`."""
    learning_rate: float = 2e-3
    """The peak of the schedule."""
    weight_decay: float = 0.05
    schedule: str = "one_cycle"
    """``one_cycle`` (20 % warm-up, then cosine to ~0), ``cosine`` or ``constant``."""
    batch_size: int = 64
    label_smoothing: float = 0.0
    ema: float | None = None
    """Momentum of an exponential moving average of the weights, used for prediction; None: none."""
    flip: bool = False
    """Random horizontal flips (images)."""
    shift: int = 0
    """Random shifts by up to so many pixels (images)."""
    cutout: int = 0
    """Side of a random square set to the mean (images)."""
    brightness: float = 0.0
    """Random change of all pixels by up to this share of 255 (images)."""
    contrast: float = 0.0
    """Random change of the distance from an image's mean by up to this share (images)."""
    mixup: float = 0.0
    """α of mixup (Zhang et al. 2018): each image becomes a mean of two, weighted by Beta(α, α); 0: off (images)."""
    class_weights: bool = False
    """Whether a row counts rows / (classes · rows of its class) in the loss, unless the data brings weights."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Nodes in topological order; the last one is the output."""

    nodes: tuple[Node, ...]
    recipe: Recipe = Recipe()

    @property
    def identity(self) -> str:
        """Sixteen hex digits: the same for isomorphic graphs with the same recipe, and (up to the luck of 64 bits) only
        for them. Node names and their order do not count. See `nasflow.spaces.identity`."""
        described = json.dumps([canonical(self.nodes), dataclasses.asdict(self.recipe)], sort_keys=True)
        return hashlib.sha256(described.encode()).hexdigest()[:16]

    def graph(self) -> "nx.MultiDiGraph[str]":
        """As networkx knows it: nodes by name with the attributes ``op`` and ``settings``; an edge for each input, its
        ``position`` is its place among them, or -1 where their order does not count."""
        import networkx as nx

        graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        for node in self.nodes:
            graph.add_node(node.name, op=node.op, settings=dict(node.settings))
            for place, source in enumerate(node.inputs):
                graph.add_edge(source, node.name, position=-1 if node.op in COMMUTATIVE else place)
        return graph

    def to_json(self) -> dict[str, Any]:
        """JSON values; `from_json` is the inverse."""
        return {
            "nodes": [
                {"name": n.name, "op": n.op, "inputs": list(n.inputs), "settings": dict(n.settings)} for n in self.nodes
            ],
            "recipe": dataclasses.asdict(self.recipe),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        nodes = tuple(
            Node(name=n["name"], op=n["op"], inputs=tuple(n["inputs"]), settings=dict(n["settings"]))
            for n in content["nodes"]
        )
        return cls(nodes=nodes, recipe=Recipe(**content["recipe"]))
