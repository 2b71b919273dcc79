"""A graph of layers as numbers, for surrogates that learn from them: counts, and how operations lie along its paths.

Isomorphic graphs have the same encoding. It is a dict by feature, with only what differs from 0: every space has other
operations, so a surrogate takes the features that occur among the points it knows.
"""

import collections
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.architecture import Architecture, Node
from nasflow.spaces.cost import Cost, cost

_SHAPING = ("kernel", "size", "stride", "dilation", "function", "tensor")
"""Settings that make another operation of the same name; how wide a layer is does not."""


def encode(architecture: Architecture, inputs: InputSpec, output: OutputSpec) -> dict[str, float]:
    """The features.

    - ``parameters``, ``flops``, ``activations``: log(1 + x); ``depth``, ``nodes``, ``paths``: log(1 + number of ways
      from an input to the output).
    - ``count OP``: nodes of each operation; ``most OP`` and ``least OP``: the largest and smallest number of them on a
      way to the output. These, with counts, are the features of Kadlecová et al. 2024, "Surprisingly Strong
      Performance Prediction with Neural Graph Features" (GRAF), for graphs of any shape.
    - ``edge OP > OP``: how often one operation feeds another: the adjacency matrix, by operation (White et al. 2020, "A
      Study on Neural Architecture Encodings", section 3), which is finite where whole paths are not.
    - ``recipe NAME``: numbers of the recipe; learning rate and weight decay as logarithms.

    Raises:
        ArchitectureError: see `nasflow.spaces.cost.cost`.
    """
    counted = cost(architecture, inputs, output)
    labels = {node.name: _label(node) for node in architecture.nodes}
    found = {**counts(counted), "nodes": float(len(architecture.nodes))}
    found["paths"] = math.log1p(_paths(architecture.nodes))
    occurring = collections.Counter(labels.values())
    for label, number in occurring.items():
        most, least = _along(architecture.nodes, labels, label)
        found |= {f"count {label}": float(number), f"most {label}": most, f"least {label}": least}
    for node in architecture.nodes:
        for source in node.inputs:
            name = f"edge {labels[source]} > {labels[node.name]}"
            found[name] = found.get(name, 0.0) + 1.0
    found |= {f"recipe {name}": value for name, value in _recipe(architecture)}
    return {name: value for name, value in found.items() if value}


def counts(counted: Cost) -> dict[str, float]:
    """The four that proxies are held against: more is more.

    >>> one = Cost(parameters=0, flops=99, activations=9, memory=36, depth=3)
    >>> {name: round(value, 3) for name, value in counts(one).items()}
    {'parameters': 0.0, 'flops': 4.605, 'activations': 2.303, 'depth': 3.0}
    """
    return {
        "parameters": math.log1p(counted.parameters),
        "flops": math.log1p(counted.flops),
        "activations": math.log1p(counted.activations),
        "depth": float(counted.depth),
    }


def matrix(points: Sequence[Mapping[str, float]]) -> list[list[float]]:
    """Encodings as rows of equal length, a column a feature that occurs in any of them, by name; missing is 0.

    >>> matrix([{"a": 1.0}, {"b": 2.0, "a": 3.0}])
    [[1.0, 0.0], [3.0, 2.0]]
    """
    names = sorted({name for point in points for name in point})
    return [[point.get(name, 0.0) for name in names] for point in points]


def _label(node: Node) -> str:
    settings: Mapping[str, Any] = node.settings
    return " ".join([node.op, *(str(settings[name]) for name in _SHAPING if name in settings)])


def _paths(nodes: Sequence[Node]) -> int:
    ways: dict[str, int] = {}
    for node in nodes:
        ways[node.name] = sum(ways[source] for source in node.inputs) if node.inputs else 1
    return ways[nodes[-1].name]


def _along(nodes: Sequence[Node], labels: Mapping[str, str], label: str) -> tuple[float, float]:
    """(most, fewest) nodes of a label on a way from an input to the output."""
    most: dict[str, int] = {}
    least: dict[str, int] = {}
    for node in nodes:
        own = labels[node.name] == label
        most[node.name] = own + max((most[source] for source in node.inputs), default=0)
        least[node.name] = own + min((least[source] for source in node.inputs), default=0)
    return float(most[nodes[-1].name]), float(least[nodes[-1].name])


def _recipe(architecture: Architecture) -> Iterable[tuple[str, float]]:
    recipe = architecture.recipe
    for name in recipe.__slots__:
        value = getattr(recipe, name)
        if isinstance(value, str):
            yield f"{name} {value}", 1.0
        elif name in ("learning_rate", "weight_decay"):
            yield name, math.log(max(value, 1e-8))
        else:
            yield name, float(value or 0.0)
