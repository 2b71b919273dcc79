"""Hard limits, held before anything is built."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from nasflow.core.errors import UserError
from nasflow.core.spec import ConstraintsSection
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces import parameters as space_parameters
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture, ArchitectureError
from nasflow.spaces.cost import cost

COUNTED = ("parameters", "flops", "memory_mb", "size_mb")
"""Constraints that are held before training. The size counted is that of the weights; the graph around them comes on
top, so the export is measured, too (`nasflow.search.returned`)."""
_STEPS = 300
_PATIENCE = 60


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A point of the space, counted."""

    values: dict[str, Any]
    architecture: Architecture | None
    """None: the values mean no architecture that can be built."""
    parameters: int
    flops: int
    excess: float
    """0: feasible. Else the largest of ln(count / limit); infinite where there is no architecture."""
    problem: str
    """Why it is infeasible."""
    costs: dict[str, float] = dataclasses.field(default_factory=dict)
    """See `nasflow.search.record.Record.costs`."""


class Limits:
    """Counts points of a space and compares them with the constraints."""

    def __init__(self, space: Space, constraints: ConstraintsSection, *, inputs: InputSpec, output: OutputSpec) -> None:
        self._space = space
        self._inputs, self._output = inputs, output
        self.latency_ms = constraints.latency_ms
        limits = {name: getattr(constraints, name) for name in COUNTED}
        self._limits = {name: limit for name, limit in limits.items() if limit is not None}
        self._smallest: Draft | None = None

    def draft(self, values: Mapping[str, Any]) -> Draft:
        """Counts a point; never raises for one that cannot be built."""
        try:
            architecture = self._space.architecture(values)
            counted = cost(architecture, self._inputs, self._output)
        except ArchitectureError as error:
            return Draft(
                values=dict(values), architecture=None, parameters=0, flops=0, excess=float("inf"), problem=str(error)
            )
        counts = {
            "parameters": counted.parameters,
            "flops": counted.flops,
            "memory_mb": counted.memory / 1e6,
            "size_mb": 4 * counted.parameters / 1e6,
        }
        broken = [name for name, limit in self._limits.items() if counts[name] > limit]
        draft = Draft(
            values=dict(values),
            architecture=architecture,
            parameters=counted.parameters,
            flops=counted.flops,
            excess=max((float(np.log(counts[name] / self._limits[name])) for name in broken), default=0.0),
            problem="; ".join(
                f"{counts[name]:,} {name} > constraints.{name} {self._limits[name]:,}" for name in broken
            ),
            costs={**counts, "activations": counted.activations, "batch": architecture.recipe.batch_size},
        )
        if self._smallest is None or draft.excess < self._smallest.excess:
            self._smallest = draft
        return draft

    def shrink(self, values: Mapping[str, Any], rng: np.random.Generator) -> Draft:
        """A feasible point near `values`: mutations that bring it closer to the limits are kept, up to 300 of them;
        after 60 without progress it starts again, from a random point.

        Raises:
            UserError: none was found; says the smallest that was, and what to raise.
        """
        parameters = self._space.parameters()
        best, waited = self.draft(values), 0
        for _ in range(_STEPS):
            if best.excess == 0:
                return best
            if waited == _PATIENCE:
                best, waited = self.draft(space_parameters.sample(parameters, rng)), 0
                continue
            try:
                other = self.draft(space_parameters.mutate(parameters, best.values, rng))
            except space_parameters.ParameterError:
                break
            waited = 0 if other.excess < best.excess else waited + 1
            best = min(best, other, key=_excess)
        if best.excess == 0:
            return best
        raise UserError(self._impossible())

    def _impossible(self) -> str:
        limits = ", ".join(f"constraints.{name} {limit:,}" for name, limit in self._limits.items())
        if self._smallest is None:
            return f"search.space {self._space.name}: no point of it can be built for this data; use another space"
        found = self._smallest
        return (
            f"impossible constraint: space {self._space.name} has nothing within {limits or 'its own shapes'}; the "
            f"nearest found has {found.parameters:,} parameters and {found.flops:,} flops. Raise "
            f"{' and '.join(f'constraints.{name}' for name in self._limits) or 'the image size'} to at least that, or "
            "leave it out"
        )


def _excess(draft: Draft) -> float:
    return draft.excess
