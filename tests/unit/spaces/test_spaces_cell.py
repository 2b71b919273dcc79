import itertools
import math

import numpy as np
import pytest

from nasflow.core.errors import SpecError
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture
from nasflow.spaces.cell import CellSpace
from nasflow.spaces.cost import cost
from nasflow.spaces.parameters import sample
from nasflow.spaces.registry import check_space, get_space
from nasflow.testing import SpaceConformance

TEN = OutputSpec(classes=10)


def images(height: int, width: int, channels: int) -> InputSpec:
    return InputSpec(image=(height, width, channels), image_mean=(99.0,) * channels, image_std=(60.0,) * channels)


CIFAR, DIGITS = images(32, 32, 3), images(8, 8, 1)


class Cell(SpaceConformance):
    output = TEN
    samples = 25
    name = "cell"

    def make(self) -> Space:
        return get_space(self.name, task="image_classification", inputs=self.inputs, output=self.output)


class TestCellDigits(Cell):
    inputs = DIGITS
    redundant = True  # a skip renames a node; an edge from a node without inputs changes nothing


class TestCellOnePixel(Cell):
    inputs = images(1, 1, 1)
    redundant = True


class TestNasbench201(Cell):
    inputs = CIFAR
    name = "nasbench201"
    redundant = True
    samples = 10


class TestDarts(Cell):
    """No two points mean the same: of two nodes, the output has both in a fixed order."""

    inputs = CIFAR
    name = "darts"
    samples = 10


class TestDartsPhotos(Cell):
    inputs = images(200, 160, 3)
    name = "darts"
    samples = 5


def dense(values: dict[str, str], **settings: object) -> Architecture:
    space = CellSpace(inputs=DIGITS, output=TEN, **{"stages": 1, "cells": 1, "width": 8, "recipe": "none", **settings})
    edges = {f"edge_{a}_{b}": "none" for a, b in space.edges}
    return space.architecture({**edges, **values})


def test_nasbench201_has_the_published_size() -> None:
    """Dong & Yang's API gives 1.531546 M parameters for six 3×3 convolutions, 0.073306 M for six times nothing."""
    space = get_space("nasbench201", task="image_classification", inputs=CIFAR, output=TEN)
    assert isinstance(space, CellSpace)
    names = [f"edge_{a}_{b}" for a, b in space.edges]
    counted = cost(space.architecture(dict.fromkeys(names, "conv_3x3")), CIFAR, TEN)
    # By hand: 5 cells · 6 edges · Σ(9C² + 2C) over C = 16, 32, 64 is 1,458,240; reductions 14,464 and 57,600; the stem
    # 464, the last norm 128, the output 650.
    assert counted.parameters == 1_531_546
    assert counted.parameters - 1_458_240 == 73_306
    pools = cost(space.architecture(dict.fromkeys(names, "avg_pool_3x3")), CIFAR, TEN)
    assert pools.parameters == 73_306
    assert counted.flops == 2 * 220_119_680  # published: 220.12 M multiply-adds


def test_the_number_of_points_is_that_of_the_papers() -> None:
    nasbench = get_space("nasbench201", task="image_classification", inputs=CIFAR, output=TEN)
    assert math.prod(parameter.count or 0 for parameter in nasbench.parameters()) == 5**6 == 15_625
    darts = get_space("darts", task="image_classification", inputs=CIFAR, output=TEN)
    # Liu et al. 2019, §3.3, count (∏ k(k+1)/2 · 7²)² = (1·3·6·10 · 7⁸)² ≈ 10¹⁸ cells for k = 1, 2, 3, 4.
    assert math.prod(parameter.count or 0 for parameter in darts.parameters()) == (180 * 7**8) ** 2


def test_what_means_the_same_has_one_identity() -> None:
    one = dense({"edge_0_1": "skip", "edge_1_3": "conv_3x3"})
    assert one.identity == dense({"edge_0_3": "conv_3x3"}).identity
    assert one.identity == dense({"edge_0_2": "skip", "edge_2_3": "conv_3x3"}).identity
    # Node 1 has no inputs, or leads nowhere.
    assert one.identity == dense({"edge_0_3": "conv_3x3", "edge_1_2": "conv_1x1", "edge_2_3": "skip"}).identity
    assert one.identity == dense({"edge_0_3": "conv_3x3", "edge_0_1": "conv_1x1"}).identity
    # Parallel nodes may change places.
    swapped = [
        dense({"edge_0_1": a, "edge_1_3": "skip", "edge_0_2": b, "edge_2_3": "skip"})
        for a, b in (("conv_1x1", "conv_3x3"), ("conv_3x3", "conv_1x1"))
    ]
    assert swapped[0].identity == swapped[1].identity != one.identity


def test_a_cell_without_an_output_puts_out_zeros() -> None:
    empty = dense({})
    assert [node.op for node in empty.nodes] == [
        "input", "conv", "batch_norm", "zero", "batch_norm", "activation", "global_avg_pool", "output",
    ]  # fmt: skip
    assert empty.identity == dense({"edge_0_1": "conv_3x3"}).identity


def test_a_small_space_has_as_many_architectures_as_graphs() -> None:
    """Two operations on the three edges of three nodes, counted by hand.

    Node 1 is nothing (no edge), or x (skip), or c(x). The output adds e02 of x and e12 of node 1. With n for nothing:
    node 1 = n: {0, x, c(x)}; node 1 = x: x or c(x) or nothing twice, unordered: 0, x, c, x+x, x+c, c+c, of which three
    are new; node 1 = c(x): 0, x, c(x) again, and with 12 = skip: c, x+c, c+c(x) (two convolutions) again; with
    12 = conv: c(c), x+c(c), c'+c(c): three are new. 9 in all.
    """
    found = {
        dense(
            dict(zip(("edge_0_1", "edge_0_2", "edge_1_2"), ops, strict=True)),
            nodes=3,
            operations=("none", "skip", "conv_3x3"),
        ).identity
        for ops in itertools.product(("none", "skip", "conv_3x3"), repeat=3)
    }
    assert len(found) == 9


def test_darts_stacks_eight_cells_and_ends_at_a_quarter() -> None:
    space = get_space("darts", task="image_classification", inputs=CIFAR, output=TEN)
    architecture = space.architecture(space.presets()[0])
    # every cell has one concat; 2 + reduction + 2 + reduction + 2
    assert sum(node.op == "concat" for node in architecture.nodes) == 8
    counted = cost(architecture, CIFAR, TEN)
    last = [node for node in architecture.nodes if node.op == "concat"][-1]
    assert len(last.inputs) == 4
    assert counted.parameters < 500_000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"operations": ["conv_9x9"]}, "operations: must be one of none, skip"),
        ({"operations": ["none"]}, "one besides none"),
        ({"topology": "ring"}, "topology: must be one of dense, pairs"),
        ({"nodes": 1}, "nodes: must be a whole number >= 2"),
        ({"stages": 9}, "stages must be <= 4 for images of 32 pixels"),
        ({"width": [16, 8]}, "ascending"),
        ({"recipe": "most"}, "recipe: must be one of none, some, all"),
        ({"height": 3}, "height: cell has no such setting; it has topology, nodes, operations, stages"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        get_space("cell", task="image_classification", inputs=CIFAR, output=TEN, settings=settings)


def test_settings_of_a_space_without_any_are_refused_before_a_run() -> None:
    with pytest.raises(SpecError, match=r"search.space_settings.cells: mlp has no such setting"):
        check_space("mlp", "tabular_regression", {"cells": 3})
    with pytest.raises(SpecError, match=r"cell needs images.*use mlp"):
        check_space("cell", "tabular_regression")


def test_all_of_the_recipe_can_be_searched() -> None:
    space = CellSpace(inputs=DIGITS, output=TEN, recipe="all", cells=1, width=8)
    names = {parameter.name for parameter in space.parameters()}
    assert {"optimizer", "schedule", "batch_size", "weight_decay", "label_smoothing", "class_weights", "mixup"} <= names
    rng = np.random.default_rng(0)
    recipes = [space.architecture(sample(space.parameters(), rng)).recipe for _ in range(200)]
    assert {recipe.optimizer for recipe in recipes} == {"adamw", "sgd", "adam", "rmsprop", "lion"}
    # What Adam and RMSprop have no use for is no parameter of theirs.
    assert {recipe.weight_decay for recipe in recipes if recipe.optimizer in ("adam", "rmsprop")} == {0.0}
    fixed = CellSpace(inputs=DIGITS, output=TEN, recipe="none", cells=1, width=8, stages=1)
    assert {parameter.name.split("_")[0] for parameter in fixed.parameters()} == {"edge"}
