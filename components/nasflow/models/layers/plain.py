"""Layers on any tensor: norms, activations, merges, dense layers, the output."""

from types import MappingProxyType
from typing import Any

import keras

from nasflow.models.layers._base import Makers, Site
from nasflow.models.layers.table import member_dense

MEMBERS = "members"
"""Name of the layer whose output is [rows, members, units] in a model of several packed networks."""


def _output(site: Site) -> Any:
    """Packed networks answer with their mean; `fit` trains each by itself, on the layer before.

    A linear model starts at zero: of columns that go together, random weights would stay apart for long.
    """
    x, units = site.source, site.output.classes or 1
    if len(x.shape) == 2:
        initializer = "zeros" if site.linear else "glorot_uniform"
        return keras.layers.Dense(units, kernel_initializer=initializer, name="output", dtype="float32")(x)
    each = member_dense(x, x.shape[1], units, MEMBERS)
    return keras.layers.GlobalAveragePooling1D(name="output", dtype="float32")(each)


MAKERS: Makers = MappingProxyType(
    {
        "flatten": lambda s: keras.layers.Flatten(name=s.name)(s.source),
        # The momentum of short runs: Keras's .99 would leave the statistics of the first steps in the average.
        "batch_norm": lambda s: keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=s.name)(s.source),
        "layer_norm": lambda s: keras.layers.LayerNormalization(epsilon=1e-5, name=s.name)(s.source),
        "group_norm": lambda s: keras.layers.GroupNormalization(s.settings["groups"], epsilon=1e-5, name=s.name)(
            s.source
        ),
        "activation": lambda s: keras.layers.Activation(s.settings["function"], name=s.name)(s.source),
        "dropout": lambda s: keras.layers.Dropout(s.settings["rate"], name=s.name)(s.source),
        "identity": lambda s: s.source,
        "zero": lambda s: keras.layers.Rescaling(0.0, name=s.name)(s.source),
        "add": lambda s: keras.layers.Add(name=s.name)(list(s.sources)),
        "multiply": lambda s: keras.layers.Multiply(name=s.name)(list(s.sources)),
        "concat": lambda s: keras.layers.Concatenate(name=s.name)(list(s.sources)),
        "dense": lambda s: keras.layers.Dense(s.settings["units"], use_bias=s.settings["bias"], name=s.name)(s.source),
        "output": _output,
        "logits": lambda s: keras.layers.Activation("linear", name="output", dtype="float32")(s.source),
    }
)
