"""The model of a HyperModel as the only layer of an architecture."""

from typing import Any

import keras

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.models.hypermodels.held import Held, hold
from nasflow.models.hypermodels.source import build_with, digest, load
from nasflow.models.hypermodels.wrapping import wrap
from nasflow.spaces.architecture import Architecture, ArchitectureError


def build_hypermodel(architecture: Architecture, inputs: InputSpec, output: OutputSpec) -> keras.Model:
    """The wrapped model, which carries what it needs to be trained.

    Raises:
        ArchitectureError: the HyperModel's file has changed since the search, or its `build` fails.
    """
    settings: Any = architecture.nodes[-1].settings
    path = settings["hypermodel"]
    hypermodel = load(path, settings["arguments"])
    if digest(path) != settings["code"]:
        raise ArchitectureError(f"{path}: its code has changed since the search; run the search again")
    inner, hp = build_with(hypermodel, settings["values"], path)
    wrapped = wrap(inner, inputs, output)
    hold(wrapped.model, Held(hypermodel, hp, wrapped))
    return wrapped.model
