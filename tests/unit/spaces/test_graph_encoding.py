"""Graphs as numbers."""

import collections
import itertools
import math

import pytest

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.architecture import Recipe
from nasflow.spaces.cell import CellSpace
from nasflow.spaces.encoding import encode
from nasflow.spaces.graph import Graph

INPUTS, OUTPUT = InputSpec(image=(8, 8, 1), numeric=4), OutputSpec(classes=10)


def test_a_diamond_by_hand():
    """input → dense a → relu → add; a → add: two ways, with 1 and 0 relus."""
    graph = Graph()
    a = graph.add("dense", graph.add("input", tensor="numeric"), units=4, bias=True)
    architecture = graph.finish(graph.add("add", a, graph.add("activation", a, function="relu")), Recipe(ema=None))
    found = encode(architecture, INPUTS, OUTPUT)
    assert found["paths"] == pytest.approx(math.log(3))
    assert found["nodes"] == 5
    assert (found["count activation relu"], found["most activation relu"]) == (1, 1)
    assert "least activation relu" not in found  # 0 is left out
    assert found["least dense"] == found["most dense"] == 1
    edges = {name: count for name, count in found.items() if name.startswith("edge")}
    assert edges == {
        "edge input numeric > dense": 1,
        "edge dense > add": 1,
        "edge dense > activation relu": 1,
        "edge activation relu > add": 1,
        "edge add > output": 1,
    }
    assert found["depth"] == 2  # dense and output
    assert found["parameters"] == math.log1p(4 * 4 + 4 + 4 * 10 + 10)
    assert found["recipe optimizer adamw"] == 1


def test_isomorphic_points_have_one_encoding_and_others_mostly_do_not():
    operations = ("none", "skip", "conv_1x1")
    space = CellSpace(
        inputs=INPUTS, output=OUTPUT, nodes=3, operations=operations, stages=1, cells=1, width=4, recipe="none"
    )
    by_identity = collections.defaultdict(set)
    names = [parameter.name for parameter in space.parameters()]
    for point in itertools.product(operations, repeat=3):
        architecture = space.architecture(dict(zip(names, point, strict=True)))
        by_identity[architecture.identity].add(frozenset(encode(architecture, INPUTS, OUTPUT).items()))
    assert len(by_identity) == 9
    assert all(len(encodings) == 1 for encodings in by_identity.values())
    assert len(set.union(*by_identity.values())) == 9


def test_the_recipe_counts():
    graph = Graph()
    x = graph.add("dense", graph.add("input", tensor="numeric"), units=4, bias=True)
    one, other = (graph.finish(x, Recipe(learning_rate=rate)) for rate in (1e-2, 1e-3))
    gap = encode(one, INPUTS, OUTPUT)["recipe learning_rate"] - encode(other, INPUTS, OUTPUT)["recipe learning_rate"]
    assert gap == pytest.approx(math.log(10))
