"""Models whose variables have shapes and no values: enough to count by, and a fifth of the time."""

import keras

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.models.build import build
from nasflow.spaces.architecture import Architecture


def shaped(architecture: Architecture, inputs: InputSpec, output: OutputSpec) -> keras.Model:
    """The model that trials get, without drawing initial values."""
    with keras.StatelessScope(initialize_variables=False):
        model = build(architecture, inputs, output)
    keras.utils.clear_session(free_memory=False)  # or Keras would give them values when the next scope ends
    return model
