"""Our parameters as Keras Tuner's HyperParameters, and its values as ours."""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import keras_tuner
import numpy as np

from nasflow.spaces.parameters import Choice, Integer, Parameter, When, repair

CONTROL = "tuner/"
"""Keras Tuner's oracles talk to their tuners through values of this prefix."""


def declare(parameters: Iterable[Parameter]) -> keras_tuner.HyperParameters:
    """The whole space, up front, parents first, conditions as scopes: an oracle never meets a new entry later, and an
    inactive parameter never counts. Keras Tuner finds a conditional parent only inside that parent's own scopes, so
    the scopes of all ancestors are opened, outermost first."""
    space = keras_tuner.HyperParameters()
    known: dict[str, Parameter] = {}
    for parameter in parameters:
        known[parameter.name] = parameter
        with contextlib.ExitStack() as scopes:
            for when in _conditions(parameter, known):
                scopes.enter_context(space.conditional_scope(when.parent, list(when.values)))
            _declare(space, parameter)
    return space


def split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the space's values, Keras Tuner's own)."""
    own = {name: value for name, value in values.items() if name.startswith(CONTROL)}
    return {name: value for name, value in values.items() if name not in own}, own


def point(parameters: tuple[Parameter, ...], values: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Keras Tuner's values as a valid point: floats within the rounding of its protocol (float32) are put right."""
    return repair(parameters, split(values)[0], rng)


def _conditions(parameter: Parameter, known: Mapping[str, Parameter]) -> list[When]:
    """Its ancestors' and its own, outermost first."""
    if parameter.when is None:
        return []
    return [*_conditions(known[parameter.when.parent], known), parameter.when]


def _declare(space: keras_tuner.HyperParameters, parameter: Parameter) -> None:
    if isinstance(parameter, Choice):
        space.Choice(parameter.name, list(parameter.values))
        return
    sampling = "log" if parameter.log else "linear"
    kind = space.Int if isinstance(parameter, Integer) else space.Float
    kind(parameter.name, parameter.low, parameter.high, sampling=sampling)
