"""Predictions in large batches through one traced function: no `model.predict`, which costs more than small models."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from nasflow.data.answers import answers
from nasflow.data.tensors import OutputSpec, Tensors

_CACHE = "_nasflow_forward"
_MAX_BATCH = 4096
_NUMBERS = 1 << 20
"""A batch has about so many input numbers at most: activations are many times as large."""


def predict(model: keras.Model, tensors: Tensors, output: OutputSpec) -> NDArray[np.float64]:
    """Probabilities float64 [rows, classes], or targets in their own units float64 [rows].

    Rows that the model answers with NaN stay NaN. No rows give an empty array.
    """
    return answers(logits(model, tensors, output), output)


def logits(model: keras.Model, tensors: Tensors, output: OutputSpec) -> NDArray[np.float64]:
    """What the model itself puts out, float64 [rows, classes or 1]."""
    forward = _forward(model)
    tensors = tensors.only(model.input)
    row = sum(math.prod(values.shape[1:]) for values in tensors.inputs.values())
    batch = min(_MAX_BATCH, max(32, _NUMBERS // max(1, row)))
    parts = [
        forward({name: tf.constant(values[start : start + batch]) for name, values in tensors.inputs.items()}).numpy()
        for start in range(0, tensors.rows, batch)
    ]
    return np.concatenate(parts).astype(np.float64) if parts else np.empty((0, output.classes or 1))


def _forward(model: keras.Model) -> Any:
    """The traced function; kept on the model, so that it lives as long as the model does."""
    cached = vars(model).get(_CACHE)
    if cached is None:
        signature = {
            name: tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype) for name, tensor in model.input.items()
        }

        @tf.function(input_signature=[signature], autograph=False)
        def forward(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
            return model(inputs, training=False)

        cached = vars(model)[_CACHE] = forward
    return cached
