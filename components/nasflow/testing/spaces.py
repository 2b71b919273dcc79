"""What every search space must do."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture, ArchitectureError
from nasflow.spaces.cost import cost
from nasflow.spaces.parameters import (
    active,
    check_declaration,
    key,
    mutate,
    problems,
    repair,
    sample,
)


class SpaceConformance:
    """What every space must hold. Set `inputs` and `output`, and say in `make` how the space is made for them."""

    inputs: InputSpec
    output: OutputSpec
    samples: int = 200
    """Random points that each test tries."""
    redundant: bool = False
    """Whether different values may mean isomorphic architectures, as in spaces of graphs. Say why."""

    def make(self) -> Space:
        """A new space for `inputs` and `output`."""
        raise NotImplementedError("a subclass says how its space is made")

    def test_parameters_are_well_formed_and_always_the_same(self) -> None:
        parameters = self.make().parameters()
        check_declaration(parameters)
        assert parameters
        assert parameters == self.make().parameters()

    def test_presets_lie_in_the_space(self) -> None:
        space = self.make()
        presets = space.presets()
        assert presets
        assert len({key(preset) for preset in presets}) == len(presets), "presets are different from each other"
        for preset in presets:
            assert problems(space.parameters(), preset) == []
            cost(space.architecture(preset), self.inputs, self.output)

    def test_samples_are_valid_and_need_no_repair(self) -> None:
        space, rng = self.make(), np.random.default_rng(1)
        for values in self._points():
            assert problems(space.parameters(), values) == []
            assert repair(space.parameters(), values, rng) == values

    def test_values_survive_json(self) -> None:
        space = self.make()
        for values in self._points():
            again = json.loads(json.dumps(values))
            assert problems(space.parameters(), again) == []
            assert space.architecture(again) == space.architecture(values)

    def test_a_mutation_changes_one_active_gene_and_stays_valid(self) -> None:
        space, rng = self.make(), np.random.default_rng(2)
        parameters = space.parameters()
        for values in self._points():
            changed = mutate(parameters, values, rng)
            assert problems(parameters, changed) == []
            shared = [name for name in values if name in changed and values[name] != changed[name]]
            assert len(shared) == 1, f"{values} → {changed}"
            woken = {parameter.name for parameter in active(parameters, changed)} - set(values)
            assert set(changed) - set(values) == woken

    def test_a_mutation_changes_the_architecture(self) -> None:
        """A gene that changes nothing wastes trials: it needs a condition."""
        space, rng = self.make(), np.random.default_rng(3)
        for values in self._points():
            changed = mutate(space.parameters(), values, rng)
            same = space.architecture(changed).identity == space.architecture(values).identity
            assert self.redundant or not same, f"{values} → {changed}"

    def test_an_architecture_is_a_pure_function_of_the_values(self) -> None:
        one, other = self.make(), self.make()
        for values in self._points():
            kept = dict(values)
            architecture = one.architecture(values)
            assert values == kept
            assert other.architecture(dict(reversed(values.items()))) == architecture
            assert other.architecture(values).identity == architecture.identity

    def test_an_architecture_survives_json(self) -> None:
        space = self.make()
        for values in self._points():
            architecture = space.architecture(values)
            again = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
            assert again == architecture
            assert again.identity == architecture.identity

    def test_every_sample_can_be_counted(self) -> None:
        space = self.make()
        for values in self._points():
            counted = cost(space.architecture(values), self.inputs, self.output)
            assert counted.parameters > 0
            assert counted.flops > 0
            assert 0 < counted.depth <= counted.activations

    def test_incomplete_values_are_refused(self) -> None:
        space = self.make()
        complete: Mapping[str, Any] = space.presets()[0]
        for name in complete:
            broken = {other: value for other, value in complete.items() if other != name}
            try:
                space.architecture(broken)
            except ArchitectureError:
                continue
            raise AssertionError(f"architecture() accepted values without {name!r}")

    def _points(self) -> list[dict[str, Any]]:
        rng = np.random.default_rng(0)
        return [sample(self.make().parameters(), rng) for _ in range(self.samples)]
