"""The parts of a recipe that a search can switch on: optimisers, mixup, light, class weights."""

import numpy as np
import pytest
import tensorflow as tf

from nasflow.core.errors import TrialFailedError
from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.models.augment import augment, augments
from nasflow.models.build import build
from nasflow.models.class_weights import weighted
from nasflow.models.fit import fit
from nasflow.models.mixing import Mixing
from nasflow.models.optimizers import NAMES, make_optimizer
from nasflow.models.predict import predict
from nasflow.spaces.architecture import Recipe
from nasflow.spaces.graph import Graph

FILL = np.array([9], np.uint8)
TABLE = InputSpec(numeric=2)
TWO = OutputSpec(classes=2)


def linear() -> tuple[Graph, str]:
    graph = Graph()
    return graph, graph.add("input", tensor="numeric")


@pytest.mark.parametrize("name", NAMES)
def test_every_optimiser_learns_a_line(name: str) -> None:
    rng = np.random.default_rng(0)
    numeric = rng.normal(size=(200, 2)).astype(np.float32)
    rows = Tensors(inputs={"numeric": numeric}, labels=(numeric[:, 0] > 0).astype(np.int32))
    graph, x = linear()
    recipe = Recipe(optimizer=name, learning_rate=0.05, weight_decay=0.01, batch_size=20)
    model = build(graph.finish(x, recipe), TABLE, TWO)
    fit(model, recipe, rows, output=TWO, epochs=6, seed=0)
    assert (predict(model, rows, TWO).argmax(1) == rows.labels).mean() > 0.95


def test_an_unknown_optimiser_is_named() -> None:
    with pytest.raises(TrialFailedError, match=r"unknown 'adamax9'; use one of adamw, sgd"):
        make_optimizer(Recipe(optimizer="adamax9"), 10)


def test_brightness_moves_all_pixels_of_an_image_alike() -> None:
    images = np.full((300, 2, 2, 1), 100, np.uint8)
    images[:, 0, 0] = 120
    lit = augment(images, Recipe(brightness=0.1), FILL, np.random.default_rng(0)).astype(int)
    moves = lit[:, 1, 1, 0] - 100
    assert (lit[:, 0, 0, 0] - 120 == moves).all()
    assert abs(moves).max() <= 26  # a tenth of 255, rounded
    assert moves.min() < -20 < 20 < moves.max()


def test_contrast_keeps_the_mean_of_an_image() -> None:
    images = np.tile(np.array([[90, 110]], np.uint8)[None, :, :, None], (300, 1, 1, 1))
    lit = augment(images, Recipe(contrast=0.5), FILL, np.random.default_rng(0)).astype(int)
    assert (lit.sum(axis=(1, 2, 3)) == 200).all()
    distance = lit[:, 0, 1, 0] - 100  # 10 · (1 + c)
    assert set(distance) == set(range(5, 16))
    assert augments(Recipe(contrast=0.5))


def test_mixup_mixes_what_is_seen_and_what_is_said() -> None:
    mixing = Mixing(tf.constant(0.75))
    image = tf.constant(np.array([0, 100], np.uint8).reshape(2, 1, 1, 1))
    mixed = mixing.inputs({"image": image})["image"].numpy().ravel()
    assert mixed.tolist() == [25, 75]
    # The loss is the label itself: 0.75 · (mean of 0, 8) + 0.25 · (mean of 8, 0) = 4, where the second is reversed.
    seen = []

    def loss(labels: tf.Tensor, answers: tf.Tensor) -> tf.Tensor:
        seen.append(labels.numpy().tolist())
        return tf.cast(labels[0], tf.float32) + 0 * answers

    assert float(mixing.loss(loss, tf.constant([0, 8]), tf.constant(0.0))) == 0.25 * 8
    assert sorted(seen) == [[0, 8], [8, 0]]


def test_mixup_draws_by_the_step() -> None:
    drawn = [Mixing.draw(0.4, tf.constant(step)) for step in range(200)]
    weights = np.array([float(mixing.weight) for mixing in drawn if mixing])
    assert len(weights) == 200
    assert weights.min() >= 0.5
    assert weights.max() > 0.99  # Beta(0.4, 0.4) is mostly near its ends
    again = Mixing.draw(0.4, tf.constant(7))
    assert again is not None
    assert float(again.weight) == weights[7]
    assert Mixing.draw(0.0, tf.constant(7)) is None


def test_mixup_trains_images() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 60, (80, 3, 3, 1), dtype=np.uint8)
    labels = np.arange(80, dtype=np.int32) % 2
    image[labels == 1] += 150
    spec = InputSpec(image=(3, 3, 1), image_mean=(100.0,), image_std=(80.0,))
    graph = Graph()
    recipe = Recipe(mixup=0.2, batch_size=16, learning_rate=0.05)
    model = build(graph.finish(graph.add("flatten", graph.add("input", tensor="image")), recipe), spec, TWO)
    rows = Tensors(inputs={"image": image}, labels=labels)
    plain = build(graph.finish("flatten_1", recipe), spec, TWO)
    losses = [
        fit(one, Recipe(mixup=alpha, batch_size=16, learning_rate=0.05), rows, output=TWO, epochs=5, seed=0)[-1].loss
        for one, alpha in ((model, 0.2), (plain, 0.0))
    ]
    assert (predict(model, rows, TWO).argmax(1) == labels).all()
    assert losses[0] > losses[1]  # means of two classes cannot be told without doubt


def test_class_weights_balance_a_rare_class() -> None:
    labels = np.array([0] * 90 + [1] * 10, np.int32)
    assert weighted(TWO, Recipe(), labels) is TWO
    balanced = weighted(OutputSpec(classes=3), Recipe(class_weights=True), labels)
    assert balanced.weights == pytest.approx((100 / (2 * 90), 100 / (2 * 10), 1.0))
    given = OutputSpec(classes=2, weights=(1.0, 3.0))
    assert weighted(given, Recipe(class_weights=True), labels) is given
    # Rows without features: the weighted model says one half, the plain one the share of the class.
    rows = Tensors(inputs={"numeric": np.zeros((100, 2), np.float32)}, labels=labels)
    said = []
    for on in (False, True):
        recipe = Recipe(class_weights=on, batch_size=100, learning_rate=0.1, weight_decay=0.0)
        graph, x = linear()
        model = build(graph.finish(x, recipe), TABLE, TWO)
        fit(model, recipe, rows, output=TWO, epochs=40, seed=0)
        said.append(predict(model, rows, TWO)[0, 1])
    assert said == pytest.approx([0.1, 0.5], abs=0.03)
