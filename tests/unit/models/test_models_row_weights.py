"""Weights of rows in the training loss."""

import dataclasses

import numpy as np
import pytest

from nasflow.core.bootstrap import weighted
from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.spaces.architecture import Recipe
from nasflow.spaces.registry import get_space

INPUTS = InputSpec(numeric=2)
TWO = OutputSpec(classes=2)


def _model(output=TWO, **changes):
    from nasflow.models.build import build

    task = "tabular_regression" if output.classes is None else "tabular_classification"
    space = get_space("mlp", task=task, inputs=INPUTS, output=output)
    linear = next(preset for preset in space.presets() if preset["depth"] == 0)
    architecture = space.architecture(linear | changes)
    recipe = dataclasses.replace(architecture.recipe, learning_rate=0.05)
    return build(architecture, INPUTS, output, seed=0), recipe


def _rows(rows, *, lies):
    """The label is the sign of the first column; in the second half it is the opposite where `lies`."""
    rng = np.random.default_rng(3)
    numbers = rng.normal(size=(rows, 2)).astype(np.float32)
    labels = (numbers[:, 0] > 0).astype(np.int32)
    if lies:
        labels[rows // 2 :] = 1 - labels[rows // 2 :]
    return numbers, labels


def test_the_loss_by_hand() -> None:
    import tensorflow as tf

    from nasflow.models.trainer import Trainer

    output = OutputSpec(classes=2, weights=(1.0, 3.0))
    model, _ = _model(output)
    trainer = Trainer(model, Recipe(batch_size=2), output, batch=2, steps=1)
    labels, answers = tf.constant([0, 1]), tf.constant([[0.0, 0.0], [0.0, 0.0]])
    # Both losses are ln 2. Class weights 1 and 3, row weights 1.5 and .5: (1.5 · 1 + .5 · 3) / 2 · ln 2.
    assert float(trainer._loss(labels, answers, tf.constant([1.5, 0.5]))) == pytest.approx(1.5 * np.log(2))
    packed = tf.zeros([2, 4, 2])  # four networks in one: each row weighs the same in all of them
    assert float(trainer._loss(labels, packed, tf.constant([1.5, 0.5]))) == pytest.approx(1.5 * np.log(2))
    numbers, _ = _model(OutputSpec(classes=None))
    regression = Trainer(numbers, Recipe(batch_size=2), OutputSpec(classes=None), batch=2, steps=1)
    found = regression._loss(tf.constant([1.0, 3.0]), tf.zeros([2, 1]), tf.constant([0.5, 1.5]))
    assert float(found) == pytest.approx((0.5 * 1 + 1.5 * 9) / 2)


def test_rows_that_weigh_nothing_teach_nothing() -> None:
    from nasflow.models.fit import fit
    from nasflow.models.predict import predict

    numbers, labels = _rows(400, lies=True)
    honest = np.arange(400) < 200
    for weights, least, most in ((np.where(honest, 7.0, 0.0), 0.95, 1.0), (np.where(honest, 0.0, 7.0), 0.0, 0.05)):
        model, recipe = _model()
        train = Tensors(inputs={"numeric": numbers}, labels=labels, weights=weights)
        epochs = fit(model, recipe, train, output=TWO, epochs=8, seed=0, validation=train, metric="accuracy")
        found = predict(model, train, TWO).argmax(1) == labels
        assert least <= found[honest].mean() <= most
        assert epochs[-1].score == weighted("accuracy", labels, predict(model, train, TWO), weights)
        assert epochs[-1].score >= 0.95  # of the rows that count


def test_equal_weights_are_as_none_and_the_training_is_another_without_them(tmp_path) -> None:
    from nasflow.models.fit import fit
    from nasflow.models.predict import predict

    numbers, labels = _rows(200, lies=False)
    answers = []
    for weights in (None, np.full(200, 5.0)):
        model, recipe = _model()
        train = Tensors(inputs={"numeric": numbers}, labels=labels, weights=weights)
        fit(model, recipe, train, output=TWO, epochs=2, seed=0, backup_path=str(tmp_path))
        answers.append(predict(model, train, TWO))
    np.testing.assert_allclose(*answers, atol=1e-6)


def test_tensors_carry_their_weights() -> None:
    rows = Tensors(inputs={"numeric": np.zeros((3, 1))}, labels=np.arange(3), weights=np.array([1.0, 2.0, 3.0]))
    assert rows.take(np.array([2, 0])).weights.tolist() == [3.0, 1.0]
    assert rows.only(["numeric"]).weights is rows.weights
    plain = Tensors(inputs=rows.inputs, labels=rows.labels)
    assert rows.join(plain).weights.tolist() == [1.0, 2.0, 3.0, 1.0, 1.0, 1.0]
    assert plain.join(plain).weights is None
