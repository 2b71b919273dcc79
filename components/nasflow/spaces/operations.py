"""The operations of an architecture: output shape, trainable parameters and multiply-adds of each, in pure Python.

    op                settings                      input → output (without the batch dimension)
    input             tensor                        → image (h, w, c), numeric or plain (f,), ids (k,)
    conv              filters kernel stride bias    (h, w, c) → (⌈h/stride⌉, ⌈w/stride⌉, filters)
    separable_conv    filters kernel stride bias    as conv; a depthwise convolution, then a 1×1 one
    max_pool avg_pool size                          (h, w, c) → (⌈h/size⌉, ⌈w/size⌉, c)
    global_avg_pool global_max_pool                 (h, w, c) → (c,)
    flatten                                         any → (product,)
    batch_norm layer_norm                           unchanged; over the last axis
    activation        function                      unchanged; relu, gelu, swish, tanh
    dropout           rate                          unchanged
    identity                                        unchanged
    add                                             all inputs of one shape → that shape
    concat                                          joins the last axis
    dense             units bias                    (d,) → (units,)
    member_dense      members units                 (d,) or (members, d) → (members, units): independent networks in one
    embedding         tensor dim                    categorical or discrete (k,) → (k · dim,)
    periodic          frequencies sigma dim         numeric (f,) → (f · dim,); Gorishniy et al. 2022, "PLR"
    piecewise         bins dim                      numeric (f,) → (f · dim,); the same paper, learned bins
    quantile          bins dim                      the same, at most so many bins between the data's quantiles, fixed
    output                                          (d,) or (members, d) → (classes,) or (1,)

`nasflow.models.build` makes the Keras layers; a test holds the numbers here equal to Keras's own.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.architecture import ArchitectureError, Node, Shape
from nasflow.spaces.bins import widest

ACTIVATIONS = ("relu", "gelu", "swish", "tanh")


@dataclasses.dataclass(frozen=True, slots=True)
class Measure:
    """What one operation makes and costs."""

    shape: Shape
    parameters: int = 0
    """Trainable."""
    multiply_adds: int = 0
    """Of convolutions and matrix products, for one example."""


def measure(node: Node, shapes: Sequence[Shape], inputs: InputSpec, output: OutputSpec) -> Measure:
    """Measures one node, given its inputs' shapes.

    Raises:
        ArchitectureError: an unknown operation, missing settings, or shapes that it cannot take.
    """
    operation = _OPERATIONS.get(node.op)
    if operation is None:
        raise ArchitectureError(f"{node.name}: unknown operation {node.op!r}; use one of {', '.join(_OPERATIONS)}")
    try:
        return operation(_Context(node.settings, tuple(shapes), inputs, output))
    except (KeyError, ValueError) as error:
        raise ArchitectureError(
            f"{node.name}: {node.op} with {dict(node.settings)!r} cannot take {list(shapes)!r}: {error!r}"
        ) from error


@dataclasses.dataclass(frozen=True, slots=True)
class _Context:
    settings: Mapping[str, Any]
    shapes: tuple[Shape, ...]
    inputs: InputSpec
    output: OutputSpec

    def one(self, *ranks: int) -> Shape:
        (shape,) = self.shapes
        if ranks and len(shape) not in ranks:
            raise ValueError(f"an input of rank {' or '.join(map(str, ranks))} is needed")
        return shape

    def whole(self, name: str) -> int:
        value = self.settings[name]
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")
        return value


def _input(c: _Context) -> Measure:
    if c.shapes:
        raise ValueError("an input has no inputs")
    tensor = c.settings["tensor"]
    if shape := c.inputs.shape(tensor):
        return Measure(shape)
    raise ValueError("the data has no such tensor")


def _conv(c: _Context) -> Measure:
    height, width, channels = c.one(3)
    filters, kernel, stride = c.whole("filters"), c.whole("kernel"), c.whole("stride")
    out = (-(-height // stride), -(-width // stride), filters)
    weights = kernel * kernel * channels * filters
    return Measure(out, weights + filters * bool(c.settings["bias"]), out[0] * out[1] * weights)


def _separable_conv(c: _Context) -> Measure:
    height, width, channels = c.one(3)
    filters, kernel, stride = c.whole("filters"), c.whole("kernel"), c.whole("stride")
    out = (-(-height // stride), -(-width // stride), filters)
    weights = kernel * kernel * channels + channels * filters
    return Measure(out, weights + filters * bool(c.settings["bias"]), out[0] * out[1] * weights)


def _pool(c: _Context) -> Measure:
    height, width, channels = c.one(3)
    size = c.whole("size")
    return Measure((-(-height // size), -(-width // size), channels))


def _global_pool(c: _Context) -> Measure:
    return Measure((c.one(3)[2],))


def _flatten(c: _Context) -> Measure:
    return Measure((math.prod(c.one()),))


def _norm(c: _Context) -> Measure:
    shape = c.one()
    return Measure(shape, 2 * shape[-1])


def _activation(c: _Context) -> Measure:
    if c.settings["function"] not in ACTIVATIONS:
        raise ValueError(f"function must be one of {', '.join(ACTIVATIONS)}")
    return Measure(c.one())


def _dropout(c: _Context) -> Measure:
    if not 0 <= float(c.settings["rate"]) < 1:
        raise ValueError("rate must be in [0, 1)")
    return Measure(c.one())


def _identity(c: _Context) -> Measure:
    return Measure(c.one())


def _add(c: _Context) -> Measure:
    if len(c.shapes) < 2 or len(set(c.shapes)) != 1:
        raise ValueError("two or more inputs of one shape are needed")
    return Measure(c.shapes[0])


def _concat(c: _Context) -> Measure:
    if len(c.shapes) < 2 or len({shape[:-1] for shape in c.shapes}) != 1:
        raise ValueError("two or more inputs that differ in the last axis only are needed")
    return Measure((*c.shapes[0][:-1], sum(shape[-1] for shape in c.shapes)))


def _dense(c: _Context) -> Measure:
    (width,) = c.one(1)
    units = c.whole("units")
    return Measure((units,), width * units + units * bool(c.settings["bias"]), width * units)


def _member_dense(c: _Context) -> Measure:
    shape, members, units = c.one(1, 2), c.whole("members"), c.whole("units")
    if len(shape) == 2 and shape[0] != members:
        raise ValueError(f"the input has {shape[0]} members")
    return Measure((members, units), members * (shape[-1] + 1) * units, members * shape[-1] * units)


def _embedding(c: _Context) -> Measure:
    (columns,) = c.one(1)
    ids = ids_of(c.inputs, c.settings.get("tensor", "categorical"))
    if columns != len(ids):
        raise ValueError("it takes the tensor of ids itself")
    dim = c.whole("dim")
    return Measure((columns * dim,), sum(ids) * dim)


def _periodic(c: _Context) -> Measure:
    (features,) = c.one(1)
    frequencies, dim = c.whole("frequencies"), c.whole("dim")
    if float(c.settings["sigma"]) <= 0:
        raise ValueError("sigma must be > 0")
    products = features * frequencies * (1 + 2 * dim)
    return Measure((features * dim,), products + features * dim, products)


def _piecewise(c: _Context) -> Measure:
    (features,) = c.one(1)
    bins, dim = c.whole("bins"), c.whole("dim")
    products = features * bins * (1 + dim)
    return Measure((features * dim,), products + features * (bins + dim), products)


def _quantile(c: _Context) -> Measure:
    (features,) = c.one(1)
    bins, dim = widest(c.inputs, c.whole("bins")), c.whole("dim")
    if features != len(c.inputs.edges) or not bins:
        raise ValueError("it takes the numeric tensor itself, whose columns have edges")
    return Measure((features * dim,), features * (bins + 1) * dim, features * bins * (1 + dim))


def ids_of(inputs: InputSpec, tensor: str) -> tuple[int, ...]:
    """How many ids each column of a tensor of ids has."""
    return inputs.discrete if tensor == "discrete" else inputs.cardinalities


def _output(c: _Context) -> Measure:
    shape = c.one(1, 2)
    units = c.output.classes or 1
    members = shape[0] if len(shape) == 2 else 1
    return Measure((units,), members * (shape[-1] + 1) * units, members * shape[-1] * units)


_OPERATIONS: Mapping[str, Callable[[_Context], Measure]] = MappingProxyType(
    {
        "input": _input,
        "conv": _conv,
        "separable_conv": _separable_conv,
        "max_pool": _pool,
        "avg_pool": _pool,
        "global_avg_pool": _global_pool,
        "global_max_pool": _global_pool,
        "flatten": _flatten,
        "batch_norm": _norm,
        "layer_norm": _norm,
        "activation": _activation,
        "dropout": _dropout,
        "identity": _identity,
        "add": _add,
        "concat": _concat,
        "dense": _dense,
        "member_dense": _member_dense,
        "embedding": _embedding,
        "periodic": _periodic,
        "piecewise": _piecewise,
        "quantile": _quantile,
        "output": _output,
    }
)
