"""The README's examples are code that runs: they are cut out of it and used."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.cost import cost
from nasflow.testing import SpaceConformance, StrategyConformance

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
INPUTS, OUTPUT = InputSpec(numeric=3), OutputSpec(classes=2)


def example(defining: str) -> Any:
    """What the block that defines a name defines."""
    (block,) = [block for block in BLOCKS if re.search(rf"^(?:class|def) {defining}\b", block, flags=re.MULTILINE)]
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), names)
    return names[defining]


class TestTheReadmesSpace(SpaceConformance):
    inputs, output = INPUTS, OUTPUT

    def make(self) -> Any:
        return example("Pyramid")(inputs=INPUTS, output=OUTPUT)


class TestTheReadmesStrategy(StrategyConformance):
    def make(self) -> Any:
        return example("Climb")()


def test_the_readmes_space_is_counted_as_by_hand() -> None:
    architecture = example("Pyramid")(inputs=INPUTS, output=OUTPUT).architecture({"width": 16, "depth": 2})

    # 3·16 + 16, then 16·8 + 8, then two logits: 8·2 + 2
    assert cost(architecture, INPUTS, OUTPUT).parameters == 64 + 136 + 18


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_short_enough_to_read(block: str) -> None:
    ast.parse(block)
    assert len(block.splitlines()) <= 30


def test_every_command_of_the_readme_exists() -> None:
    from nasflow_pipelines.cli import main

    named = set(re.findall(r"nasflow ([a-z]+)", README)) - {"leaves", "serves"}
    commands = set(main.commands)
    unknown = {name for name in re.findall(r"(?:`|\$ )nasflow ([a-z]+)", README) if name not in commands}
    assert named & commands
    assert unknown == set()


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))

    assert set(re.findall(r"`?\bmake ([a-z-]+)`?", README)) - {"sure"} <= targets
