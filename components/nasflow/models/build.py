"""Makes the Keras model of an architecture, from Keras's own layers only: `.keras` files load in safe mode anywhere."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from nasflow.data.tensors import DTYPES, InputSpec, OutputSpec
from nasflow.spaces.architecture import Architecture, Node
from nasflow.spaces.bins import bins_of, widest
from nasflow.spaces.cost import cost
from nasflow.spaces.operations import ids_of

MEMBERS = "members"
"""Name of the layer whose output is [rows, members, units] in a model of several packed networks."""

_ENCODINGS = frozenset({"input", "concat", "embedding", "output"})


def build(architecture: Architecture, inputs: InputSpec, output: OutputSpec, *, seed: int = 0) -> keras.Model:
    """The model.

    Inputs are a dict by tensor name: image uint8 [rows, height, width, channels] 0–255 (normalised inside), numeric
    and plain float32 [rows, width], categorical and discrete int32 [rows, columns]; only those that the architecture
    looks at.
    The output is float32: logits [rows, classes], or the standardised target [rows, 1].

    `seed` sets the initial weights and the dropout masks: same seed, same model. It seeds Python's, NumPy's and
    Keras's global generators.

    Raises:
        ArchitectureError: an impossible architecture (see `nasflow.spaces.cost`).
    """
    cost(architecture, inputs, output)  # says what is wrong in our words, before Keras does in its own
    keras.utils.set_random_seed(seed)
    tensors: dict[str, Any] = {}
    sources: dict[str, Any] = {}
    for node in architecture.nodes:
        if node.op == "input":
            name = node.settings["tensor"]
            sources[name] = keras.Input(inputs.shape(name), name=name, dtype=DTYPES[name])
            tensors[node.name] = _normalised(sources[name], inputs) if name == "image" else sources[name]
        else:
            tensors[node.name] = _make(node, [tensors[source] for source in node.inputs], architecture, inputs, output)
    return keras.Model(sources, tensors[architecture.nodes[-1].name])


def _normalised(image: Any, inputs: InputSpec) -> Any:
    """(image − mean) / std per channel."""
    mean, std = np.asarray(inputs.image_mean), np.asarray(inputs.image_std)
    return keras.layers.Rescaling(
        scale=(1 / std).tolist(), offset=(-mean / std).tolist(), name="normalise", dtype="float32"
    )(image)


def _hidden(architecture: Architecture) -> bool:
    """Whether there is anything between the inputs and the output but encodings."""
    return any(node.op not in _ENCODINGS for node in architecture.nodes)


def _make(node: Node, sources: list[Any], architecture: Architecture, inputs: InputSpec, output: OutputSpec) -> Any:
    match node.op:
        case "add":
            return keras.layers.Add(name=node.name)(sources)
        case "concat":
            return keras.layers.Concatenate(name=node.name)(sources)
        case "embedding":
            return _embedding(node, sources[0], inputs)
        case "output":
            # A linear model starts at zero: of columns that go together, random weights would stay apart for long.
            return _output(sources[0], output.classes or 1, "glorot_uniform" if _hidden(architecture) else "zeros")
        case "periodic":
            return _periodic(node, sources[0])
        case "piecewise":
            return _piecewise(node, sources[0])
        case "quantile":
            return _quantile(node, sources[0], inputs)
        case "member_dense":
            return _member_dense(sources[0], node.settings["members"], node.settings["units"], node.name)
        case "identity":
            return sources[0]
    return _LAYERS[node.op](node.settings, node.name)(sources[0])


def _conv(settings: Mapping[str, Any], name: str) -> Any:
    return keras.layers.Conv2D(
        settings["filters"],
        settings["kernel"],
        strides=settings["stride"],
        padding="same",
        use_bias=settings["bias"],
        name=name,
    )


def _separable_conv(settings: Mapping[str, Any], name: str) -> Any:
    return keras.layers.SeparableConv2D(
        settings["filters"],
        settings["kernel"],
        strides=settings["stride"],
        padding="same",
        use_bias=settings["bias"],
        name=name,
    )


_LAYERS: Mapping[str, Callable[[Mapping[str, Any], str], Any]] = MappingProxyType(
    {
        "conv": _conv,
        "separable_conv": _separable_conv,
        "max_pool": lambda s, name: keras.layers.MaxPooling2D(s["size"], padding="same", name=name),
        "avg_pool": lambda s, name: keras.layers.AveragePooling2D(s["size"], padding="same", name=name),
        "global_avg_pool": lambda _, name: keras.layers.GlobalAveragePooling2D(name=name),
        "global_max_pool": lambda _, name: keras.layers.GlobalMaxPooling2D(name=name),
        "flatten": lambda _, name: keras.layers.Flatten(name=name),
        # The momentum of short runs: Keras's .99 would leave the statistics of the first steps in the average.
        "batch_norm": lambda _, name: keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name),
        "layer_norm": lambda _, name: keras.layers.LayerNormalization(epsilon=1e-5, name=name),
        "activation": lambda s, name: keras.layers.Activation(s["function"], name=name),
        "dropout": lambda s, name: keras.layers.Dropout(s["rate"], name=name),
        "dense": lambda s, name: keras.layers.Dense(s["units"], use_bias=s["bias"], name=name),
    }
)


def _embedding(node: Node, ids: Any, inputs: InputSpec) -> Any:
    """One table for all columns: each column's ids are moved behind those of the columns before it."""
    offsets = np.cumsum([0, *ids_of(inputs, node.settings.get("tensor", "categorical"))])
    shifted = keras.layers.Rescaling(1.0, offset=[float(o) for o in offsets[:-1]], name=f"{node.name}_offsets")(ids)
    table = keras.layers.Embedding(
        int(offsets[-1]), node.settings["dim"], embeddings_initializer="glorot_uniform", name=node.name
    )
    return keras.layers.Flatten(name=f"{node.name}_flat")(table(shifted))


def _periodic(node: Node, numeric: Any) -> Any:
    """ReLU(linear([sin 2πcx, cos 2πcx])) for each feature x, with learned c ~ N(0, sigma)."""
    settings, name = node.settings, node.name
    angles = keras.layers.EinsumDense(
        "nf,fk->nfk",
        (numeric.shape[-1], settings["frequencies"]),
        kernel_initializer=keras.initializers.RandomNormal(stddev=2 * math.pi * settings["sigma"]),
        name=f"{name}_angles",
    )(numeric)
    waves = keras.layers.Concatenate(name=f"{name}_waves")([keras.ops.sin(angles), keras.ops.cos(angles)])
    return _per_feature(name, waves, settings["dim"])


def _piecewise(node: Node, numeric: Any) -> Any:
    """ReLU(linear(clip(ax + c, 0, 1))) for each feature x: a piecewise-linear encoding whose bins are learned.

    They start at equal steps of asinh(x) between ±6 standard deviations: finest about the mean, yet long tails count.
    """
    settings, name, features = node.settings, node.name, numeric.shape[-1]
    edges = np.sinh(np.linspace(-2.5, 2.5, settings["bins"] + 1))
    slopes = 1 / np.diff(edges)
    bins = keras.layers.EinsumDense(
        "nf,fk->nfk",
        (features, settings["bins"]),
        bias_axes="fk",
        kernel_initializer=keras.initializers.Constant(slopes.tolist()),
        bias_initializer=keras.initializers.Constant((-edges[:-1] * slopes).tolist()),
        name=f"{name}_bins",
    )(numeric)
    return _per_feature(name, keras.layers.ReLU(max_value=1.0, name=f"{name}_clip")(bins), settings["dim"])


def _quantile(node: Node, numeric: Any, inputs: InputSpec) -> Any:
    """ReLU(linear(clip((x − low) / (high − low), 0, 1) of each bin)) for each feature x, the bins fixed.

    The piecewise-linear encoding of Gorishniy et al. 2022 (On Embeddings for Numerical Features, §3.2), but with edges
    at quantiles of the distinct values, and what lies outside of them cut off. A column of fewer bins than the widest
    has bins that are always 0.
    """
    settings, name, features = node.settings, node.name, numeric.shape[-1]
    slopes = np.zeros((features, widest(inputs, settings["bins"])))
    starts = np.zeros_like(slopes)
    for feature, bins in enumerate(bins_of(inputs, settings["bins"])):
        for place, (low, high) in enumerate(bins):
            slopes[feature, place] = 1 / (high - low)
            starts[feature, place] = -low / (high - low)
    bins = keras.layers.EinsumDense(
        "nf,fk->nfk",
        slopes.shape,
        bias_axes="fk",
        kernel_initializer=keras.initializers.Constant(slopes.tolist()),
        bias_initializer=keras.initializers.Constant(starts.tolist()),
        trainable=False,
        name=f"{name}_bins",
    )(numeric)
    return _per_feature(name, keras.layers.ReLU(max_value=1.0, name=f"{name}_clip")(bins), settings["dim"])


def _per_feature(name: str, values: Any, dim: int) -> Any:
    """[rows, features, k] → [rows, features · dim], a layer of its own for each feature."""
    features, width = values.shape[1:]
    limit = math.sqrt(1 / width)
    mixed = keras.layers.EinsumDense(
        "nfk,fkd->nfd",
        (features, dim),
        bias_axes="fd",
        activation="relu",
        # Keras would count the features into the fan-in; each has a layer of its own.
        kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
        name=name,
    )(values)
    return keras.layers.Flatten(name=f"{name}_flat")(mixed)


def _member_dense(x: Any, members: int, units: int, name: str) -> Any:
    limit = math.sqrt(6 / (x.shape[-1] + units))  # Glorot's, for each member by itself
    return keras.layers.EinsumDense(
        "nd,mdu->nmu" if len(x.shape) == 2 else "nmd,mdu->nmu",
        (members, units),
        bias_axes="mu",
        kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
        name=name,
    )(x)


def _output(x: Any, units: int, initializer: str) -> Any:
    """Packed networks answer with their mean; `fit` trains each by itself, on the layer before."""
    if len(x.shape) == 2:
        return keras.layers.Dense(units, kernel_initializer=initializer, name="output", dtype="float32")(x)
    each = _member_dense(x, x.shape[1], units, MEMBERS)
    return keras.layers.GlobalAveragePooling1D(name="output", dtype="float32")(each)
