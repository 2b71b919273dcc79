"""Spaces in YAML."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from nasflow.core import spec_file
from nasflow.core.errors import SpecError
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import ArchitectureError
from nasflow.spaces.cost import cost
from nasflow.spaces.described import DescribedSpace
from nasflow.spaces.parameters import Choice, Integer, Real, When
from nasflow.spaces.registry import check_space, get_space
from nasflow.testing import SpaceConformance

TOWER = """
name: tower
parameters:
  width: {from: 8, to: 32, log: true}
  depth: {from: 1, to: 3}
  kernel: {values: [3, 5], each: depth}
  op: [plain, bottle]
  squeeze: {values: [2, 4], when: {op: bottle}}
  norm: [on, off]
  rate: {from: 0.001, to: 0.01, log: true}
layers:
  - input: image
  - conv: $width
  - repeat: $depth
    layers:
      - choose: $op
        cases:
          plain: [{conv: {filters: $width, kernel: $kernel}}]
          bottle:
            - branches:
                - []
                - [{conv: {filters: $width / 2, kernel: 1}}, {conv: {filters: $width, kernel: $kernel}}]
            - squeeze_excite: $squeeze
      - when: {norm: on}
        layers: [{batch_norm: {}}]
      - activation: relu
  - global_avg_pool: {}
recipe: {learning_rate: $rate, batch_size: 32, flip: false}
presets:
  - {width: 16, depth: 2, kernel: 3, op: plain}
  - {width: 16, depth: 1, op: bottle, squeeze: 2}
"""
IMAGE = InputSpec(image=(8, 8, 1), image_mean=(100.0,), image_std=(80.0,))
TEN = OutputSpec(classes=10)


def tower(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(TOWER)
    return content | changes


class TestTower(SpaceConformance):
    inputs, output, samples = IMAGE, TEN, 40

    def make(self) -> Space:
        return get_space(tower(), task="image_classification", inputs=IMAGE, output=TEN)


def test_parameters_with_ranges_conditions_and_repetitions() -> None:
    assert DescribedSpace(tower(), inputs=IMAGE, output=TEN).parameters() == (
        Integer(name="width", low=8, high=32, log=True),
        Integer(name="depth", low=1, high=3),
        Choice(name="kernel_1", values=(3, 5)),
        Choice(name="kernel_2", values=(3, 5), when=When(parent="depth", values=(2, 3))),
        Choice(name="kernel_3", values=(3, 5), when=When(parent="depth", values=(3,))),
        Choice(name="op", values=("plain", "bottle")),
        Choice(name="squeeze", values=(2, 4), when=When(parent="op", values=("bottle",))),
        Choice(name="norm", values=("on", "off")),
        Real(name="rate", low=0.001, high=0.01, log=True),
    )


def test_layers_are_those_written() -> None:
    space = DescribedSpace(tower(), inputs=IMAGE, output=TEN)
    plain, bottle = space.presets()
    assert plain == {
        "width": 16, "depth": 2, "kernel_1": 3, "kernel_2": 3, "op": "plain", "norm": "on", "rate": 0.003162,
    }  # fmt: skip
    made = space.architecture({**plain, "kernel_2": 5})
    assert [node.op for node in made.nodes] == [
        "input", "conv", "conv", "batch_norm", "activation", "conv", "batch_norm", "activation", "global_avg_pool",
        "output",
    ]  # fmt: skip
    assert [node.settings["kernel"] for node in made.nodes if node.op == "conv"] == [3, 3, 5]
    assert made.recipe.learning_rate == 0.003162
    assert made.recipe.batch_size == 32
    counted = cost(made, IMAGE, TEN)
    # 9·16+16, 9·256+16, 25·256+16, two norms of 32, the output 170
    assert counted.parameters == 160 + 2320 + 6416 + 64 + 170
    made = space.architecture(bottle)
    (add,) = [node for node in made.nodes if node.op == "add"]
    assert add.inputs[0] == "conv_1"  # the empty branch is the input itself
    assert [node.settings["filters"] for node in made.nodes if node.op == "conv"] == [16, 8, 16]


def test_a_table_joins_its_tensors() -> None:
    content = yaml.safe_load("""
    parameters: {units: [16, 32]}
    layers:
      - branches:
          - [{input: numeric}]
          - [{input: categorical}, {embedding: {dim: 4}}]
        merge: concat
      - dense: $units * 2
    """)
    inputs = InputSpec(numeric=3, cardinalities=(5, 6))
    space = DescribedSpace(content, inputs=inputs, output=OutputSpec(classes=None))
    assert space.presets() == ({"units": 16},)
    # 11 ids of 4 numbers; 3 + 2·4 inputs to 32 units; one output
    assert cost(space.architecture({"units": 16}), inputs, OutputSpec(classes=None)).parameters == 44 + 12 * 32 + 33


MISTAKES = """\
name: bad
parameters:
  width: {from: 8, two: 3}
  mixed: [1, a]
  lonely: {values: [1], when: {nobody: 3}}
  per: {values: [1], each: width}
layers:
  - input: image
  - convolution: 3
  - conv: {filters: $wide}
  - conv: {filters: $width ** 2}
  - dense: 3
    activation: relu
  - branches: [[]]
  - repeat: 2
    layer: []
  - flatten
recipe: {learning: 3}
depth: 3
"""


def test_every_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(MISTAKES)
    experiment = tmp_path / "e.yaml"
    experiment.write_text("task: image_classification\ndata: {train: a.npz, label: y}\nsearch:\n  space: my.yaml\n")
    spec = spec_file.load(experiment)
    with pytest.raises(SpecError) as caught:
        check_space(spec.search.space, spec.task)
    found = [spec_file.located(problem, experiment) for problem in caught.value.problems]
    expected = {
        3: "unknown key 'two'; use each, from, log, to, values, when",
        4: "values must be distinct and of one kind",
        6: "each: 'width' must be a parameter of whole numbers that stands before",
        9: "unknown layer 'convolution'; known: activation, avg_pool",
        10: "unknown parameter 'wide'",
        11: "cannot read '$width ** 2'; write $name, $name * 2 or $name / 2",
        12: "one layer an entry, got dense, activation",
        14: "must be two or more lists of layers",
        15: "must be a list of layers, got None",
        16: "layer: unknown beside repeat",
        17: "must be a layer such as `dense: 64`, got 'flatten'; write `flatten: {}`",
        18: "learning: unknown; known: optimizer, learning_rate",
        19: "depth: unknown; use name, parameters, layers, recipe, presets",
    }
    for line, message in expected.items():
        assert any(f"my.yaml:{line}: search.space." in one and message in one for one in found), (line, found)


def test_conditions_and_presets_are_checked() -> None:
    with pytest.raises(SpecError, match=r"parameters.b: its parent 'c' must be declared before"):
        check_space(tower(parameters={"a": [1, 2], "b": {"values": [1], "when": {"c": 3}}}), "image_classification")
    with pytest.raises(SpecError, match=r"presets.0.op: 'wide' is not one of"):
        check_space(tower(presets=[{"op": "wide"}]), "image_classification")
    with pytest.raises(SpecError, match=r"presets.0.heigth: unknown or not active"):
        check_space(tower(presets=[{"heigth": 3}]), "image_classification")
    with pytest.raises(SpecError, match="a space in YAML has none"):
        check_space(tower(), "image_classification", {"recipe": "all"})


def test_what_the_data_does_not_have_is_said_at_the_start() -> None:
    with pytest.raises(SpecError, match=r"first preset cannot be built: input_0.*no such tensor"):
        DescribedSpace(tower(), inputs=InputSpec(numeric=3), output=TEN)
    unguarded = tower(
        layers=[{"input": "image"}, {"conv": 4}, {"squeeze_excite": "$squeeze"}, {"global_avg_pool": None}]
    )
    with pytest.raises(SpecError, match=r"\$squeeze has no value here: guard it by the condition"):
        DescribedSpace(unguarded, inputs=IMAGE, output=TEN)
    headless = tower(layers=[{"dense": 4}])
    with pytest.raises(SpecError, match="dense has nothing before it"):
        DescribedSpace(headless, inputs=IMAGE, output=TEN)


def test_a_case_without_layers_is_no_architecture() -> None:
    content = tower(layers=[{"input": "image"}, {"choose": "$op", "cases": {"plain": [{"flatten": None}]}}])
    space = DescribedSpace(content, inputs=IMAGE, output=TEN)
    with pytest.raises(ArchitectureError, match="'bottle', which has no case"):
        space.architecture(space.presets()[1])


def test_the_file_is_carried_by_the_spec(tmp_path: Path) -> None:
    (tmp_path / "tower.yaml").write_text(TOWER)
    experiment = tmp_path / "e.yaml"
    experiment.write_text("task: image_classification\ndata: {train: a.npz, label: y}\nsearch: {space: tower.yaml}\n")
    spec = spec_file.load(experiment)
    assert spec.search.space == tower()
    assert spec_file.from_json(spec_file.to_json(spec)).search.space == tower()
    experiment.write_text("task: image_classification\ndata: {train: a.npz, label: y}\nsearch: {space: no.yaml}\n")
    with pytest.raises(SpecError, match=r"no.yaml: no such file; paths are relative"):
        spec_file.load(experiment)
    (tmp_path / "no.yaml").write_text("a: [")
    with pytest.raises(SpecError, match=r"no.yaml:1: not YAML"):
        spec_file.load(experiment)
