"""A user's model between our tensors and our outputs.

What it is given: the tensors that its inputs are named after (`nasflow.data.tensors`), as they are; else its one input,
which is images as float32 in 0–1, or a table as one float32 matrix: numbers, then each category as 0 and 1. What it
puts out may be probabilities or logits, one unit for two classes, or the standardised target.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import keras

from nasflow.data.tensors import DTYPES, InputSpec, OutputSpec, dtype_of, text_tensors
from nasflow.spaces.architecture import ArchitectureError

_TINY = 1e-7
_SURE = ("softmax", "sigmoid")


@dataclasses.dataclass(frozen=True, slots=True)
class Wrapped:
    """Three models that share one set of weights."""

    model: keras.Model
    """Our tensors → our logits, or the standardised target."""
    inner: keras.Model
    """The user's own."""
    adapter: keras.Model
    """Our tensors → what the user's takes."""


def wrap(inner: keras.Model, inputs: InputSpec, output: OutputSpec) -> Wrapped:
    """Raises:
    ArchitectureError: the model cannot take the data's tensors, or puts out something else.
    """
    sources, given = _given(inner, inputs)
    try:
        answer = inner(given)
    except Exception as error:
        shapes = {name: tuple(tensor.shape) for name, tensor in sources.items()}
        raise ArchitectureError(
            f"the model of build(hp) cannot take the data's {shapes}: {type(error).__name__}: {error}"
        ) from error
    logits = _logits(inner, answer, output)
    logits = keras.layers.Activation("linear", dtype="float32", name="output")(logits)
    return Wrapped(keras.Model(sources, logits), inner, keras.Model(sources, given))


def _given(inner: keras.Model, inputs: InputSpec) -> tuple[dict[str, Any], Any]:
    """(our inputs by name, what the model is called with)."""
    wanted = getattr(inner, "inputs", None) or []
    names = [tensor.name for tensor in wanted]
    has = {name: inputs.shape(name) for name in (*DTYPES, *text_tensors(inputs)) if inputs.shape(name)}
    if names and all(name in has for name in names):
        sources = {name: keras.Input(has[name], name=name, dtype=dtype_of(name)) for name in names}
        named = {name: _numbers(name, tensor) for name, tensor in sources.items()}
        return sources, named if len(names) > 1 or isinstance(inner.input, Mapping) else named[names[0]]
    if len(names) > 1:
        raise ArchitectureError(
            f"the model of build(hp) has inputs {', '.join(names)}; several inputs must be named after the data's: "
            f"{', '.join(has)}"
        )
    chosen = _single(has)
    sources = {name: keras.Input(has[name], name=name, dtype=dtype_of(name)) for name in chosen}
    parts = [_numbers(name, tensor, one_hot=_sizes(name, inputs)) for name, tensor in sources.items()]
    x = keras.layers.Concatenate(name="columns")(parts) if len(parts) > 1 else parts[0]
    if wanted and len(wanted[0].shape) == len(x.shape) - 1 and x.shape[-1] == 1:
        x = keras.layers.Reshape(x.shape[1:-1], name="grey")(x)  # images without an axis of channels
    return sources, x


def _single(has: Mapping[str, Any]) -> list[str]:
    """What a model with one input looks at: the image; else all columns that are numbers or categories (`discrete`
    repeats some of the numbers); else the text."""
    columns = [name for name in ("numeric", "plain", "categorical") if name in has]
    return ["image"] if "image" in has else columns or list(has)[:1]


def _sizes(name: str, inputs: InputSpec) -> tuple[int, ...]:
    return {"categorical": inputs.cardinalities, "discrete": inputs.discrete}.get(name, ())


def _numbers(name: str, tensor: Any, one_hot: tuple[int, ...] = ()) -> Any:
    """Images in 0–1; ids one-hot where their sizes are given."""
    if name == "image":
        return keras.layers.Rescaling(1 / 255, name="unit", dtype="float32")(tensor)
    if not one_hot:
        return tensor
    columns = [
        keras.layers.CategoryEncoding(size, output_mode="one_hot", name=f"{name}_{place}")(tensor[:, place : place + 1])
        for place, size in enumerate(one_hot)
    ]
    return keras.layers.Concatenate(name=name + "_one_hot")(columns) if len(columns) > 1 else columns[0]


def _logits(inner: keras.Model, answer: Any, output: OutputSpec) -> Any:
    units = answer.shape[-1] if getattr(answer, "shape", None) is not None and len(answer.shape) == 2 else None
    wanted = (1,) if output.classes is None else (1, 2) if output.classes == 2 else (output.classes,)
    if units not in wanted:
        shape = getattr(answer, "shape", type(answer).__name__)
        needed = "a number" if output.classes is None else f"{output.classes} classes"
        raise ArchitectureError(
            f"the model of build(hp) puts out {shape}; {needed} need {' or '.join(map(str, wanted))} units"
        )
    if output.classes is None:
        return answer
    ops = keras.ops
    if probabilities(inner):
        if units == 1:
            answer = keras.layers.Concatenate(name="both")([1 - answer, answer])
        return ops.log(ops.maximum(answer, _TINY))
    return keras.layers.Concatenate(name="both")([0 * answer, answer]) if units == 1 else answer


def probabilities(inner: keras.Model) -> bool:
    """Whether a classifier puts out probabilities: by its last activation, else by what its loss expects."""
    last = inner.layers[-1] if inner.layers else None
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    if activation in _SURE or isinstance(last, keras.layers.Softmax):
        return True
    loss = getattr(inner, "loss", None)
    return isinstance(loss, str) and not getattr(loss, "from_logits", False) and "crossentropy" in loss


def multiply_adds(model: keras.Model) -> int:
    """Of all kernels, for one example: each place of what a layer puts out uses the kernel once; a recurrent layer
    uses it once a step, an `EinsumDense` as often as its equation says. A layer inside another one that is no model (of
    attention, say) counts as often as the outer one has places."""
    return sum(_multiply_adds(layer, 1) for layer in model.layers)


def _multiply_adds(layer: Any, places: int) -> int:
    known = bool(getattr(layer, "_inbound_nodes", None))
    if isinstance(layer, keras.layers.RNN):
        return (_extents(layer.input)[0] if known else places) * _kernels(layer)
    if isinstance(layer, keras.layers.EinsumDense) and known:
        given, kernel = layer.equation.split("->")[0].split(",")
        extents = dict(zip(kernel, layer.kernel.shape, strict=True))
        extents |= dict(zip(given[1:], _extents(layer.input), strict=True))
        return math.prod(extents.values())
    if known and not isinstance(layer, keras.Model):
        places = math.prod(_extents(layer.output)[:-1])
    if inner := list(layer._flatten_layers(include_self=False, recursive=False)):
        return sum(_multiply_adds(part, places) for part in inner)
    return places * _kernels(layer)


def _kernels(layer: Any) -> int:
    return sum(math.prod(weight.shape) for weight in layer.weights if weight.name.endswith("kernel"))


def _extents(tensor: Any) -> list[int]:
    """Without the batch; an unknown extent counts once."""
    return [extent or 1 for extent in tensor.shape[1:]]
