import numpy as np
import pytest

from nasflow.core.metrics import compute
from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.evaluate import baselines


def _image_inputs(side, channels=1):
    return InputSpec(image=(side, side, channels), image_mean=(0.0,) * channels, image_std=(1.0,) * channels)


def test_the_network_of_the_published_comparison():
    # 3·3·32 + 32; 3·3·32·64 + 64; 7·7·64·128 + 128; 128·10 + 10 (research/baselines.md: 421,642)
    model = baselines.image_network(_image_inputs(28), OutputSpec(classes=10))
    assert model.count_params() == 320 + 18_496 + 401_536 + 1_290 == 421_642


@pytest.mark.parametrize(("side", "flattened"), [(1, 64), (4, 64), (8, 256), (64, 16_384), (224, 12_544)])
def test_tiny_and_large_images_fit(side, flattened):
    model = baselines.image_network(_image_inputs(side, 3), OutputSpec(classes=2))
    assert next(layer for layer in model.layers if layer.name.startswith("flatten")).output.shape[1] == flattened


def _table(rows, seed, regression=False):
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(rows, 2)).astype(np.float32)
    ids = np.stack([rng.integers(0, 4, rows), rng.integers(0, 300, rows)], 1).astype(np.int32)
    signal = numbers[:, 0] + (ids[:, 0] == 2)
    labels = 100 + 10 * signal.astype(float) if regression else np.digitize(signal, [0.0, 1.0]).astype(np.int32)
    return Tensors(inputs={"numeric": numbers, "categorical": ids}, labels=labels)


@pytest.mark.parametrize("regression", [False, True])
def test_table_baselines_learn_and_answer_in_the_right_shape(regression):
    inputs = InputSpec(numeric=2, cardinalities=(4, 300))
    output = OutputSpec(classes=None, mean=105.0, std=11.0) if regression else OutputSpec(classes=4)  # class 3: no row
    splits = [_table(rows, seed, regression) for seed, rows in enumerate((400, 80, 120))]
    test = splits[2]
    for baseline in (baselines.hand_made, baselines.tree):
        predictions = baseline(*splits, inputs=inputs, output=output, seed=0)
        if regression:
            assert predictions.shape == (120,)
            assert compute("r2", test.labels, predictions) > 0.8
        else:
            assert predictions.shape == (120, 4)
            np.testing.assert_allclose(predictions.sum(1), 1, atol=1e-6)
            assert compute("accuracy", test.labels, predictions) > 0.8


def test_trees_accept_a_class_of_one_row():
    train = _table(60, 0)
    labels = train.labels.copy()
    labels[0] = 3
    lonely = Tensors(inputs=train.inputs, labels=labels)
    inputs = InputSpec(numeric=2, cardinalities=(4, 300))
    predictions = baselines.tree(
        lonely, _table(20, 1), _table(5, 2), inputs=inputs, output=OutputSpec(classes=4), seed=0
    )
    assert np.isfinite(predictions).all()
