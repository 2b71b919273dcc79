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

    def relaxed(self) -> Relaxed | None:
        """All its operations as one network, for the strategy `differentiable`; None: this space has no such form."""
        return None

    def check(self, values: Mapping[str, Any]) -> None:
        """For the start of `architecture`.

        Raises:
            ArchitectureError: see there.
        """
        if found := problems(self.parameters(), values):
            raise ArchitectureError(f"space {self.name}: {'; '.join(found)}; repair the values first")
