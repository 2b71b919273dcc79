"""What a zero-cost proxy looks at: a network that was never trained, and one batch of training rows."""

import dataclasses
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.models.build import build
from nasflow.spaces.architecture import Architecture, Node

NORMALISATIONS = frozenset({"batch_norm", "layer_norm", "group_norm"})


class Probe:
    """An architecture with the weights of its seed, as all proxies see it. Dropout is left out of it: what is measured
    is the architecture, not one mask."""

    def __init__(
        self, architecture: Architecture, inputs: InputSpec, output: OutputSpec, rows: Tensors, *, seed: int
    ) -> None:
        """`rows`: the batch; see `batch`."""
        self.architecture, self.inputs, self.output, self.rows, self.seed = architecture, inputs, output, rows, seed

    @cached_property
    def model(self) -> keras.Model:
        """Built once for all proxies of this architecture."""
        return build(without(self.architecture, {"dropout"}), self.inputs, self.output, seed=self.seed)

    @cached_property
    def tensors(self) -> dict[str, tf.Tensor]:
        """Those inputs of the batch that the model looks at."""
        return {name: tf.constant(self.rows.inputs[name]) for name in self.model.input}

    @property
    def weights(self) -> list[Any]:
        """The trainable weights, as TensorFlow's variables."""
        return [variable.value for variable in self.model.trainable_variables]

    def loss(self, answers: Any) -> Any:
        """Mean over the batch, as in training without label smoothing: cross-entropy, or the squared error of the
        standardised target."""
        if self.output.classes is not None:
            labels = tf.constant(np.asarray(self.rows.labels, np.int32))
            return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, answers))
        targets = (np.asarray(self.rows.labels, np.float64) - self.output.mean) / self.output.std
        return tf.reduce_mean(tf.square(answers[:, 0] - tf.constant(targets.astype(np.float32))))

    def gradients(self) -> list[tuple[Any, Any]]:
        """(weight, gradient of the loss) of all weights that the loss depends on. Batch norm normalises by the batch,
        as in training."""
        with tf.GradientTape() as tape:
            loss = self.loss(tf.cast(self.model(self.tensors, training=True), tf.float32))
        found = tape.gradient(loss, self.weights)
        return [
            (weight, tf.convert_to_tensor(gradient))
            for weight, gradient in zip(self.weights, found, strict=True)
            if gradient is not None
        ]


def batch(train: Tensors, *, rows: int = 64, seed: int) -> Tensors:
    """The same `rows` training rows for every architecture of a study, drawn by the seed; all where there are fewer."""
    chosen = np.random.default_rng(seed).permutation(train.rows)[:rows]
    return train.take(np.sort(chosen))


def without(architecture: Architecture, operations: Collection[str]) -> Architecture:
    """The architecture without its nodes of these operations, each of which has one input: what they fed takes that."""
    stands_for: dict[str, str] = {}
    kept: list[Node] = []
    for node in architecture.nodes:
        sources = tuple(stands_for.get(source, source) for source in node.inputs)
        if node.op in operations:
            (stands_for[node.name],) = sources
        else:
            kept.append(dataclasses.replace(node, inputs=sources))
    return dataclasses.replace(architecture, nodes=tuple(kept))


def is_continuous(tensors: Mapping[str, Any], name: str) -> bool:
    """Whether an input is of numbers that can be varied a little: pixels and floats, not ids."""
    return name == "image" or tensors[name].dtype.is_floating
