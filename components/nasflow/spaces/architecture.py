"""Architecture: a typed DAG of layers and the recipe that trains it, counted before any Keras object exists."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Self

from nasflow.core.errors import TrialFailedError

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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Nodes in topological order; the last one is the output."""

    nodes: tuple[Node, ...]
    recipe: Recipe = Recipe()

    @property
    def identity(self) -> str:
        """Sixteen hex digits. Isomorphic graphs with the same recipe have the same: node names and order do not count.

        Each node is hashed with its ordered inputs' hashes, then with its consumers': two passes, as the graph has no
        cycles. Shared and repeated parts differ, since the hashes of all nodes are counted.
        """
        below: dict[str, str] = {}
        consumers: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            sources = [below[source] for source in node.inputs]
            ordered = sorted(sources) if node.op in _COMMUTATIVE else sources
            below[node.name] = _hash([node.op, dict(node.settings), ordered])
            for source in node.inputs:
                consumers[source].append(node.name)
        above: dict[str, str] = {}
        for node in reversed(self.nodes):
            above[node.name] = _hash([below[node.name], sorted(above[name] for name in consumers[node.name])])
        return _hash([sorted(above.values()), dataclasses.asdict(self.recipe)])[:16]

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


_COMMUTATIVE = frozenset({"add"})


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
