"""Operations on any tensor: inputs, outputs, norms, activations, merges, dense layers."""

import math
from types import MappingProxyType

from nasflow.spaces.operations._base import Context, Measure, Operation, Table

ACTIVATIONS = ("relu", "gelu", "swish", "tanh", "sigmoid", "elu", "selu", "leaky_relu", "hard_swish", "mish")
"""Keras's names for them."""


def _input(c: Context) -> Measure:
    if c.shapes:
        raise ValueError("an input has no inputs")
    if shape := c.inputs.shape(c.settings["tensor"]):
        return Measure(shape)
    raise ValueError("the data has no such tensor")


def _flatten(c: Context) -> Measure:
    return Measure((math.prod(c.one()),))


def _norm(c: Context) -> Measure:
    shape = c.one()
    return Measure(shape, 2 * shape[-1])


def _group_norm(c: Context) -> Measure:
    shape, groups = c.one(), c.whole("groups")
    if shape[-1] % groups:
        raise ValueError(f"{shape[-1]} channels do not divide into {groups} groups")
    return Measure(shape, 2 * shape[-1])


def _activation(c: Context) -> Measure:
    c.one_of("function", ACTIVATIONS)
    return Measure(c.one())


def _dropout(c: Context) -> Measure:
    if not 0 <= float(c.settings["rate"]) < 1:
        raise ValueError("rate must be in [0, 1)")
    return Measure(c.one())


def _same(c: Context) -> Measure:
    return Measure(c.one())


def _merge(c: Context) -> Measure:
    if len(c.shapes) < 2 or len(set(c.shapes)) != 1:
        raise ValueError("two or more inputs of one shape are needed")
    return Measure(c.shapes[0])


def _concat(c: Context) -> Measure:
    if len(c.shapes) < 2 or len({shape[:-1] for shape in c.shapes}) != 1:
        raise ValueError("two or more inputs that differ in the last axis only are needed")
    return Measure((*c.shapes[0][:-1], sum(shape[-1] for shape in c.shapes)))


def _dense(c: Context) -> Measure:
    (width,) = c.one(1)
    units = c.whole("units")
    return Measure((units,), width * units + units * bool(c.settings["bias"]), width * units)


def _output(c: Context) -> Measure:
    shape = c.one(1, 2)
    units = c.output.classes or 1
    members = shape[0] if len(shape) == 2 else 1
    return Measure((units,), members * (shape[-1] + 1) * units, members * shape[-1] * units)


def _logits(c: Context) -> Measure:
    shape = c.one(1)
    if shape != (c.output.classes or 1,):
        raise ValueError(f"{c.output.classes or 1} numbers a row are the answer")
    return Measure(shape)


def _hypermodel(c: Context) -> Measure:
    """As `nasflow.models.hypermodels` found when it built the model."""
    return Measure((c.output.classes or 1,), int(c.settings["parameters"]), int(c.settings["multiply_adds"]))


OPERATIONS: Table = MappingProxyType(
    {
        "input": Operation(_input),
        "flatten": Operation(_flatten),
        "batch_norm": Operation(_norm),
        "layer_norm": Operation(_norm),
        "group_norm": Operation(_group_norm),
        "activation": Operation(_activation),
        "dropout": Operation(_dropout),
        "identity": Operation(_same),
        "zero": Operation(_same),
        "add": Operation(_merge),
        "multiply": Operation(_merge),
        "concat": Operation(_concat),
        "dense": Operation(_dense, weighted=True),
        "output": Operation(_output, weighted=True),
        "logits": Operation(_logits),
        "hypermodel": Operation(_hypermodel, weighted=True),
    }
)
