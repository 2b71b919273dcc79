"""Partial channels, edge weights and the look ahead of supernets, by hand."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from tests.unit.models.stripes import INPUTS, OUTPUT, make, stripes, trained

from nasflow.core.errors import SpecError
from nasflow.models import bilevel
from nasflow.models.supernet import build_supernet, rejoined
from nasflow.spaces.cell import DARTS
from nasflow.spaces.relaxed import MIXED, Bilevel
from nasflow.strategies.differentiable import Differentiable


def test_channels_that_pass_by_are_shuffled_among_the_others():
    """Two of four channels were operated on, 0 and 1; 12 and 13 pass by: 0 12 1 13. At stride 2 their maxima do."""
    source = tf.tile(tf.constant([[10.0, 11.0, 12.0, 13.0]])[:, None, None], [1, 4, 4, 1])
    source += tf.reshape(tf.range(16.0), [1, 4, 4, 1])
    inputs = keras.Input((4, 4, 4)), keras.Input((4, 4, 2)), keras.Input((2, 2, 2))
    made, small = tf.tile(tf.constant([[0.0, 1.0]])[:, None, None], [1, 4, 4, 1]), tf.zeros([1, 2, 2, 2])
    plain = keras.Model(inputs[:2], rejoined(inputs[1], inputs[0], parts=2, stride=1))([source, made])
    np.testing.assert_array_equal(plain[0, 0, 0], [0.0, 12.0, 1.0, 13.0])
    halved = keras.Model((inputs[0], inputs[2]), rejoined(inputs[2], inputs[0], parts=2, stride=2))([source, small])
    np.testing.assert_array_equal(halved[0, :, :, 1], [[12.0 + 5, 12.0 + 7], [12.0 + 13, 12.0 + 15]])


def test_partial_channels_shrink_the_operations_and_keep_the_options():
    """A 3 × 3 convolution of 4 → 4 channels has 144 weights; of one channel of four, 9."""
    space = make(operations=("skip", "conv_3x3"))
    whole, part = space.relaxed(), space.relaxed(partial=4)
    assert part.parts == whole.parts
    assert part.choices == whole.choices
    kernels = []
    for relaxed in (whole, part):
        model, _ = build_supernet(relaxed.network, relaxed.choices, INPUTS, OUTPUT)
        assert model.output_shape == (None, 2)
        (name,) = [node.name for node in relaxed.network.nodes if node.op == "conv"][1:]
        kernels.append(model.get_layer(name).kernel.shape)
    assert kernels == [(3, 3, 4, 4), (3, 3, 1, 1)]


def test_reductions_take_partial_channels_too():
    space = make(topology="pairs", nodes=2, operations=DARTS, stages=2)
    relaxed = space.relaxed(partial=4, edge_weights=True)
    model, alphas = build_supernet(relaxed.network, relaxed.choices, INPUTS, OUTPUT)
    assert np.isfinite(model(stripes(3).inputs)).all()
    assert set(alphas.logits) == set(space.relaxed().choices)  # pairs have their weights of edges anyhow


def test_edges_of_a_dense_node_are_weighted():
    """Nodes 2 and 3 of four have several edges; their softmax is worth as many at the start, so that the sum stays."""
    space = make(nodes=4)
    weighted = space.relaxed(edge_weights=True)
    new = set(weighted.choices) - set(space.relaxed().choices)
    assert {name: len(weighted.choices[name]) for name in new} == {"node_2_inputs": 2, "node_3_inputs": 3}
    scales = {n.settings["choice"]: n.settings["scale"] for n in weighted.network.nodes if n.op == MIXED}
    assert (scales["node_2_inputs"], scales["node_3_inputs"]) == (2.0, 3.0)
    images, answers = stripes(5).inputs, []
    for relaxed in (space.relaxed(), weighted):
        model, _ = build_supernet(relaxed.network, relaxed.choices, INPUTS, OUTPUT, seed=3)
        answers.append(model(images))
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)


def test_settings_reach_the_space():
    space = make(nodes=3, width=6)
    assert Differentiable().relaxation(space.relaxed) == space.relaxed()
    assert Differentiable(partial=2).relaxation(space.relaxed) == space.relaxed(partial=2, edge_weights=True)
    alone = Differentiable(partial=2, edge_weights=False).relaxation(space.relaxed)
    assert alone == space.relaxed(partial=2)
    assert Differentiable(unroll=0.025).bilevel().unroll == 0.025
    with pytest.raises(SpecError, match=r"search\.settings\.partial: 4 does not divide the supernet's 6 channels"):
        Differentiable(partial=4).relaxation(space.relaxed)
    with pytest.raises(SpecError, match=r"search\.settings\.partial: relaxed\(\) of this space takes no partial"):
        Differentiable(partial=2).relaxation(space.presets)


def test_with_partial_channels_softmaxes_move_towards_what_is_useful():
    """Less than with all of them (.9): half of the stripes pass by untouched."""
    relaxed = make(operations=("avg_pool_3x3", "skip")).relaxed(partial=2)
    found = trained(relaxed, Bilevel(epochs=8, warm_up=0.25, auxiliary=0.0))[-1].probabilities["edge_0_1"]
    assert 0.55 < found[1] < 0.9


@pytest.mark.slow
def test_looking_ahead_by_nothing_is_first_order_and_by_more_is_not():
    relaxed = make(operations=("avg_pool_3x3", "skip")).relaxed()
    plain = Bilevel(epochs=4, warm_up=0.25, auxiliary=0.0)
    first, almost, ahead = (
        trained(relaxed, dataclasses.replace(plain, unroll=unroll))[-1] for unroll in (0.0, 1e-9, 0.05)
    )
    assert almost.probabilities["edge_0_1"] == pytest.approx(first.probabilities["edge_0_1"], abs=0.02)
    assert abs(ahead.probabilities["edge_0_1"][1] - first.probabilities["edge_0_1"][1]) > 1e-4
    assert ahead.probabilities["edge_0_1"][1] > 0.7


def test_the_second_order_slope_is_that_of_the_loss_after_a_step():
    """d/dα L_val(w − ξ ∇L_train(w, α), α), by differences of α; the weights are as before afterwards. With swish for
    ReLU: differences of a function with kinks say little."""
    relaxed = make(operations=("avg_pool_3x3", "conv_3x3")).relaxed()
    smooth = [
        dataclasses.replace(node, settings={"function": "swish"}) if node.op == "activation" else node
        for node in relaxed.network.nodes
    ]
    network = dataclasses.replace(relaxed.network, nodes=tuple(smooth))
    model, alphas = build_supernet(network, relaxed.choices, INPUTS, OUTPUT, seed=2)
    recipe = dataclasses.replace(relaxed.network.recipe, label_smoothing=0.0)
    trainer = bilevel._Trainer(model, alphas, recipe, OUTPUT, Bilevel(unroll=0.3), batch=64)
    trainer._ahead.assign(0.3)
    data = stripes(128)
    mine, others = (
        ({"image": tf.constant(part.inputs["image"])}, tf.constant(part.labels), tf.ones(64))
        for part in (data.take(slice(0, 64)), data.take(slice(64, 128)))
    )
    weights = [variable.value for variable in model.trainable_variables]
    kept = [weight.numpy() for weight in weights]
    logits = [each.value for each in alphas.logits.values()]
    (found,) = trainer._looking_ahead(logits, mine, others)[1]
    for weight, before in zip(weights, kept, strict=True):
        np.testing.assert_array_equal(weight, before)

    def after_a_step(value: float) -> float:
        logits[0].assign([value, 0.0])
        for weight, slope in zip(weights, trainer._slopes(weights, others)[1], strict=True):
            weight.assign_sub(0.3 * slope)
        loss = float(trainer._slopes(logits, mine)[0])
        for weight, before in zip(weights, kept, strict=True):
            weight.assign(before)
        return loss

    numeric = (after_a_step(0.05) - after_a_step(-0.05)) / 0.1
    logits[0].assign([0.0, 0.0])
    plain = float(trainer._slopes(logits, mine)[1][0][0])
    assert float(found[0]) == pytest.approx(numeric, rel=0.02), plain
    assert plain != pytest.approx(numeric, rel=0.1)
