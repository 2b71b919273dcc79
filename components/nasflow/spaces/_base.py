"""A search space: parameters, and the architecture that their values mean."""

import abc
from collections.abc import Mapping
from typing import Any

from nasflow.spaces.architecture import Architecture, ArchitectureError
from nasflow.spaces.parameters import Parameter, problems
from nasflow.spaces.relaxed import Relaxed


class Space(abc.ABC):
    """What can be searched, for one task and the shapes of its tensors. Knows no Keras and no data.

    Every subclass passes `nasflow.testing.SpaceConformance`.
    """

    name: str

    @abc.abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """All of them, always the same, parents before children."""

    @abc.abstractmethod
    def presets(self) -> tuple[dict[str, Any], ...]:
        """Complete active values of strong defaults, best first; at least one."""

    @abc.abstractmethod
    def architecture(self, values: Mapping[str, Any]) -> Architecture:
        """What the values mean; a pure function.

        Raises:
            ArchitectureError: values that are not exactly the valid active ones (see `parameters.repair`).
        """

    def relaxed(self, *, partial: int = 1, edge_weights: bool = False) -> Relaxed | None:
        """All its operations as one network, for the strategy `differentiable`; None: this space has no such form.

        A space of your own may leave the arguments out; then these settings of the strategy are refused with it.

        Args:
            partial: operations see one of so many channels, the others pass them by (PC-DARTS).
            edge_weights: what enters a node is weighted by a softmax over its edges, wherever it is a sum.

        Raises:
            ValueError: a number of channels that `partial` does not divide.
        """
        del partial, edge_weights
        return None

    def check(self, values: Mapping[str, Any]) -> None:
        """For the start of `architecture`.

        Raises:
            ArchitectureError: see there.
        """
        if found := problems(self.parameters(), values):
            raise ArchitectureError(f"space {self.name}: {'; '.join(found)}; repair the values first")
