"""The Keras network of a relaxed space (`nasflow.spaces.relaxed`): trained to tell which operations matter, then thrown
away. Its layers are those of `nasflow.models.build`, made by the same makers."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from nasflow.data.tensors import InputSpec, OutputSpec, dtype_of
from nasflow.models.build import MAKERS, normalised
from nasflow.models.layers._base import Site
from nasflow.spaces.architecture import Architecture
from nasflow.spaces.relaxed import MIXED, PART, REJOIN


class Alphas:
    """The logits of the softmaxes, and what else the mixed operations of a network share."""

    def __init__(self, choices: Mapping[str, Sequence[str]]) -> None:
        """All logits are 0 at the start: DARTS's random ones of a thousandth only break ties, and so does the data."""
        self.logits = {
            name: keras.Variable(np.zeros(len(arms), np.float32), name=name, dtype="float32")
            for name, arms in choices.items()
        }
        self.auxiliary = tf.Variable(0.0, trainable=False)
        """Weight of the auxiliary skips."""
        self.skip_dropout = tf.Variable(0.0, trainable=False)
        """Rate."""
        self.step = tf.Variable(0, dtype=tf.int32, trainable=False)
        """Decides dropout's masks: another one for each step."""

    def probabilities(self) -> dict[str, NDArray[np.float32]]:
        """By softmax."""
        return {name: tf.nn.softmax(logits.value).numpy() for name, logits in self.logits.items()}


class Mixed(keras.layers.Layer):
    """The weighted sum of its inputs; float32 [rows, height, width, channels] each."""

    def __init__(self, alphas: Alphas, settings: Mapping[str, Any], *, name: str, number: int, seed: int) -> None:
        super().__init__(name=name)
        self._shared = _Held(alphas)
        self._choice, self._arms = str(settings["choice"]), tuple(settings["arms"])
        self._skip, self._auxiliary = settings["skip"], bool(settings["auxiliary"])
        self._scale, self._seed = float(settings["scale"]), (seed, number)

    def call(self, terms: Sequence[Any], training: bool = False) -> Any:  # noqa: FBT001, FBT002  # Keras's signature
        """Scale · Σ softmax(logits)[arm] · term, and auxiliary · last term where there is one."""
        alphas = self._shared.alphas
        weights = self._scale * tf.nn.softmax(alphas.logits[self._choice].value)
        there = list(terms[: len(self._arms)])
        if training and self._skip is not None:
            there[self._skip] = self._dropped(there[self._skip], alphas)
        parts = [weights[arm] * term for arm, term in zip(self._arms, there, strict=True)]
        if self._auxiliary:
            parts.append(alphas.auxiliary * terms[-1])
        return tf.add_n(parts)

    def compute_output_shape(self, shapes: Sequence[Any]) -> Any:
        """That of each input."""
        return shapes[0]

    def _dropped(self, term: Any, alphas: Alphas) -> Any:
        """Stateless, so that a training that was killed goes on to the same masks."""
        number = self._seed[1] + 100_003 * alphas.step
        drawn = tf.random.stateless_uniform(tf.shape(term), seed=[self._seed[0], number])
        kept = tf.cast(drawn >= alphas.skip_dropout, term.dtype)
        return term * kept / (1.0 - alphas.skip_dropout)


@dataclasses.dataclass(frozen=True, slots=True)
class _Held:
    """Keeps Keras from taking what all mixed operations share for one layer's own."""

    alphas: Alphas


def rejoined(made: Any, source: Any, *, parts: int, stride: int) -> Any:
    """The operations' channels and those that passed them by: Xu et al. 2020, "PC-DARTS", §3.2; the shuffle is that of
    Zhang et al. 2018, "ShuffleNet", §3.1.

    With two parts of two channels, made (m0, m1) and passed (p0, p1): m0 p0 m1 p1.
    """
    passed = source[..., source.shape[-1] // parts :]
    if stride > 1:
        passed = keras.layers.MaxPooling2D(stride, padding="same")(passed)
    both = keras.layers.Concatenate()([made, passed])
    height, width, channels = both.shape[1:]
    apart = keras.ops.reshape(both, (-1, height, width, parts, channels // parts))
    return keras.ops.reshape(keras.ops.transpose(apart, (0, 1, 2, 4, 3)), (-1, height, width, channels))


def build_supernet(
    network: Architecture,
    choices: Mapping[str, Sequence[str]],
    inputs: InputSpec,
    output: OutputSpec,
    *,
    seed: int = 0,
) -> tuple[keras.Model, Alphas]:
    """(the model, its softmaxes' logits). Inputs and output are those of `nasflow.models.build`; the logits are no
    weights of the model.

    A batch norm right before a weighted sum has no scale and shift of its own while the softmaxes learn (Liu et al.
    2019, appendix A.1.1): it would undo their weighting. They stay at 1 and 0, so that the network means what it says.
    """
    keras.utils.set_random_seed(seed)
    alphas = Alphas(choices)
    tensors: dict[str, Any] = {}
    sources: dict[str, Any] = {}
    last: set[str] = set()
    for number, node in enumerate(network.nodes):
        taken = tuple(tensors[source] for source in node.inputs)
        if node.op == "input":
            name = node.settings["tensor"]
            sources[name] = keras.Input(inputs.shape(name), name=name, dtype=dtype_of(name))
            tensors[node.name] = normalised(sources[name], inputs) if name == "image" else sources[name]
        elif node.op == MIXED:
            tensors[node.name] = Mixed(alphas, node.settings, name=node.name, number=number, seed=seed)(list(taken))
            last.update(node.inputs)
        elif node.op == PART:
            (x,) = taken
            tensors[node.name] = x[..., : x.shape[-1] // node.settings["of"]]
        elif node.op == REJOIN:
            tensors[node.name] = rejoined(*taken, parts=node.settings["of"], stride=node.settings["stride"])
        else:
            site = Site(
                name=node.name, settings=node.settings, sources=taken, inputs=inputs, output=output, linear=False
            )
            tensors[node.name] = MAKERS[node.op](site)
    model = keras.Model(sources, tensors[network.nodes[-1].name])
    for node in network.nodes:
        if node.op == "batch_norm" and node.name in last:
            layer = model.get_layer(node.name)
            layer.gamma.trainable = layer.beta.trainable = False
    return model, alphas
