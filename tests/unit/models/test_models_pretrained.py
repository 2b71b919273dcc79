"""Pretrained backbones: a network with weights of its own, from a file."""

from pathlib import Path

import keras
import numpy as np
import pytest

from nasflow.core.errors import SpecError
from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.models.build import build
from nasflow.models.fit import fit
from nasflow.models.hypermodels.space import adapt
from nasflow.models.predict import predict
from nasflow.spaces.architecture import Architecture
from nasflow.spaces.cost import cost
from nasflow.spaces.parameters import Choice, Real, When
from nasflow.spaces.registry import get_space

GREY = InputSpec(image=(8, 8, 1), image_mean=(100.0,), image_std=(80.0,))
TWO = OutputSpec(classes=2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small MobileNetV2 that was trained on nothing: what counts is that its weights are those of the file."""
    path = tmp_path_factory.mktemp("weights") / "small.weights.h5"
    keras.utils.set_random_seed(7)
    keras.applications.MobileNetV2(alpha=0.35, weights=None, include_top=False, input_shape=(32, 32, 3)).save_weights(
        path
    )
    return path


def space_of(weights: Path | str, **more: object):
    settings = {"backbones": {"MobileNetV2": {"weights": str(weights), "alpha": 0.35}}, "sides": [32], **more}
    return get_space("pretrained", task="image_classification", inputs=GREY, output=TWO, settings=settings, adapt=adapt)


@pytest.mark.slow
def test_backbone_tuning_and_head_are_searched(weights: Path) -> None:
    parameters = space_of(weights).parameters()
    assert {parameter.name for parameter in parameters} == {
        "backbone", "side", "tuning", "head_units", "dropout", "learning_rate", "fine_tuning_rate"
    }  # fmt: skip
    assert Choice(name="tuning", values=("frozen", "fine_tuned")) in parameters
    assert (
        Real(name="fine_tuning_rate", low=1e-5, high=1e-3, log=True, when=When(parent="tuning", values=("fine_tuned",)))
        in parameters
    )


@pytest.mark.slow
def test_frozen_weights_are_the_files_and_stay(weights: Path) -> None:
    space = space_of(weights)
    (preset,) = space.presets()
    architecture = Architecture.from_json(space.architecture(preset).to_json())
    counted = cost(architecture, GREY, TWO)
    assert counted.parameters == 1280 * 2 + 2  # the head alone is trained
    assert counted.flops > 2 * 1_000_000  # but all of it is computed
    model = build(architecture, GREY, TWO)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60).astype(np.int32)
    image = (rng.integers(0, 60, (60, 8, 8, 1)) + 150 * labels[:, None, None, None]).astype(np.uint8)
    rows = Tensors(inputs={"image": image}, labels=labels)
    reference = keras.applications.MobileNetV2(alpha=0.35, weights=None, include_top=False, input_shape=(32, 32, 3))
    reference.load_weights(weights)
    (backbone,) = [
        layer
        for layer in model._flatten_layers()
        if layer.name == reference.name or layer.name.startswith("mobilenetv2")
    ]
    before = backbone.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before, reference.get_weights(), strict=True))
    epochs = fit(model, architecture.recipe, rows, output=TWO, epochs=2, seed=0, validation=rows)
    assert np.isfinite(epochs[-1].loss)
    assert all(np.array_equal(a, b) for a, b in zip(backbone.get_weights(), before, strict=True))
    assert predict(model, rows, TWO).shape == (60, 2)


@pytest.mark.slow
def test_fine_tuning_counts_the_backbone(weights: Path) -> None:
    space = space_of(weights)
    (preset,) = space.presets()
    values = {name: value for name, value in preset.items() if name != "learning_rate"}
    values |= {"tuning": "fine_tuned", "fine_tuning_rate": 1e-4}
    assert cost(space.architecture(values), GREY, TWO).parameters > 300_000


def test_nothing_is_downloaded() -> None:
    with pytest.raises(SpecError, match="nothing is downloaded unasked"):
        space_of("")
    with pytest.raises(SpecError, match="has no 'MobileNet9'"):
        space_of("x", backbones={"MobileNet9": "x"})
