import numpy as np
import pytest
from tests.unit.models.shaped import shaped

from nasflow.data.tensors import InputSpec, OutputSpec, TextShape
from nasflow.models.build import build
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Recipe
from nasflow.spaces.cost import cost
from nasflow.spaces.graph import Graph
from nasflow.spaces.multimodal import MultimodalSpace
from nasflow.spaces.parameters import sample
from nasflow.spaces.registry import get_space
from nasflow.testing import SpaceConformance

TEXT = TextShape(length=6, ids=20)
ALL = InputSpec(
    image=(16, 12, 3),
    image_mean=(99.0,) * 3,
    image_std=(60.0,) * 3,
    texts=(TEXT,),
    numeric=3,
    edges=((-1.0, 0.0, 2.0), (), (0.0, 1.0)),
    plain=2,
    discrete=(7,),
    cardinalities=(3, 5),
)
THREE = OutputSpec(classes=3)
TEXT_AND_TABLE = InputSpec(texts=(TEXT, TEXT), numeric=2)
IMAGE_AND_TEXT = InputSpec(image=(2, 2, 1), image_mean=(0.0,), image_std=(1.0,), texts=(TEXT,))


class Multimodal(SpaceConformance):
    output = THREE
    samples = 60

    def make(self) -> Space:
        return MultimodalSpace(inputs=self.inputs, output=self.output)


class TestEverything(Multimodal):
    inputs = ALL


class TestTextAndNumbersToANumber(Multimodal):
    inputs = TEXT_AND_TABLE
    output = OutputSpec(classes=None)


class TestSmallImageAndText(Multimodal):
    inputs = IMAGE_AND_TEXT


def compare(count: int) -> None:
    rng = np.random.default_rng(0)
    for inputs in (ALL, TEXT_AND_TABLE, IMAGE_AND_TEXT):
        space = MultimodalSpace(inputs=inputs, output=THREE)
        for values in [*space.presets()[:1], *(sample(space.parameters(), rng) for _ in range(count))]:
            architecture = space.architecture(values)
            model = shaped(architecture, inputs, THREE)
            trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
            assert cost(architecture, inputs, THREE).parameters == trainable, values


def test_parameters_are_those_of_keras() -> None:
    compare(2)


@pytest.mark.slow
def test_parameters_are_those_of_keras_200_times() -> None:
    compare(67)


def test_gated_fusion_by_hand() -> None:
    """Two vectors of 4 and 2 numbers: tanh(dense) of each, weighted by a softmax over dense(all six)."""
    inputs = InputSpec(plain=4, numeric=2)
    graph = Graph()
    x = graph.add("gated_fusion", graph.add("input", tensor="plain"), graph.add("input", tensor="numeric"), units=5)
    architecture = graph.finish(x, Recipe())
    counted = cost(architecture, inputs, THREE)
    assert counted.parameters == (4 + 1) * 5 + (2 + 1) * 5 + (6 + 1) * 2 + (5 + 1) * 3
    assert counted.flops == 2 * (4 * 5 + 2 * 5 + 6 * 2 + 5 * 3)
    model = build(architecture, inputs, THREE, seed=1)
    plain, numeric = np.array([[1.0, 2.0, -1.0, 0.5]]), np.array([[3.0, -2.0]])
    weights = {layer.name: layer.get_weights() for layer in model.layers if layer.get_weights()}
    (gate,) = [name for name in weights if name.startswith("gated_fusion") and not name.endswith(("_0", "_1"))]
    first, second = (
        np.tanh(values @ weights[f"{gate}_{place}"][0] + weights[f"{gate}_{place}"][1])
        for place, values in enumerate((plain, numeric))
    )
    logits = np.concatenate([plain, numeric], axis=1) @ weights[gate][0] + weights[gate][1]
    share = np.exp(logits) / np.exp(logits).sum()
    mixed = share[:, :1] * first + share[:, 1:] * second
    expected = mixed @ weights["output"][0] + weights["output"][1]
    got = model({"plain": plain.astype(np.float32), "numeric": numeric.astype(np.float32)})
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_auto_goes_by_what_the_data_have() -> None:
    def auto(inputs: InputSpec, task: str = "tabular_classification") -> str:
        return get_space("auto", task=task, inputs=inputs, output=THREE).name  # type: ignore[arg-type]  # a Task

    assert auto(ALL) == auto(TEXT_AND_TABLE) == "multimodal"
    assert auto(InputSpec(texts=(TEXT,))) == "text"
    assert auto(InputSpec(numeric=3)) == "mlp"
    assert auto(InputSpec(image=(8, 8, 1), image_mean=(0.0,), image_std=(1.0,)), "image_classification") == "cnn"


def test_one_kind_of_input_needs_no_fusion() -> None:
    with pytest.raises(ValueError, match="several kinds of input, the data have text"):
        MultimodalSpace(inputs=InputSpec(texts=(TEXT,)), output=THREE)
