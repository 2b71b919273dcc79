import dataclasses
import itertools
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from nasflow.core import metrics
from nasflow.core.errors import TrialFailedError
from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.models.build import build
from nasflow.models.fit import Epoch, fit
from nasflow.models.predict import predict
from nasflow.models.trainer import Trainer
from nasflow.spaces.architecture import Architecture, Recipe
from nasflow.spaces.cnn import CnnSpace
from nasflow.spaces.graph import Graph
from nasflow.spaces.mlp import MlpSpace

IMAGES = InputSpec(image=(6, 6, 1), image_mean=(127.0,), image_std=(74.0,))
THREE = OutputSpec(classes=3)
EVERYTHING = Recipe(
    learning_rate=2e-3, batch_size=16, label_smoothing=0.1, ema=0.9, flip=True, shift=1, cutout=2, schedule="one_cycle"
)


def stripes(rows: int, seed: int = 0) -> Tensors:
    """Noise with one bright row, in one of three places: which?"""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows).astype(np.int32)
    images = rng.integers(0, 150, (rows, 6, 6, 1), dtype=np.uint8)
    images[np.arange(rows), labels * 2] += 80
    return Tensors(inputs={"image": images}, labels=labels)


def small_cnn() -> Architecture:
    """With batch statistics and dropout: state that a backup must not forget."""
    graph = Graph()
    x = graph.add("conv", graph.add("input", tensor="image"), filters=8, kernel=3, stride=1, bias=False)
    x = graph.add("activation", graph.add("batch_norm", x), function="relu")
    x = graph.add("dropout", graph.add("flatten", x), rate=0.2)
    return graph.finish(x, EVERYTHING)


def train(seed: int = 0, **changes: Any) -> tuple[keras.Model, list[Epoch]]:
    architecture = small_cnn()
    model = build(architecture, IMAGES, THREE, seed=seed)
    arguments: dict[str, Any] = {
        "recipe": architecture.recipe,
        "train": stripes(100),
        "validation": stripes(60, seed=1),
        "output": THREE,
        "epochs": 4,
        "seed": seed,
    }
    return model, fit(model, **(arguments | changes))


def same(one: keras.Model, other: keras.Model) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def timeless(history: list[Epoch]) -> list[Epoch]:
    return [dataclasses.replace(epoch, seconds=0.0) for epoch in history]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("members", [(), (3,)])
def test_class_weights_by_hand(members: tuple[int, ...], smoothing: float) -> None:
    # Equal logits cost ln 2 a row whatever the label (smoothed, too): ln 2 × (2 + 2 + 2 + 0.5) / 4.
    recipe = Recipe(batch_size=4, label_smoothing=smoothing)
    two = OutputSpec(classes=2, weights=(2.0, 0.5))
    model = build(small_cnn(), IMAGES, two, seed=0)
    loss = Trainer(model, recipe, two, batch=4, steps=1)._loss(tf.constant([0, 0, 0, 1]), tf.zeros((4, *members, 2)))
    assert float(loss) == pytest.approx(1.625 * np.log(2))


def test_weights_of_one_change_nothing_and_others_do() -> None:
    plain, ones = train(epochs=2), train(epochs=2, output=dataclasses.replace(THREE, weights=(1.0, 1.0, 1.0)))
    assert same(plain[0], ones[0])
    assert not same(plain[0], train(epochs=2, output=dataclasses.replace(THREE, weights=(1.0, 1.0, 5.0)))[0])


def test_it_learns_and_reports_each_epoch() -> None:
    model, history = train(recipe=Recipe(learning_rate=1e-2, batch_size=16), epochs=6)
    assert [epoch.number for epoch in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1].loss < history[0].loss / 2
    validation = stripes(60, seed=1)
    predictions = predict(model, validation, THREE)
    assert history[-1].score == metrics.compute("accuracy", validation.labels, predictions) > 0.9
    assert history[-1].log_loss == pytest.approx(metrics.compute("log_loss", validation.labels, predictions))
    assert all(epoch.seconds > 0 for epoch in history)


def test_same_seed_same_result() -> None:
    (one, history), (again, history_again), (other, _) = train(3), train(3), train(4)
    assert timeless(history) == timeless(history_again)
    assert same(one, again)
    assert not same(one, other)


def test_a_stopped_training_resumes_exactly(tmp_path: Path) -> None:
    """Order of rows, augmentation, dropout, batch statistics, optimiser, schedule, averages: all go on."""
    whole_model, whole = train()
    _, stopped = train(backup_path=str(tmp_path), on_epoch=lambda epoch: epoch.number < 2)
    assert len(stopped) == 2
    model, resumed = train(backup_path=str(tmp_path))
    assert timeless(resumed) == timeless(whole)
    assert same(model, whole_model)
    finished_model, finished = train(backup_path=str(tmp_path))  # nothing is left to do
    assert finished == resumed
    assert same(finished_model, whole_model)


def test_resuming_tells_the_last_epoch_again(tmp_path: Path) -> None:
    train(backup_path=str(tmp_path), on_epoch=lambda epoch: epoch.number < 2)
    heard: list[int] = []

    def stop(epoch: Epoch) -> bool:
        heard.append(epoch.number)
        return False

    _, history = train(backup_path=str(tmp_path), on_epoch=stop)
    assert heard == [1, 2]
    assert len(history) == 2


_VICTIM = """
import sys, time
sys.path.insert(0, sys.argv[1])
from test_models_fit import train

def slowly(epoch):
    print(epoch.number, flush=True)
    time.sleep(0.5)
    return True

train(backup_path=sys.argv[2], on_epoch=slowly)
"""


@pytest.mark.slow
def test_kill_9_loses_at_most_the_epoch_in_hand(tmp_path: Path) -> None:
    victim = subprocess.Popen(
        [sys.executable, "-c", _VICTIM, str(Path(__file__).parent), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert victim.stdout is not None
    for line in victim.stdout:
        if line.strip() == "2":
            victim.kill()
            break
    assert victim.wait() == -signal.SIGKILL
    heard: list[int] = []
    model, history = train(backup_path=str(tmp_path), on_epoch=lambda epoch: heard.append(epoch.number) is None)
    assert heard == [1, 2, 3, 4]
    whole_model, whole = train()
    assert timeless(history) == timeless(whole)
    assert same(model, whole_model)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda _: b""])
def test_a_damaged_backup_starts_over(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    train(backup_path=str(tmp_path), epochs=2)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    heard: list[int] = []
    train(backup_path=str(tmp_path), epochs=2, on_epoch=lambda epoch: heard.append(epoch.number) is None)
    assert heard == [1, 2]


@pytest.mark.parametrize("change", [{"seed": 1}, {"epochs": 3}, {"recipe": Recipe()}, {"train": stripes(80)}])
def test_a_backup_of_another_training_is_ignored(tmp_path: Path, change: dict[str, Any]) -> None:
    train(backup_path=str(tmp_path), on_epoch=lambda _: False)
    heard: list[int] = []
    train(**change, backup_path=str(tmp_path), on_epoch=lambda epoch: heard.append(epoch.number) is not None)
    assert heard == [1]


def test_a_loss_that_is_not_finite_is_a_failed_trial() -> None:
    with pytest.raises(TrialFailedError, match="training loss is"):
        train(recipe=Recipe(learning_rate=1e30, schedule="constant"), epochs=3)


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"train": stripes(0)}])
def test_nothing_to_train_on_is_a_failed_trial(changes: dict[str, Any]) -> None:
    with pytest.raises(TrialFailedError, match="nothing to train on"):
        train(**changes)


def test_unknown_recipes_are_failed_trials() -> None:
    with pytest.raises(TrialFailedError, match="unknown 'magic'; use one of adamw, sgd"):
        train(recipe=Recipe(optimizer="magic"))
    with pytest.raises(TrialFailedError, match="unknown 'magic'; use one of one_cycle"):
        train(recipe=Recipe(schedule="magic"))


@pytest.mark.parametrize("rows", [1, 5, 16, 17])
def test_fewer_rows_than_a_batch(rows: int) -> None:
    _, history = train(train=stripes(rows), epochs=1)
    assert np.isfinite(history[0].loss)


def test_without_validation_there_is_no_score() -> None:
    for validation in (None, stripes(0)):
        _, history = train(validation=validation, epochs=1)
        assert history[0].score is None
        assert history[0].log_loss is None


def linear(recipe: Recipe, output: OutputSpec, columns: int = 2) -> tuple[keras.Model, Recipe]:
    graph = Graph()
    architecture = graph.finish(graph.add("input", tensor="numeric"), recipe)
    return build(architecture, InputSpec(numeric=columns), output), recipe


def table(columns: int, rows: int, labels: np.ndarray) -> Tensors:
    inputs = np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)
    return Tensors(inputs={"numeric": inputs}, labels=labels)


def test_regression_learns_in_the_targets_own_units() -> None:
    """target = 1000 + 300 · x₀: a linear model finds it; validation is scored in the same units."""
    data = table(2, 400, np.zeros(400))
    data = Tensors(inputs=data.inputs, labels=1000 + 300 * data.inputs["numeric"][:, 0].astype(np.float64))
    output = OutputSpec(classes=None, mean=float(data.labels.mean()), std=float(data.labels.std()))
    model, recipe = linear(Recipe(learning_rate=5e-2, weight_decay=0.0, batch_size=32), output)
    history = fit(model, recipe, data, output=output, epochs=15, seed=0, validation=data)
    assert history[-1].score is not None
    assert history[-1].score < 10  # rmse, of targets whose standard deviation is 300
    assert history[-1].log_loss is None
    mae = fit(model, recipe, data, output=output, epochs=1, seed=0, validation=data, metric="mae")[0].score
    assert mae == pytest.approx(metrics.compute("mae", data.labels, predict(model, data, output)))


def test_weights_decay_and_biases_do_not() -> None:
    """Inputs of zero give the kernel no gradient: 5 steps multiply it by (1 − rate · decay)⁵, and nothing else."""
    recipe = Recipe(learning_rate=0.1, weight_decay=0.5, schedule="constant", batch_size=16)
    output = OutputSpec(classes=None)
    model, _ = linear(recipe, output)
    layer = model.get_layer("output")
    layer.set_weights([np.array([[1.0], [2.0]]), np.array([7.0])])
    data = Tensors(inputs={"numeric": np.zeros((80, 2), np.float32)}, labels=np.full(80, 7.0))
    fit(model, recipe, data, output=output, epochs=1, seed=0)
    kernel, bias = layer.get_weights()
    assert kernel[:, 0] == pytest.approx(np.array([1.0, 2.0]) * (1 - 0.1 * 0.5) ** 5)
    assert bias == pytest.approx([7.0])  # no error, no gradient, no decay


def test_the_average_of_weights_by_hand() -> None:
    """One bias learns by SGD with momentum; the average follows with momentum min(ema, (1 + t) / (10 + t))."""
    recipe = Recipe(optimizer="sgd", learning_rate=0.1, weight_decay=0.0, schedule="constant", ema=0.15, batch_size=16)
    output = OutputSpec(classes=None)
    model, _ = linear(recipe, output)
    data = Tensors(inputs={"numeric": np.zeros((32, 2), np.float32)}, labels=np.ones(32))
    model.get_layer("output").set_weights([np.zeros((2, 1)), np.zeros(1)])
    fit(model, recipe, data, output=output, epochs=1, seed=0)
    bias = velocity = average = 0.0
    for step in (1, 2):
        gradient = 2 * (bias - 1)
        velocity = 0.9 * velocity - 0.1 * gradient
        bias += 0.9 * velocity - 0.1 * gradient  # Nesterov's
        keep = min(0.15, (1 + step) / (10 + step))
        average = keep * average + (1 - keep) * bias
    assert model.get_layer("output").get_weights()[1] == pytest.approx([average])


def test_label_smoothing_is_keras_label_smoothing() -> None:
    """One step of no size: the reported loss is that of the first weights."""
    recipe = Recipe(learning_rate=1e-12, label_smoothing=0.2, schedule="constant", batch_size=16)
    model, _ = linear(recipe, THREE)
    model.get_layer("output").set_weights([np.array([[1.0, -2.0, 0.5], [0.3, 1.5, -1.0]]), np.array([0.1, 0.0, -0.4])])
    data = table(2, 16, np.arange(16, dtype=np.int32) % 3)
    logits = np.asarray(model(data.inputs))
    loss = fit(model, recipe, data, output=THREE, epochs=1, seed=0)[0].loss
    expected = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)(
        np.eye(3, dtype=np.float32)[data.labels], logits
    )
    assert loss == pytest.approx(float(expected), abs=1e-5)


def test_packed_members_learn_each_by_itself() -> None:
    """The loss is the mean of the members' losses, not the loss of their mean."""
    space = MlpSpace(inputs=InputSpec(numeric=2), output=THREE)
    values = {**space.presets()[0], "learning_rate": 3e-4, "dropout": 0.0}
    architecture = space.architecture(values)
    model = build(architecture, InputSpec(numeric=2), THREE)
    data = table(2, 16, np.arange(16, dtype=np.int32) % 3)
    each = np.asarray(keras.Model(model.input, model.get_layer("members").output)(data.inputs), np.float64)
    log_probabilities = each - np.log(np.exp(each).sum(-1, keepdims=True))
    expected = -log_probabilities[np.arange(16), :, data.labels].mean()
    assert fit(model, architecture.recipe, data, output=THREE, epochs=1, seed=0)[0].loss == pytest.approx(
        expected, abs=1e-5
    )


def split(inputs: dict[str, np.ndarray], labels: np.ndarray) -> tuple[Tensors, Tensors]:
    """Two thirds to learn from, one third to test."""
    order = np.random.default_rng(0).permutation(len(labels))
    data = Tensors(inputs=inputs, labels=labels)
    return data.take(order[: len(order) * 2 // 3]), data.take(order[len(order) * 2 // 3 :])


def test_the_default_reads_digits() -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * 255 / 16).astype(np.uint8)[..., None]
    inputs = InputSpec(image=(8, 8, 1), image_mean=(float(images.mean()),), image_std=(float(images.std()),))
    output = OutputSpec(classes=10)
    train_rows, test_rows = split({"image": images}, bunch.target.astype(np.int32))
    space = CnnSpace(inputs=inputs, output=output)
    architecture = space.architecture(space.presets()[0])
    model = build(architecture, inputs, output)
    fit(model, architecture.recipe, train_rows, output=output, epochs=10, seed=0)
    assert metrics.compute("accuracy", test_rows.labels, predict(model, test_rows, output)) > 0.97


@pytest.mark.parametrize(("name", "preset"), [*itertools.product(["breast_cancer", "diabetes"], [0, 1, 2])])
def test_the_defaults_read_small_tables(name: str, preset: int) -> None:
    import sklearn.datasets

    bunch = getattr(sklearn.datasets, f"load_{name}")()
    columns = ((bunch.data - bunch.data.mean(0)) / bunch.data.std(0)).astype(np.float32)
    inputs = InputSpec(numeric=columns.shape[1])
    regression = name == "diabetes"
    labels = bunch.target.astype(np.float64 if regression else np.int32)
    output = OutputSpec(classes=None, mean=labels.mean(), std=labels.std()) if regression else OutputSpec(classes=2)
    train_rows, test_rows = split({"numeric": columns}, labels)
    space = MlpSpace(inputs=inputs, output=output)
    architecture = space.architecture(space.presets()[preset])
    model = build(architecture, inputs, output)
    fit(model, architecture.recipe, train_rows, output=output, epochs=20, seed=0)
    predictions = predict(model, test_rows, output)
    if regression:  # predicting the mean gives 77; least squares about 55
        assert metrics.compute("rmse", test_rows.labels, predictions) < 60
    else:
        assert metrics.compute("accuracy", test_rows.labels, predictions) > 0.95
