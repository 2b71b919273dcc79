"""What an architecture costs, without building it: microseconds, where a Keras model takes half a second."""

import dataclasses
import math

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.architecture import Architecture, ArchitectureError
from nasflow.spaces.operations import OPERATIONS, Measure, measure

_FLOAT_BYTES = 4
OUTPUTS = ("output", "logits", "hypermodel")
"""What an architecture can end in."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one architecture."""

    parameters: int
    """Trainable, as Keras counts `model.trainable_weights`."""
    flops: int
    """2 × the multiply-adds of convolutions and matrix products, for one example."""
    activations: int
    """Numbers that those operations put out, for one example: what memory traffic, and CPU time, go with."""
    memory: int
    """Bytes that all operations put out for one example, as float32: what training keeps for the way back."""
    depth: int
    """Operations with weights (normalisation not counted) on the longest way from an input to the output."""


def cost(architecture: Architecture, inputs: InputSpec, output: OutputSpec) -> Cost:
    """Counts.

    Raises:
        ArchitectureError: an impossible shape, an input that comes later or not at all, a node that leads nowhere, a
            last node that is no output.
    """
    depths: dict[str, int] = {}
    parameters = flops = activations = memory = 0
    for node, measured in zip(architecture.nodes, measures(architecture, inputs, output).values(), strict=True):
        size = math.prod(measured.shape)
        weighted = OPERATIONS[node.op].weighted
        depths[node.name] = max((depths[source] for source in node.inputs), default=0) + weighted
        parameters += measured.parameters
        flops += 2 * measured.multiply_adds
        memory += _FLOAT_BYTES * size
        activations += size * weighted
    return Cost(
        parameters=parameters,
        flops=flops,
        activations=activations,
        memory=memory,
        depth=depths[architecture.nodes[-1].name],
    )


def measures(architecture: Architecture, inputs: InputSpec, output: OutputSpec) -> dict[str, Measure]:
    """What each node makes and costs, by its name, in the architecture's order.

    Raises:
        ArchitectureError: see `cost`.
    """
    if not architecture.nodes or architecture.nodes[-1].op not in OUTPUTS:
        raise ArchitectureError("the last node must be an output")
    found: dict[str, Measure] = {}
    for node in architecture.nodes:
        if node.name in found:
            raise ArchitectureError(f"{node.name}: two nodes have this name")
        if missing := [source for source in node.inputs if source not in found]:
            raise ArchitectureError(f"{node.name}: takes {', '.join(missing)}, which must come before it")
        found[node.name] = measure(node, [found[source].shape for source in node.inputs], inputs, output)
    used = {source for node in architecture.nodes for source in node.inputs}
    if idle := [node.name for node in architecture.nodes[:-1] if node.name not in used]:
        raise ArchitectureError(f"{', '.join(idle)}: leads nowhere; leave it out, or join it to the rest")
    return found
