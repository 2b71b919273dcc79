"""SynFlow: Tanaka, Kunin, Yamins, Ganguli 2020, "Pruning neural networks without any data by iteratively conserving
synaptic flow", section 5 (synaptic saliency, equation 2, of R = 1ᵀ Π |θ| 1), summed over all weights as in Abdelfattah
et al. 2021, "Zero-Cost Proxies for Lightweight NAS", section 3.2."""

import dataclasses
import math
from typing import Any

import keras
import tensorflow as tf

from nasflow.data.tensors import dtype_of
from nasflow.models.build import build
from nasflow.models.proxies._base import NORMALISATIONS, Probe, without
from nasflow.models.runtime import Runtime, policy
from nasflow.spaces.architecture import Architecture, Node
from nasflow.spaces.cost import measures

_LEFT_OUT = NORMALISATIONS | {"dropout", "activation"}
_LEAST = 1e-300
_COPY = "output_in_float64"


def synflow(probe: Probe) -> float:
    """The logarithm of Σ |θ · ∂R/∂θ|; more is better. Looks at no data.

    All weights are their absolute values, the input is ones (ids are those of the batch's first row), and R is the sum
    of the outputs. Normalisation layers are left out, as the paper asks; so are activations, which are the identity on
    what positive weights make of ones if they are ReLUs, and would only saturate if they are not. Those inside of one
    operation (attention, GRU, squeeze-and-excite) stay.

    Sums grow by a factor of ten and more a layer: they are computed in float64, and the logarithm is returned. The
    least value is log 1e-300 = −690.8, where no weight reaches the output; inf or NaN beyond 1e308. A HyperModel's
    layers cannot be left out one by one: NaN.
    """
    if probe.architecture.nodes[-1].op == "hypermodel":
        return float("nan")
    channels = len(probe.inputs.image_mean)
    inputs = dataclasses.replace(probe.inputs, image_mean=(0.0,) * channels, image_std=(1.0,) * channels)
    with policy(_DOUBLE):
        model = _cut(build(_linear(probe), inputs, probe.output, seed=probe.seed))
    for variable in model.trainable_variables:
        variable.assign(keras.ops.abs(variable))
    weights = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        flow = tf.reduce_sum(tf.cast(model(_ones(probe, model), training=False), tf.float64))
    products = [
        tf.reduce_sum(tf.abs(tf.cast(weight, tf.float64) * tf.cast(gradient, tf.float64)))
        for weight, gradient in zip(weights, tape.gradient(flow, weights), strict=True)
        if gradient is not None
    ]
    return math.log(max(float(tf.add_n(products)) if products else 0.0, _LEAST))


_DOUBLE = Runtime(precision="float64")


def _linear(probe: Probe) -> Architecture:
    """Without normalisation and activations, and with a copy of the output layer, which is float32, before it."""
    plain = without(probe.architecture, _LEFT_OUT)
    *before, last = plain.nodes
    if last.op == "logits":
        return plain
    if len(measures(plain, probe.inputs, probe.output)[last.inputs[0]].shape) > 1:
        return plain  # packed networks: their output layer is many
    settings = {"units": probe.output.classes or 1, "bias": True}
    dense = Node(name=_COPY, op="dense", inputs=last.inputs, settings=settings)
    return dataclasses.replace(plain, nodes=(*before, dense, dataclasses.replace(last, inputs=(dense.name,))))


def _cut(model: keras.Model) -> keras.Model:
    """Without the layer after the copy, and without one that only turns answers into float32."""
    copy = next((layer for layer in model.layers if layer.name == _COPY), None)
    if copy is None and isinstance(last := model.get_layer("output"), keras.layers.Activation):
        return keras.Model(model.input, last.input)
    return model if copy is None else keras.Model(model.input, copy.output)


def _ones(probe: Probe, model: keras.Model) -> dict[str, Any]:
    found = {}
    for name in model.input:
        first = probe.rows.inputs[name][:1]
        ids = dtype_of(name) == "int32"
        found[name] = tf.constant(first) if ids else tf.ones(first.shape, dtype_of(name))
    return found
