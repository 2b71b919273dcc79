"""The relaxed network in Keras, and how it learns which operations matter."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tests.unit.models.stripes import INPUTS, OUTPUT, make, stripes, trained

from nasflow.core.errors import TrialFailedError, TryAgainError
from nasflow.models.bilevel import Pace, SupernetEpoch, halves
from nasflow.models.build import build
from nasflow.models.supernet import Alphas, Mixed, build_supernet
from nasflow.spaces.relaxed import Bilevel

NO_AID = Bilevel(epochs=8, warm_up=0.25, auxiliary=0.0)


def test_a_mixed_operation_by_hand():
    """Softmax of (ln 1, ln 2, ln 5) is (1/8, 2/8, 5/8); arm 0 has no input. Twice 2/8 · 3 + 5/8 · 10 is 14; a quarter
    of the last input, 8, is 2."""
    alphas = Alphas({"edge": ("none", "skip", "conv")})
    alphas.logits["edge"].assign(np.log([1.0, 2.0, 5.0]))
    alphas.auxiliary.assign(0.25)
    settings = {"choice": "edge", "arms": [1, 2], "skip": 0, "auxiliary": True, "scale": 2.0}
    terms = [tf.fill([1, 2, 2, 1], value) for value in (3.0, 10.0, 8.0)]
    mixed = Mixed(alphas, settings, name="mixed", number=7, seed=0)
    np.testing.assert_allclose(mixed(terms), np.full([1, 2, 2, 1], 2 * (0.75 + 6.25) + 2.0), rtol=1e-6)
    assert mixed.trainable_variables == []  # they are nobody's weights
    plain = Mixed(alphas, {**settings, "auxiliary": False}, name="plain", number=7, seed=0)
    np.testing.assert_allclose(plain(terms[:2]), np.full([1, 2, 2, 1], 14.0), rtol=1e-6)


def test_dropout_of_a_skip_drops_nothing_else_and_keeps_the_mean():
    alphas = Alphas({"edge": ("skip", "conv")})
    alphas.skip_dropout.assign(0.5)
    settings = {"choice": "edge", "arms": [0, 1], "skip": 0, "auxiliary": False, "scale": 1.0}
    mixed = Mixed(alphas, settings, name="mixed", number=3, seed=0)
    terms = [tf.fill([100, 10, 10, 1], 2.0), tf.fill([100, 10, 10, 1], 4.0)]
    found = mixed(terms, training=True).numpy()
    assert set(np.unique(found)) == {2.0, 4.0}  # ½ · (0 or 4) + ½ · 4
    assert found.mean() == pytest.approx(3.0, abs=0.05)
    assert (found == mixed(terms, training=True).numpy()).all()  # a function of the step
    alphas.step.assign_add(1)
    assert not (found == mixed(terms, training=True).numpy()).all()
    np.testing.assert_allclose(mixed(terms), np.full([100, 10, 10, 1], 3.0))  # not in use


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        ({"nodes": 3, "operations": ("none", "skip", "conv_3x3")}, ["conv_3x3", "skip", "conv_3x3"]),
        ({"topology": "pairs", "nodes": 1, "operations": ("skip", "sep_conv_3x3")}, ["sep_conv_3x3", "skip"]),
    ],
)
def test_with_certain_softmaxes_it_is_the_derived_network(settings, values):
    """The same weights, the same answers: the architecture's network takes the supernet's weights by layer."""
    space = make(**settings)
    relaxed = space.relaxed()
    point = dict(zip((p.name for p in space.parameters()), values, strict=True))
    architecture = space.architecture(point)
    supernet, alphas = build_supernet(relaxed.network, relaxed.choices, INPUTS, OUTPUT, seed=3)
    arms = {}
    for part in relaxed.parts:
        (option,) = (option for option in part if option.values.items() <= point.items())
        arms |= dict(option.arms)
    for name, arm in arms.items():
        alphas.logits[name].assign(np.eye(len(relaxed.choices[name]))[arm] * 200)
    network = build(architecture, INPUTS, OUTPUT, seed=4)
    theirs = [supernet.get_layer(name) for name in leading(relaxed.network, arms)]
    ours = [network.get_layer("output" if n.op == "output" else n.name) for n in architecture.nodes if weighted(n)]
    for one, other in zip(ours, theirs, strict=True):
        assert type(one) is type(other)
        one.set_weights(other.get_weights())
    images = stripes(5).inputs
    assert np.ptp(network(images)) > 0.01
    np.testing.assert_allclose(network(images), supernet(images), rtol=1e-4, atol=1e-5)


def weighted(node):
    return node.op in ("conv", "separable_conv", "batch_norm", "output")


def leading(network, arms):
    """Names of the layers with weights that lead to the output through the chosen arms, in order."""
    wanted, found = {network.nodes[-1].name}, []
    for node in reversed(network.nodes):
        if node.name not in wanted:
            continue
        if node.op == "mixed":
            places = node.settings["arms"]
            arm = arms[node.settings["choice"]]
            wanted.update([node.inputs[places.index(arm)]] if arm in places else [])
        else:
            wanted.update(node.inputs)
            found += ["output" if node.op == "output" else node.name] if weighted(node) else []
    return found[::-1]


def test_softmaxes_move_towards_what_is_useful():
    """Pooling takes most of the stripes away, a skip keeps them."""
    history = trained(make(operations=("avg_pool_3x3", "skip")).relaxed(), NO_AID)
    assert [epoch.number for epoch in history] == list(range(1, 9))
    assert [epoch.probabilities["edge_0_1"] for epoch in history[:2]] == [[0.5, 0.5]] * 2  # the warm-up
    assert [epoch.judged is None for epoch in history] == [True] * 2 + [False] * 6
    found = [epoch.probabilities["edge_0_1"][1] for epoch in history[2:]]
    assert found[0] > 0.5
    assert found[-1] > 0.9
    assert history[-1].loss < history[0].loss
    reach = np.log(found[-1] / (1 - found[-1]))
    assert reach <= 2 * NO_AID.reach  # two logits, each moved by the reach at most


def test_halves_are_disjoint_and_of_the_training_split_alone():
    one, other = halves(1001, 5)
    assert len(one) == len(other) == 500
    assert len(set(one) | set(other)) == 1000
    assert (one == halves(1001, 5)[0]).all()
    assert not (one == halves(1001, 6)[0]).all()


@pytest.mark.slow
def test_each_half_teaches_its_own():
    """With the labels of the softmaxes' half turned round, what makes surer is worse: the softmaxes turn, too, while
    the weights, which see only their own half, learn as before."""
    train, space = stripes(), make(operations=("avg_pool_3x3", "skip"))
    labels = train.labels.copy()
    other = halves(train.rows, 1)[1]
    labels[other] = 1 - labels[other]
    turned = trained(space.relaxed(), NO_AID, train=dataclasses.replace(train, labels=labels))[-1]
    assert turned.probabilities["edge_0_1"][1] < 0.3
    assert turned.loss < 0.65 < np.log(2) < turned.judged


def test_killed_it_goes_on_to_the_same_softmaxes(tmp_path):
    """Also its dropout, which draws anew at each step."""
    space, bilevel = make(operations=("avg_pool_3x3", "skip")), Bilevel(epochs=5, warm_up=0.2, skip_dropout=0.3)
    whole = trained(space.relaxed(), bilevel)

    def killed(epoch):
        if epoch.number == 3:
            raise TryAgainError("stopped")
        return True

    path = str(tmp_path / "parts")
    with pytest.raises(TryAgainError):
        trained(space.relaxed(), bilevel, backup_path=path, on_epoch=killed)
    told = []
    parts = trained(
        space.relaxed(), bilevel, backup_path=path, on_epoch=lambda epoch: told.append(epoch.number) or True
    )
    assert told == [1, 2, 3, 4, 5]  # the kept ones once more
    assert [(e.number, e.loss, e.judged, e.probabilities) for e in parts] == [
        (e.number, e.loss, e.judged, e.probabilities) for e in whole
    ]
    seen = []
    trained(space.relaxed(), dataclasses.replace(bilevel, reach=1.0), backup_path=path, on_epoch=seen.append)
    assert [epoch.number for epoch in seen] == [1]  # of another training: it started anew, and was told to stop


def test_short_of_time_the_schedule_ends_with_it():
    """Of 100 seconds an epoch takes 20: five epochs, the last one up to the end, though 30 were allowed. The first one
    says nothing about the others, because it is traced: after 60 s of it there are two more of 20."""
    pace = Pace(Bilevel(epochs=30, warm_up=0.3), 100.0, "cosine")
    assert [place.end for place in walk(pace, [20.0] * 5)] == pytest.approx([1 / 30, 0.2 + 1 / 30, 0.6, 0.8, 1.0])
    assert [place.learns for place in walk(pace, [20.0] * 5)] == [False, False, True, True, True]
    assert [place.start for place in walk(pace, [60.0, 20.0])] == pytest.approx([0.0, 0.6, 0.8])
    factors = [place.factor for place in walk(pace, [20.0] * 5)]
    assert factors == sorted(factors, reverse=True)
    assert factors[-1] == pytest.approx(0.5 * (1 + np.cos(0.9 * np.pi)), abs=1e-6)


def test_with_time_all_epochs_are_trained():
    places = walk(Pace(Bilevel(epochs=10, warm_up=0.3), None, "cosine"), [1.0] * 10)
    assert [place.start for place in places] == pytest.approx(np.arange(10) / 10)
    assert [place.learns for place in places] == [False] * 3 + [True] * 7


def walk(pace, seconds):
    """The places of epochs that take so long."""
    history, places = [], []
    for number, each in enumerate([*seconds, 1.0], start=1):
        place = pace.after(history)
        if place is None:
            break
        places.append(place)
        history.append(
            SupernetEpoch(number=number, loss=1.0, judged=None, progress=place.end, seconds=each, probabilities={})
        )
    return places


def test_one_row_is_too_few():
    with pytest.raises(TrialFailedError, match="two halves need two training rows, got 1"):
        trained(make().relaxed(), NO_AID, train=stripes().take(slice(0, 1)))
