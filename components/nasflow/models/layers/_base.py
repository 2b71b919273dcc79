"""What makes a Keras layer of a node."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from nasflow.data.tensors import InputSpec, OutputSpec


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a layer goes."""

    name: str
    """Of the node; the layer that has its weights is called so, others begin with it."""
    settings: Mapping[str, Any]
    sources: tuple[Any, ...]
    """Keras tensors of its inputs."""
    inputs: InputSpec
    output: OutputSpec
    linear: bool
    """Whether the architecture has nothing between the inputs and the output but encodings."""

    @property
    def source(self) -> Any:
        """Its single input."""
        (tensor,) = self.sources
        return tensor


Maker: TypeAlias = Callable[[Site], Any]
"""Makes the layer and returns what it puts out, a Keras tensor. Only Keras's own layers: `.keras` files load in safe
mode anywhere."""
Makers: TypeAlias = Mapping[str, Maker]
