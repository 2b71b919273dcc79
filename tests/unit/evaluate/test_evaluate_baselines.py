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


def test_a_large_table_is_looked_at_after_rounds_of_so_many_steps(monkeypatch):
    models = []

    def make(inputs, output):
        models.append(table_network(inputs, output))
        return models[-1]

    table_network = baselines.table_network
    monkeypatch.setattr(baselines, "table_network", make)
    monkeypatch.setattr(baselines, "TABLE_ROUNDS", 5)
    inputs = InputSpec(numeric=2, cardinalities=(4, 300))
    splits = [_table(rows, seed) for seed, rows in enumerate((1024, 80, 120))]
    steps = {}
    for most in (3, 8):
        monkeypatch.setattr(baselines, "TABLE_STEPS", most)
        predictions = baselines.hand_made(*splits, inputs=inputs, output=OutputSpec(classes=3), seed=0)
        steps[most] = int(models[-1].optimizer.iterations)
        assert np.isfinite(predictions).all()
    # 8 batches: rounds of 3, 3 and the 2 that are left, then 3 and 3 of a new pass; or 5 whole passes
    assert steps == {3: 14, 8: 40}


def test_the_most_rows_that_a_baseline_sees():
    image, mixed = _image_inputs(28), InputSpec(numeric=2, image=(28, 28, 1), image_mean=(0.0,), image_std=(1.0,))
    rows = {"train": 2_000_000, "validation": 200_000}
    assert baselines.effort(image, rows) == "10 rounds of 640,000 of the 2,200,000 rows (3 passes over them in all)"
    assert "100 rounds of 64,000 of the 2,000,000 rows (3 passes over them in all)" in baselines.effort(mixed, rows)
    assert baselines.effort(image, {"train": 60_000, "validation": 10_000}) == "10 epochs"
