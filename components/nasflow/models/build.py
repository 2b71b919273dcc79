"""Makes the Keras model of an architecture, from Keras's own layers only: `.keras` files load in safe mode anywhere."""

from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from nasflow.data.tensors import InputSpec, OutputSpec, dtype_of
from nasflow.models.layers import image, ngrams, plain, series, table, text
from nasflow.models.layers._base import Makers, Site
from nasflow.models.layers.plain import MEMBERS
from nasflow.spaces.architecture import Architecture
from nasflow.spaces.cost import cost

__all__ = ["MEMBERS", "build", "normalised"]

MAKERS: Makers = MappingProxyType(
    {**plain.MAKERS, **image.MAKERS, **table.MAKERS, **text.MAKERS, **ngrams.MAKERS, **series.MAKERS}
)
"""By operation; the module of a kind of operations here goes with one in `nasflow.spaces.operations`."""

_ENCODINGS = frozenset({"input", "concat", "embedding", "output"})
"""An architecture of these alone is linear."""


def build(architecture: Architecture, inputs: InputSpec, output: OutputSpec, *, seed: int = 0) -> keras.Model:
    """The model.

    Inputs are a dict by tensor name: image uint8 [rows, height, width, channels] 0–255 (normalised inside), numeric
    and plain float32 [rows, width], categorical and discrete int32 [rows, columns], text_0, … int32 [rows, length];
    only those that the architecture looks at.
    The output is float32: logits [rows, classes], or the standardised target [rows, 1].

    `seed` sets the initial weights and the dropout masks: same seed, same model. It seeds Python's, NumPy's and
    Keras's global generators.

    Raises:
        ArchitectureError: an impossible architecture (see `nasflow.spaces.cost`).
    """
    cost(architecture, inputs, output)  # says what is wrong in our words, before Keras does in its own
    keras.utils.set_random_seed(seed)
    if architecture.nodes[-1].op == "hypermodel":
        from nasflow.models.hypermodels.building import build_hypermodel  # Keras Tuner is slow to import

        return build_hypermodel(architecture, inputs, output)
    tensors: dict[str, Any] = {}
    sources: dict[str, Any] = {}
    linear = all(node.op in _ENCODINGS for node in architecture.nodes)
    for node in architecture.nodes:
        if node.op == "input":
            name = node.settings["tensor"]
            sources[name] = keras.Input(inputs.shape(name), name=name, dtype=dtype_of(name))
            tensors[node.name] = normalised(sources[name], inputs) if name == "image" else sources[name]
        else:
            tensors[node.name] = MAKERS[node.op](
                Site(
                    name=node.name,
                    settings=node.settings,
                    sources=tuple(tensors[source] for source in node.inputs),
                    inputs=inputs,
                    output=output,
                    linear=linear,
                )
            )
    return keras.Model(sources, tensors[architecture.nodes[-1].name])


def normalised(image: Any, inputs: InputSpec) -> Any:
    """(image − mean) / std per channel."""
    mean, std = np.asarray(inputs.image_mean), np.asarray(inputs.image_std)
    return keras.layers.Rescaling(
        scale=(1 / std).tolist(), offset=(-mean / std).tolist(), name="normalise", dtype="float32"
    )(image)
