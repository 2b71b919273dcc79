"""A space that is written in YAML: `search.space` as a mapping, or the path of a file with one.

name: tower                                  optional
parameters: …                                see `described_parameters`
layers: …                                    see `described_layers`; the output is added
recipe: {learning_rate: $rate, batch_size: 64}       fields of `Recipe`; left out, its defaults
presets: [{width: 64, depth: 2}]             values to begin with; what is left out, and a missing list, is the
                                             middle of each range and the first of each list
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from nasflow.core.errors import SpecError
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture, ArchitectureError, Recipe
from nasflow.spaces.cost import cost
from nasflow.spaces.described_layers import draw, resolve
from nasflow.spaces.described_layers import problems as problems_of_layers
from nasflow.spaces.described_parameters import Declared, declare
from nasflow.spaces.graph import Graph
from nasflow.spaces.parameters import Choice, Integer, Parameter, Value, active, problems

_KEYS = ("name", "parameters", "layers", "recipe", "presets")


def check_described(content: Mapping[str, Any]) -> Declared:
    """Checks all that can be checked without data.

    Raises:
        SpecError: every mistake at once, each begins with its key: ``search.space.layers.2.conv: …``.
    """
    found = [f"search.space.{key}: unknown; use {', '.join(_KEYS)}" for key in content if key not in _KEYS]
    declared = declare(content.get("parameters"))
    found += declared.problems
    found += problems_of_layers(content.get("layers"), declared.names())
    found += _of_recipe(content.get("recipe", {}), declared.names())
    presets = content.get("presets", [])
    if not isinstance(presets, list) or not all(isinstance(preset, Mapping) for preset in presets):
        found.append(f"search.space.presets: must be a list of values by name, got {presets!r}")
    elif not declared.problems:
        for place, preset in enumerate(presets):
            wrong = problems(declared.parameters, _complete(declared, preset))
            found += [f"search.space.presets.{place}.{why}" for why in wrong]
    if found:
        raise SpecError(found)
    return declared


class DescribedSpace(Space):
    """What such a mapping says."""

    def __init__(self, content: Mapping[str, Any], *, inputs: InputSpec, output: OutputSpec) -> None:
        """Raises:
        SpecError: a mistake in the mapping, or a first preset that cannot be built for the data.
        """
        self._declared = check_described(content)
        self.name = str(content.get("name", "described"))
        self._layers, self._recipe = content["layers"], dict(content.get("recipe", {}))
        self._presets = content.get("presets") or [{}]
        try:
            cost(self.architecture(self.presets()[0]), inputs, output)
        except ArchitectureError as error:
            raise SpecError([f"search.space.layers: the first preset cannot be built: {error}"]) from error

    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(self._declared.parameters)

    def presets(self) -> tuple[dict[str, Any], ...]:
        found: list[dict[str, Any]] = []
        for preset in self._presets:
            values = _complete(self._declared, preset)
            if values not in found:
                found.append(values)
        return tuple(found)

    def architecture(self, values: Mapping[str, Any]) -> Architecture:
        self.check(values)
        graph = Graph()
        last = draw(graph, self._layers, None, values, self._declared.each)
        if last is None:
            raise ArchitectureError("the layers are empty; begin with `input: image` or `input: numeric`")
        return graph.finish(last, Recipe(**{name: resolve(value, values) for name, value in self._recipe.items()}))


def _of_recipe(recipe: Any, names: set[str]) -> list[str]:
    known = [field.name for field in dataclasses.fields(Recipe)]
    if not isinstance(recipe, Mapping):
        return [f"search.space.recipe: must be settings by name, got {recipe!r}; known: {', '.join(known)}"]
    found = [f"search.space.recipe.{key}: unknown; known: {', '.join(known)}" for key in recipe if key not in known]
    for key, value in recipe.items():
        if isinstance(value, str) and value.startswith("$") and value[1:] not in names:
            found.append(f"search.space.recipe.{key}: unknown parameter {value!r}; known: {', '.join(sorted(names))}")
    return found


def _complete(declared: Declared, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values given, those of others, and nothing that does not count. `units: 32` stands for each `units_1`, …"""
    values = {parameter.name: _middle(parameter) for parameter in declared.parameters}
    for name, value in given.items():
        alike = [p.name for p in declared.parameters if name in declared.each and p.name.rpartition("_")[0] == name]
        values |= dict.fromkeys(alike or [str(name)], value)
    kept = [parameter.name for parameter in active(declared.parameters, values)]
    unknown = [name for name in values if name not in {p.name for p in declared.parameters}]
    return {name: values[name] for name in [*kept, *unknown]}


def _middle(parameter: Parameter) -> Value:
    if isinstance(parameter, Choice):
        return parameter.values[0]
    middle = parameter.at(0.5)
    return int(middle) if isinstance(parameter, Integer) else float(middle)
