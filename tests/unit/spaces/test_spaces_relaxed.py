"""A space as one network: with one arm of each softmax it is the architecture that these arms mean."""

import dataclasses
import json

import numpy as np
import pytest
from pydantic import TypeAdapter

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.architecture import Architecture
from nasflow.spaces.cell import DARTS, CellSpace
from nasflow.spaces.cnn import CnnSpace
from nasflow.spaces.graph import Graph
from nasflow.spaces.parameters import sample
from nasflow.spaces.relaxed import MIXED, Relaxed

INPUTS = InputSpec(image=(16, 16, 3), image_mean=(100.0,) * 3, image_std=(50.0,) * 3)
OUTPUT = OutputSpec(classes=10)
DENSE = {"topology": "dense", "stages": 2, "cells": 1, "width": 8, "recipe": "none"}
PAIRS = {"topology": "pairs", "nodes": 3, "operations": DARTS, "stages": 2, "cells": 1, "width": 8, "recipe": "none"}


def make(**settings):
    return CellSpace(inputs=INPUTS, output=OUTPUT, **settings)


def collapsed(relaxed: Relaxed, arms: dict[str, set[int]]) -> Architecture:
    """The network with only these arms of each softmax; whatever leads nowhere then is left out."""
    graph, names = Graph(), dict[str, str | None]()
    for node in relaxed.network.nodes:
        sources = [names[source] for source in node.inputs]
        if node.op == MIXED:
            taken = arms[node.settings["choice"]]
            kept = [x for x, arm in zip(sources, node.settings["arms"], strict=False) if arm in taken and x is not None]
            names[node.name] = graph.sum(kept) if kept else None
        elif node.op == "add":
            kept = [x for x in sources if x is not None]
            names[node.name] = graph.sum(kept) if kept else None
        elif sources and None in sources:
            names[node.name] = None
        elif node.op == "output":
            return graph.finish(sources[0], relaxed.network.recipe)
        else:
            names[node.name] = graph.add(node.op, *sources, **node.settings)
    raise AssertionError("no output")


@pytest.mark.parametrize("settings", [DENSE, PAIRS], ids=["dense", "pairs"])
def test_with_one_arm_of_each_softmax_it_is_that_architecture(settings):
    space, rng, compared = make(**settings), np.random.default_rng(0), 0
    relaxed = space.relaxed()
    for _ in range(40):
        chosen = [part[int(rng.integers(len(part)))] for part in relaxed.parts]
        values = {name: value for option in chosen for name, value in option.values.items()}
        arms: dict[str, set[int]] = {}
        for name, arm in (term for option in chosen for term in option.arms):
            arms.setdefault(name, set()).add(arm)
        architecture = space.architecture(values)
        if any(node.op == "zero" for node in architecture.nodes):  # nothing is left to compare
            continue
        arms = {name: arms.get(name, set()) for name in relaxed.choices}
        assert collapsed(relaxed, arms).identity == architecture.identity
        compared += 1
    assert compared > 20


@pytest.mark.parametrize("settings", [DENSE, PAIRS], ids=["dense", "pairs"])
def test_every_point_without_missing_edges_is_one_option_of_each_part(settings):
    space, rng = make(**settings), np.random.default_rng(1)
    parts = space.relaxed().parts
    for _ in range(50):
        values, options = sample(space.parameters(), rng), []
        values = {name: "skip" if value == "none" else value for name, value in values.items()}
        for part in parts:
            fitting = [option for option in part if option.values.items() <= values.items()]
            assert len(fitting) == 1
            options += fitting
        assert {name for option in options for name in option.values} == set(values)
        skips = sum(value == "skip" for name, value in values.items() if not name.startswith("reduce"))
        assert sum(option.skips for option in options) == skips


def test_sizes_by_hand():
    """Six edges of five operations, of which none is never derived; and per kind nodes that see 2, 3 and 4 sources:
    1, 3, 6 pairs of 7 × 7 operations, a softmax a source and, from three sources on, one over the sources."""
    relaxed = make(**DENSE).relaxed()
    assert [len(part) for part in relaxed.parts] == [4] * 6
    assert {len(arms) for arms in relaxed.choices.values()} == {5}
    assert len(relaxed.choices) == 6
    assert sum(node.op == MIXED for node in relaxed.network.nodes) == 6 * 2  # two stages of one cell
    relaxed = make(**PAIRS).relaxed()
    assert [len(part) for part in relaxed.parts] == [49, 147, 294] * 2
    assert len(relaxed.choices) == 2 * (2 + 3 + 4 + 2)


def test_none_has_no_input_and_a_skip_is_known():
    node = next(node for node in make(**DENSE).relaxed().network.nodes if node.op == MIXED)
    assert node.settings["arms"] == [1, 2, 3, 4]  # "none" is arm 0
    assert (node.settings["skip"], node.settings["auxiliary"], len(node.inputs)) == (0, True, 5)
    assert node.inputs[0] == node.inputs[-1]  # a skip is what the edge begins with


def test_it_survives_json():
    relaxed = make(**PAIRS).relaxed()
    adapter = TypeAdapter(Relaxed)
    again = adapter.validate_python(json.loads(json.dumps(adapter.dump_python(relaxed, mode="json"))))
    assert again == dataclasses.replace(relaxed)


def test_other_spaces_have_no_such_form():
    assert CnnSpace(inputs=INPUTS, output=OUTPUT).relaxed() is None
