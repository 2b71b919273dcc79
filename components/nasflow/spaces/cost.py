"""What an architecture costs, without building it: microseconds, where a Keras model takes half a second."""

import dataclasses

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.architecture import Architecture, ArchitectureError, Shape
from nasflow.spaces.operations import measure

_WEIGHTED = frozenset(
    {"conv", "separable_conv", "dense", "member_dense", "embedding", "periodic", "piecewise", "quantile", "output"}
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one architecture."""

    parameters: int
    """Trainable, as Keras counts `model.trainable_weights`."""
    flops: int
    """2 × the multiply-adds of convolutions and matrix products, for one example."""
    activations: int
    """Numbers that those operations put out, for one example: what memory traffic, and CPU time, go with."""
    depth: int
    """Operations with weights (normalisation not counted) on the longest way from an input to the output."""


def cost(architecture: Architecture, inputs: InputSpec, output: OutputSpec) -> Cost:
    """Counts.

    Raises:
        ArchitectureError: an impossible shape, an input that comes later or not at all, a last node that is no output.
    """
    if not architecture.nodes or architecture.nodes[-1].op != "output":
        raise ArchitectureError("the last node must be an output")
    shapes: dict[str, Shape] = {}
    depths: dict[str, int] = {}
    parameters = flops = activations = 0
    for node in architecture.nodes:
        if node.name in shapes:
            raise ArchitectureError(f"{node.name}: two nodes have this name")
        if missing := [source for source in node.inputs if source not in shapes]:
            raise ArchitectureError(f"{node.name}: takes {', '.join(missing)}, which must come before it")
        measured = measure(node, [shapes[source] for source in node.inputs], inputs, output)
        shapes[node.name] = measured.shape
        weighted = node.op in _WEIGHTED
        depths[node.name] = max((depths[source] for source in node.inputs), default=0) + weighted
        parameters += measured.parameters
        flops += 2 * measured.multiply_adds
        if weighted:
            size = 1
            for extent in measured.shape:
                size *= extent
            activations += size
    return Cost(parameters=parameters, flops=flops, activations=activations, depth=depths[architecture.nodes[-1].name])
