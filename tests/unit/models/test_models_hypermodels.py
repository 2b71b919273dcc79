"""HyperModels that were written for plain Keras Tuner, through nasflow's engine."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest

from nasflow.core.errors import SpecError
from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.models.build import build
from nasflow.models.fit import Epoch, Extras, fit, fit_with
from nasflow.models.hypermodels.space import HyperModelSpace, adapt
from nasflow.models.predict import predict
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture, ArchitectureError
from nasflow.spaces.cost import cost
from nasflow.spaces.parameters import Choice, Integer, Real, When, sample
from nasflow.spaces.registry import get_space
from nasflow.testing import SpaceConformance

MODULE = "tests.unit.models.written_for_keras_tuner"
DIGITS = InputSpec(image=(8, 8, 1), image_mean=(100.0,), image_std=(80.0,))
TEN, TWO, NUMBER = OutputSpec(classes=10), OutputSpec(classes=2), OutputSpec(classes=None, mean=7.0, std=3.0)


def space_of(name: str, inputs: InputSpec = DIGITS, output: OutputSpec = TEN, **arguments: Any) -> Space:
    task = "image_classification" if inputs.image else "tabular_classification"
    path = f"{MODULE}:{name}"
    return get_space(path, task=task, inputs=inputs, output=output, settings=arguments, adapt=adapt)  # type: ignore[arg-type]


class TestFunction(SpaceConformance):
    inputs, output, samples = DIGITS, TEN, 3

    def make(self) -> Space:
        return space_of("build_model")


@pytest.mark.slow
class TestClass(SpaceConformance):
    inputs, output, samples = DIGITS, TEN, 3

    def make(self) -> Space:
        return space_of("ConvModel", classes=10)


def test_conditions_of_a_loop_are_found() -> None:
    """`units_1` is looked at for two and three layers, `units_2` for three; Keras Tuner would vary them always."""
    assert space_of("build_model").parameters() == (
        Choice(name="num_layers", values=(1, 2, 3)),
        Choice(name="units_0", values=(32, 64, 96)),
        Choice(name="activation", values=("relu", "tanh")),
        Choice(name="dropout", values=("false", "true")),
        Real(name="lr", low=1e-3, high=1e-2, log=True),
        Choice(name="units_1", values=(32, 64, 96), when=When(parent="num_layers", values=(2, 3))),
        Choice(name="units_2", values=(32, 64, 96), when=When(parent="num_layers", values=(3,))),
    )


def test_declared_conditions_and_parameters_of_fit_are_found() -> None:
    assert space_of("ConvModel").parameters() == (
        Choice(name="model_type", values=("conv", "dense")),
        Choice(name="filters", values=(4, 8, 12), when=When(parent="model_type", values=("conv",))),
        Choice(name="batch_size", values=(16, 32)),
        Choice(name="shuffle", values=("false", "true")),
        Choice(name="width", values=(8, 16), when=When(parent="model_type", values=("dense",))),
    )


def test_the_preset_is_what_keras_tuner_tries_first() -> None:
    assert space_of("build_model").presets() == (
        {"num_layers": 1, "units_0": 32, "activation": "relu", "dropout": "false", "lr": 1e-3},
    )


def test_counts_are_those_of_the_model() -> None:
    values = {"num_layers": 2, "units_0": 32, "units_1": 64, "activation": "relu", "dropout": "true", "lr": 1e-3}
    counted = cost(space_of("build_model").architecture(values), DIGITS, TEN)
    assert counted.parameters == (64 * 32 + 32) + (32 * 64 + 64) + (64 * 10 + 10)
    assert counted.flops == 2 * (64 * 32 + 32 * 64 + 64 * 10)
    conv = {"model_type": "conv", "filters": 4, "batch_size": 16, "shuffle": "true"}
    counted = cost(space_of("ConvModel").architecture(conv), DIGITS, TEN)
    assert counted.flops == 2 * (6 * 6 * 9 * 4 + 6 * 6 * 4 * 10)


def images(rows: int, seed: int = 0) -> Tensors:
    """The class is where the bright bar is."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 8, rows).astype(np.int32)
    image = rng.integers(0, 90, (rows, 8, 8, 1), dtype=np.uint8)
    image[np.arange(rows), :, labels] += 160
    return Tensors(inputs={"image": image}, labels=labels)


@pytest.mark.parametrize("name", ["build_model", "ConvModel"])
def test_images_are_learned_and_saved_without_the_hypermodel(name: str, tmp_path: Any) -> None:
    space = space_of(name)
    architecture = Architecture.from_json(space.architecture(space.presets()[0]).to_json())
    model = build(architecture, DIGITS, TEN, seed=1)
    train, validation = images(500), images(100, seed=1)
    epochs = fit(model, architecture.recipe, train, output=TEN, epochs=6, seed=1, validation=validation)
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1].score is not None
    assert epochs[-1].score > 0.9
    answers = predict(model, validation, TEN)
    assert answers.sum(1) == pytest.approx(1)
    assert (answers.argmax(1) == validation.labels).mean() == epochs[-1].score
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", compile=False, safe_mode=True)
    assert predict(again, validation, TEN) == pytest.approx(answers, abs=1e-5)


def test_rows_that_weigh_nothing_teach_nothing_and_are_not_scored() -> None:
    space = space_of("build_model")
    architecture = space.architecture(space.presets()[0])
    honest = images(400)
    lies = Tensors(inputs=honest.inputs, labels=(honest.labels + 1) % 8, weights=np.zeros(400))
    rows = Tensors(inputs=honest.inputs, labels=honest.labels, weights=np.full(400, 9.0)).join(lies)
    output = OutputSpec(classes=10, weights=(1.0,) * 9 + (2.0,))
    model = build(architecture, DIGITS, output, seed=1)
    epochs = fit(model, architecture.recipe, rows, output=output, epochs=6, seed=1, validation=rows)
    right = predict(model, rows, output).argmax(1) == rows.labels
    assert epochs[-1].score == right[:400].mean() > 0.9
    assert right[400:].mean() < 0.1


def test_the_same_seed_gives_the_same_training() -> None:
    space = space_of("build_model")
    architecture = space.architecture({**space.presets()[0], "dropout": "true"})
    losses = []
    for seed in (3, 3, 4):
        model = build(architecture, DIGITS, TEN, seed=seed)
        losses.append(fit(model, architecture.recipe, images(200), output=TEN, epochs=2, seed=seed)[-1].loss)
    assert losses[0] == losses[1] != losses[2]


def table(rows: int) -> Tensors:
    rng = np.random.default_rng(0)
    numeric = rng.normal(size=(rows, 2)).astype(np.float32)
    categorical = rng.integers(0, 5, (rows, 1)).astype(np.int32)
    labels = (numeric[:, 0] + (categorical[:, 0] > 2) > 0.5).astype(np.int32)
    return Tensors(inputs={"numeric": numeric, "categorical": categorical}, labels=labels)


TABLE = InputSpec(numeric=2, cardinalities=(5,))


def test_a_loop_of_its_own_trains_one_unit_for_two_classes() -> None:
    space = space_of("OwnLoop", TABLE, TWO)
    assert [parameter.name for parameter in space.parameters()] == ["units", "batch", "rate"]
    assert cost(space.architecture({"units": 4, "batch": 16, "rate": 0.01}), TABLE, TWO).parameters == 7 * 4 + 4 + 5
    architecture = space.architecture({"units": 8, "batch": 16, "rate": 0.05})
    model = build(architecture, TABLE, TWO)
    rows = table(400)
    epochs = fit(model, architecture.recipe, rows, output=TWO, epochs=9, seed=0, validation=rows)
    assert len(epochs) == 4  # the loop's own number
    assert (epochs[-1].score or 0) > 0.9
    assert predict(model, rows, TWO).shape == (400, 2)


def test_inputs_named_after_tensors_get_them_as_they_are() -> None:
    space = space_of("build_regressor", TABLE, NUMBER)
    assert space.parameters() == (Integer(name="units", low=8, high=64, log=True),)
    architecture = space.architecture({"units": 16})
    rows = table(400)
    rows = Tensors(inputs=rows.inputs, labels=7 + 3.0 * rows.inputs["numeric"][:, 0].astype(np.float64))
    model = build(architecture, TABLE, NUMBER)
    fit(model, architecture.recipe, rows, output=NUMBER, epochs=20, seed=0)
    assert np.corrcoef(predict(model, rows, NUMBER), rows.labels)[0, 1] > 0.95


@pytest.mark.slow
def test_a_search_can_stop_a_training_and_has_its_patience() -> None:
    space = space_of("build_model")
    architecture = space.architecture(space.presets()[0])

    def run(extras: Extras, on_epoch: Any = None) -> tuple[list[Epoch], int | None]:
        model = build(architecture, DIGITS, TEN)
        done = fit_with(
            extras, model, architecture.recipe, images(100), output=TEN, epochs=9, seed=0,
            validation=images(50, seed=1), on_epoch=on_epoch,
        )  # fmt: skip
        return done.epochs, done.best

    stopped, _ = run(Extras(), lambda epoch: epoch.number < 2)
    assert len(stopped) == 2
    patient, best = run(Extras(patience=1))
    scores = [epoch.score for epoch in patient]
    assert best == int(np.argmax(scores)) + 1
    falls = [
        number for number, (a, b) in enumerate(itertools.pairwise(scores), start=2) if b <= max(scores[: number - 1])
    ]
    assert len(patient) == (falls[0] if falls else 9)


def test_identity_is_what_was_looked_at() -> None:
    space = space_of("ConvModel")
    one = space.architecture({"model_type": "dense", "width": 8, "batch_size": 16, "shuffle": "true"})
    other = space.architecture({"model_type": "dense", "width": 8, "batch_size": 32, "shuffle": "true"})
    assert one.identity != other.identity  # `fit` looks at it
    changed: Any = one.to_json()
    changed["nodes"][-1]["settings"]["code"] = "0" * 64
    with pytest.raises(ArchitectureError, match="its code has changed since the search"):
        build(Architecture.from_json(changed), DIGITS, TEN)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("broken", ArchitectureError, r"build\(hp\) failed with RuntimeError: no model for 1"),
        ("nothing", SpecError, "cannot import"),
    ],
)
def test_what_cannot_be_built_says_why(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        space_of(name)


def test_a_model_for_other_classes_says_so() -> None:
    with pytest.raises(ArchitectureError, match=r"puts out \(None, 7\); 10 classes need 10 units"):
        space_of("seven_units").architecture({"n": 1})
    with pytest.raises(SpecError, match="takes none, got"):
        space_of("build_model", width=3)


def test_random_points_of_a_hypermodel_are_counted_as_keras_does() -> None:
    space = HyperModelSpace(f"{MODULE}:ConvModel", inputs=DIGITS, output=TEN)
    rng = np.random.default_rng(0)
    for _ in range(5):
        architecture = space.architecture(sample(space.parameters(), rng))
        assert cost(architecture, DIGITS, TEN).parameters == build(architecture, DIGITS, TEN).count_params()
