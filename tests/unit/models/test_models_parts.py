"""Schedules, augmentation, prediction and device: the small parts of training."""

from pathlib import Path

import numpy as np
import pytest

from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.models.augment import augment, augments
from nasflow.models.build import build
from nasflow.models.device import available_cpus, set_up
from nasflow.models.predict import predict
from nasflow.models.schedule import Schedule
from nasflow.spaces.architecture import Recipe
from nasflow.spaces.graph import Graph


def rates(kind: str, steps: int = 100) -> list[float]:
    schedule = Schedule(kind, peak=2.0, steps=steps)
    return [float(schedule(step)) for step in range(steps + 1)]


def test_one_cycle_rises_for_a_fifth_and_falls_to_nothing() -> None:
    found = rates("one_cycle")
    assert found[0] == pytest.approx(0.2)  # a tenth of the peak
    assert found[10] == pytest.approx(1.1)  # half way between 0.2 and 2
    assert max(found) == found[20] == pytest.approx(2.0)
    assert found[60] == pytest.approx(1.0)  # half of the cosine
    assert found[100] == pytest.approx(2e-3)
    assert found[20:] == sorted(found[20:], reverse=True)


def test_cosine_and_constant() -> None:
    found = rates("cosine")
    assert found[0] == pytest.approx(2.0)
    assert found[50] == pytest.approx(1.0)
    assert found[100] == pytest.approx(2e-3)
    assert set(rates("constant")) == {2.0}


FILL = np.array([9], np.uint8)


def ramp(rows: int = 400) -> np.ndarray:
    """Each image is [[0, 1, 2, 3], [10, 11, …], …]: a pixel says where it comes from."""
    image = np.arange(4)[:, None] * 10 + np.arange(4)[None]
    return np.tile(image[None, :, :, None], (rows, 1, 1, 1)).astype(np.uint8)


def test_no_augmentation_is_no_augmentation() -> None:
    assert not augments(Recipe())
    images = ramp()
    assert augment(images, Recipe(), FILL, np.random.default_rng(0)) is images


def test_flips_half_of_them_and_only_sideways() -> None:
    flipped = augment(ramp(), Recipe(flip=True), FILL, np.random.default_rng(0))
    first = flipped[:, 0, 0, 0]
    assert set(first) == {0, 3}
    assert abs((first == 3).mean() - 0.5) < 0.1
    assert flipped[first == 3][0, :, :, 0].tolist() == ramp(1)[0, :, ::-1, 0].tolist()


def test_shifts_every_way_and_repeats_the_border() -> None:
    shifted = augment(ramp(), Recipe(shift=1), FILL, np.random.default_rng(0))
    assert shifted.shape == ramp().shape
    # The pixel in the second row and column came from one of the nine around it.
    assert set(shifted[:, 1, 1, 0]) == {0, 1, 2, 10, 11, 12, 20, 21, 22}
    moved = shifted[shifted[:, 1, 1, 0] == 0][0, :, :, 0]  # one down, one right
    assert moved.tolist() == [[0, 0, 1, 2], [0, 0, 1, 2], [10, 10, 11, 12], [20, 20, 21, 22]]


def test_cutout_puts_one_square_of_the_mean() -> None:
    images = np.zeros((400, 4, 4, 1), np.uint8)
    cut = augment(images, Recipe(cutout=2), FILL, np.random.default_rng(0))
    assert images.max() == 0  # a copy
    sizes = (cut == 9).sum((1, 2, 3))
    # Its centre lies inside, so it is 2 × 2, or cut off by an edge (2) or a corner (1).
    assert set(sizes) == {1, 2, 4}
    whole = cut[sizes == 4][0, :, :, 0] == 9
    assert np.ptp(np.nonzero(whole)[0]) == np.ptp(np.nonzero(whole)[1]) == 1


def model_of(output: OutputSpec):
    graph = Graph()
    architecture = graph.finish(graph.add("input", tensor="numeric"), Recipe())
    model = build(architecture, InputSpec(numeric=1), output)
    units = output.classes or 1
    model.get_layer("output").set_weights([np.arange(units, dtype=float)[None] + (units == 1), np.zeros(units)])
    return model


def test_probabilities_by_hand_over_several_batches() -> None:
    """Logits (0, x): P(1) = 1 / (1 + e⁻ˣ). 5000 rows are more than one batch."""
    x = np.linspace(-30, 30, 5000).astype(np.float32)
    data = Tensors(inputs={"numeric": x[:, None]}, labels=np.zeros(5000, np.int32))
    found = predict(model_of(OutputSpec(classes=2)), data, OutputSpec(classes=2))
    assert found.dtype == np.float64
    assert found[:, 1] == pytest.approx(1 / (1 + np.exp(-x.astype(np.float64))), abs=1e-6)


def test_no_rows_and_rows_without_an_answer() -> None:
    number, two = OutputSpec(classes=None, mean=10.0, std=2.0), OutputSpec(classes=2)
    none = Tensors(inputs={"numeric": np.empty((0, 1), np.float32)}, labels=np.empty(0))
    assert predict(model_of(number), none, number).shape == (0,)
    assert predict(model_of(two), none, two).shape == (0, 2)
    data = Tensors(inputs={"numeric": np.array([[np.nan], [3.0]], np.float32)}, labels=np.zeros(2))
    found = predict(model_of(number), data, number)
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(3 * 2 + 10)


def test_cpus_follow_the_containers_limit(tmp_path: Path) -> None:
    limit = tmp_path / "cpu.max"
    everything = available_cpus(limit)  # no such file
    assert everything >= 1
    for text, expected in (
        ("max 100000", everything),
        ("50000 100000", 1),
        ("150000 100000", min(2, everything)),
        ("nonsense", everything),
    ):
        limit.write_text(text)
        assert available_cpus(limit) == expected


def test_set_up_may_come_late_and_twice() -> None:
    import tensorflow as tf

    tf.constant(1)
    set_up()
    set_up()
    assert not tf.config.list_physical_devices("GPU") or tf.config.experimental.get_memory_growth(
        tf.config.list_physical_devices("GPU")[0]
    )
