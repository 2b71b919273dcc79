import sys

import pytest

from nasflow.core.errors import SpecError
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture, ArchitectureError, Recipe
from nasflow.spaces.graph import Graph
from nasflow.spaces.parameters import Choice, Parameter
from nasflow.spaces.registry import get_space
from nasflow.testing import SpaceConformance

IMAGE = InputSpec(image=(8, 8, 1), image_mean=(0.0,), image_std=(1.0,))
TABLE = InputSpec(numeric=3)
TWO = OutputSpec(classes=2)


class WidthOnly(Space):
    """The smallest space that can be: as a user would write it."""

    name = "width_only"

    def __init__(self, *, inputs: InputSpec, output: OutputSpec) -> None:
        pass

    def parameters(self) -> tuple[Parameter, ...]:
        return (Choice(name="width", values=(8, 16)),)

    def presets(self) -> tuple[dict[str, object], ...]:
        return ({"width": 8},)

    def architecture(self, values) -> Architecture:
        self.check(values)
        graph = Graph()
        x = graph.add("dense", graph.add("input", tensor="numeric"), units=values["width"], bias=True)
        return graph.finish(x, Recipe())


class TestWidthOnly(SpaceConformance):
    inputs, output, samples = TABLE, TWO, 5

    def make(self) -> Space:
        return WidthOnly(inputs=TABLE, output=TWO)


def test_auto_goes_by_the_task() -> None:
    assert get_space("auto", task="image_classification", inputs=IMAGE, output=TWO).name == "cnn"
    assert get_space("auto", task="tabular_classification", inputs=TABLE, output=TWO).name == "mlp"
    assert get_space("auto", task="tabular_regression", inputs=TABLE, output=OutputSpec(classes=None)).name == "mlp"


def test_a_factory_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("a_users_module")
    module.make = WidthOnly
    module.wrong = lambda **_: 3
    monkeypatch.setitem(sys.modules, "a_users_module", module)
    space = get_space("a_users_module:make", task="tabular_classification", inputs=TABLE, output=TWO)
    assert isinstance(space, WidthOnly)
    with pytest.raises(SpecError, match="returned int"):
        get_space("a_users_module:wrong", task="tabular_classification", inputs=TABLE, output=TWO)


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("cnn", TABLE, "cnn needs images"),
        ("mlp", IMAGE, "mlp needs a table"),
        ("transformer", TABLE, "unknown space 'transformer'; Known: auto, cnn, cell"),
        ("no_such_module:make", TABLE, "cannot import"),
        ("math:no_such_name", TABLE, "cannot import"),
    ],
)
def test_wrong_names_say_what_to_do(name: str, inputs: InputSpec, message: str) -> None:
    task = "image_classification" if inputs is IMAGE else "tabular_classification"
    with pytest.raises(SpecError, match=message):
        get_space(name, task=task, inputs=inputs, output=TWO)


def test_unrepaired_values_are_refused_with_every_reason() -> None:
    space = WidthOnly(inputs=TABLE, output=TWO)
    with pytest.raises(ArchitectureError, match="depth: unknown or not active; width: 9 is not one of"):
        space.architecture({"depth": 2, "width": 9})
