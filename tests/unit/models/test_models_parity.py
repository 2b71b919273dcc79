"""What `cost` counts without Keras, against what Keras built: parameters, multiply-adds, shapes, memory; and depth
against networkx's longest path.
"""

import dataclasses
import math
from typing import Any

import keras
import networkx as nx
import numpy as np
import pytest
from tests.unit.models.shaped import shaped

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.architecture import Architecture
from nasflow.spaces.cell import DARTS, CellSpace
from nasflow.spaces.cnn import CnnSpace
from nasflow.spaces.cost import cost, measures
from nasflow.spaces.mlp import MlpSpace
from nasflow.spaces.operations import OPERATIONS
from nasflow.spaces.parameters import sample
from nasflow.spaces.sequence import SequenceSpace

TEN = OutputSpec(classes=10)
NUMBER = OutputSpec(classes=None, mean=5.0, std=2.0)
TABLE = InputSpec(numeric=4, cardinalities=(3, 10))
BINNED = InputSpec(numeric=3, edges=((-1.0, 0.0, 0.5, 3.0), (), (0.0, 1.0)), discrete=(7, 5), cardinalities=(3, 10))


def images(height: int, width: int, channels: int) -> InputSpec:
    return InputSpec(image=(height, width, channels), image_mean=(99.0,) * channels, image_std=(60.0,) * channels)


SERIES = InputSpec(numeric=1, plain=14, vectors=(6, 6), cardinalities=(4,))
PAIRS = {"topology": "pairs", "operations": DARTS, "nodes": 2, "cells": 1, "stages": (1, 2)}
SPACES: dict[str, tuple[Any, InputSpec, OutputSpec, dict[str, Any]]] = {
    "cnn": (CnnSpace, images(12, 7, 3), TEN, {}),
    "cell": (CellSpace, images(8, 8, 1), TEN, {"cells": 1}),
    "cell-pairs": (
        CellSpace,
        images(12, 7, 3),
        TEN,
        PAIRS,
    ),
    "mlp": (MlpSpace, BINNED, TEN, {}),
    "sequence": (SequenceSpace, SERIES, TEN, {}),
}
MORE: dict[str, tuple[Any, InputSpec, OutputSpec, dict[str, Any]]] = {
    "cnn-digits": (CnnSpace, images(8, 8, 1), TEN, {}),
    "cnn-pixel": (CnnSpace, images(1, 1, 1), TEN, {}),
    "mlp-mixed": (MlpSpace, TABLE, TEN, {}),
    "mlp-number": (MlpSpace, InputSpec(numeric=3), NUMBER, {}),
    "mlp-ids": (MlpSpace, InputSpec(cardinalities=(4,)), OutputSpec(classes=2), {}),
    "mlp-discrete": (MlpSpace, dataclasses.replace(BINNED, cardinalities=()), NUMBER, {}),
}


def multiply_adds(model: keras.Model) -> int:
    """From Keras's layers alone: each place of a convolution uses its whole kernel, an equation says how often."""
    products = 0
    for layer in model.layers:
        kernels = [weight for weight in layer.weights if weight.name.endswith("kernel")]
        if isinstance(layer, keras.layers.EinsumDense):
            given, letters = layer.equation.split("->")[0].split(",")
            extents = dict(zip(letters, kernels[0].shape, strict=True))
            extents |= dict(zip(given[1:], layer.input.shape[1:], strict=True))
            products += math.prod(extents.values())
        elif isinstance(layer, keras.layers.Bidirectional | keras.layers.GRU):
            products += layer.input.shape[1] * sum(math.prod(kernel.shape) for kernel in kernels)
        else:
            places = math.prod(layer.output.shape[1:-1])
            products += sum(places * math.prod(kernel.shape) for kernel in kernels)
    return products


def depth(architecture: Architecture) -> int:
    graph = nx.DiGraph()
    for node in architecture.nodes:
        for source in node.inputs:
            graph.add_edge(source, node.name, steps=int(OPERATIONS[node.op].weighted))
    return int(nx.dag_longest_path_length(graph, weight="steps"))


def compare(architecture: Architecture, inputs: InputSpec, output: OutputSpec) -> None:
    model = shaped(architecture, inputs, output)
    counted = cost(architecture, inputs, output)
    assert counted.parameters == sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert counted.flops == 2 * multiply_adds(model)
    assert counted.depth == depth(architecture)
    names, memory = {layer.name for layer in model.layers}, 0
    for node in architecture.nodes:
        shape = measures(architecture, inputs, output)[node.name].shape
        memory += 4 * int(np.prod(shape))
        name = f"{node.name}_flat" if f"{node.name}_flat" in names else "output" if node.op == "output" else node.name
        if node.op not in ("input", "identity"):
            assert model.get_layer(name).output.shape == (None, *shape), node
    assert counted.memory == memory


def compare_space(entry: tuple[Any, InputSpec, OutputSpec, dict[str, Any]], count: int) -> None:
    make, inputs, output, settings = entry
    space, rng = make(inputs=inputs, output=output, **settings), np.random.default_rng(0)
    for values in [*space.presets(), *(sample(space.parameters(), rng) for _ in range(count))]:
        compare(space.architecture(values), inputs, output)


@pytest.mark.parametrize("name", SPACES)
def test_architectures_are_counted_as_keras_counts_them(name: str) -> None:
    compare_space(SPACES[name], 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SPACES, *MORE])
def test_two_hundred_architectures_are_counted_as_keras_counts_them(name: str) -> None:
    compare_space((SPACES | MORE)[name], 200)
