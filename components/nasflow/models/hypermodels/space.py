"""A HyperModel as a space: its hyperparameters, and architectures of a single node."""

import functools
import inspect
import json
from collections.abc import Mapping
from typing import Any

import keras
import keras_tuner
import numpy as np

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.models.hypermodels.discovery import Found, discover, theirs
from nasflow.models.hypermodels.source import build_with, digest, is_hypermodel, load
from nasflow.models.hypermodels.training import made_up, train
from nasflow.models.hypermodels.wrapping import multiply_adds, wrap
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture, Node
from nasflow.spaces.parameters import Parameter, active, key, repair

_KEPT = 512
"""Architectures that are remembered: finding out what one costs builds it."""


class HyperModelSpace(Space):
    """What ``package.module:attribute`` can build.

    An architecture's identity is the file that the HyperModel is defined in, and the values that it looked at.
    """

    name = "hypermodel"

    def __init__(
        self, path: str, *, inputs: InputSpec, output: OutputSpec, arguments: Mapping[str, Any] | None = None
    ) -> None:
        """Raises:
        SpecError: it cannot be imported or made.
        ArchitectureError: its `build` does not work with its own defaults.
        """
        self._path, self._arguments = path, dict(arguments or {})
        self._inputs, self._output = inputs, output
        self._hypermodel = load(path, self._arguments)
        self._code = digest(path)
        found, self._for_fit = _found(path, json.dumps(self._arguments, sort_keys=True), self._code, inputs, output)
        self._parameters = found.parameters
        self._defaults = found.defaults
        self._known: dict[Any, Architecture] = {}

    def parameters(self) -> tuple[Parameter, ...]:
        return self._parameters

    def presets(self) -> tuple[dict[str, Any], ...]:
        """The defaults that the HyperModel itself gives: Keras Tuner's first trial."""
        names = {parameter.name for parameter in active(self._parameters, self._defaults)}
        kept = {name: value for name, value in self._defaults.items() if name in names}
        return (repair(self._parameters, kept, np.random.default_rng(0)),)

    def architecture(self, values: Mapping[str, Any]) -> Architecture:
        self.check(values)
        known = key(values)
        if known not in self._known:
            if len(self._known) >= _KEPT:
                self._known.pop(next(iter(self._known)))
            self._known[known] = self._make(theirs(values, self._parameters))
        return self._known[known]

    def _make(self, values: Mapping[str, Any]) -> Architecture:
        inner, hp = build_with(self._hypermodel, values, self._path)
        wrapped = wrap(inner, self._inputs, self._output)
        # What `build` did not look at may still be for `fit`: only that is left out which `build` can look at.
        used = {entry.name for entry in hp.space if hp.is_active(entry)}
        settings = {
            "hypermodel": self._path,
            "arguments": self._arguments,
            "code": self._code,
            "values": {name: value for name, value in values.items() if name in used | self._for_fit},
            "parameters": sum(int(np.prod(weight.shape)) for weight in wrapped.model.trainable_weights),
            "multiply_adds": multiply_adds(wrapped.inner),
        }
        keras.utils.clear_session(free_memory=False)
        tensors = list(wrapped.model.input)
        nodes = [Node(name=tensor, op="input", inputs=(), settings={"tensor": tensor}) for tensor in tensors]
        last = Node(name="output", op="hypermodel", inputs=tuple(tensors), settings=settings)
        return Architecture(nodes=(*nodes, last))


@functools.lru_cache(maxsize=8)
def _found(path: str, arguments: str, code: str, inputs: InputSpec, output: OutputSpec) -> tuple[Found, frozenset[str]]:
    """(all parameters, the names of those that only `fit` looks at).

    Where `fit` is the user's own, a model is trained on a few made-up rows, once: parameters of `fit` that depend on
    others are not found.
    """
    del code  # of another file, something else may be found
    hypermodel = load(path, json.loads(arguments))
    own_fit = type(hypermodel).fit is not keras_tuner.HyperModel.fit
    for_fit: list[Any] = []

    def look(values: Mapping[str, Any]) -> keras_tuner.HyperParameters:
        inner, hp = build_with(hypermodel, values, path)
        if own_fit and not values:
            built, rows = {entry.name for entry in hp.space}, made_up(inputs, output)
            train(hypermodel, hp, wrap(inner, inputs, output), rows, rows, output=output, epochs=1, callbacks=[])
            for_fit.extend(entry for entry in hp.space if entry.name not in built)
        else:
            for entry in for_fit:
                hp._retrieve(entry)  # as if `fit` had looked at it
        keras.utils.clear_session(free_memory=False)
        return hp

    found = discover(look)
    return found, frozenset(entry.name for entry in for_fit)


def adapt(
    name: str, found: Any, inputs: InputSpec, output: OutputSpec, settings: Mapping[str, Any]
) -> HyperModelSpace | None:
    """For `nasflow.spaces.registry.get_space`. A class with arguments called ``classes`` or ``image`` (height, width,
    channels) is told those of the data, unless the settings do."""
    if not is_hypermodel(found):
        return None
    wanted = inspect.signature(found).parameters if inspect.isclass(found) else {}
    known = {"image": list(inputs.image or ()), "classes": output.classes}
    told = {key: value for key, value in known.items() if key in wanted and value}
    return HyperModelSpace(name, inputs=inputs, output=output, arguments={**told, **settings})
