import numpy as np
import pytest

from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.models.build import build
from nasflow.models.fit import fit
from nasflow.models.predict import predict
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import ArchitectureError, Recipe
from nasflow.spaces.cost import cost
from nasflow.spaces.graph import Graph
from nasflow.spaces.sequence import SequenceSpace
from nasflow.testing import SpaceConformance

TWO = OutputSpec(classes=2)
SERIES = InputSpec(plain=2 * 24, vectors=(24, 24))


class TestSeries(SpaceConformance):
    inputs, output, samples = SERIES, TWO, 40

    def make(self) -> Space:
        return SequenceSpace(inputs=self.inputs, output=self.output)


class TestSeriesInATable(TestSeries):
    """Dates stand before the lists in `plain`."""

    inputs = InputSpec(numeric=2, plain=3 + 5, vectors=(5,), cardinalities=(4, 7))
    output = OutputSpec(classes=None)


def graph(*steps: tuple[str, dict]) -> Graph:
    made = Graph()
    x = made.add("series", made.add("input", tensor="plain"), tensor="plain", start=0, length=24, channels=2)
    for op, settings in steps:
        x = made.add(op, x, **settings)
    made.add("flatten", x)
    return made


def count(*steps: tuple[str, dict]) -> tuple[int, int]:
    made = graph(*steps)
    counted = cost(made.finish(made._nodes[-1].name, Recipe()), SERIES, OutputSpec(classes=None))
    return counted.parameters, counted.flops // 2


def test_operations_by_hand() -> None:
    conv = {"filters": 4, "kernel": 3, "stride": 1, "bias": True}
    assert count(("conv1d", conv)) == (3 * 2 * 4 + 4 + 24 * 4 + 1, 24 * 24 + 96)
    valid = {**conv, "padding": "valid", "dilation": 2}
    assert count(("conv1d", valid)) == (24 + 4 + 20 * 4 + 1, 20 * 24 + 80)  # 24 − 2·2 places
    # three gates of 5 units: 3·5·(2 + 5) weights, two biases each; read both ways
    assert count(("gru", {"units": 5, "both": False, "sequences": False})) == (105 + 30 + 6, 24 * 105 + 5)
    assert count(("gru", {"units": 5, "both": True, "sequences": True})) == (270 + 241, 24 * 210 + 240)
    with pytest.raises(ArchitectureError, match="cannot be causal"):
        count(("separable_conv1d", {**conv, "padding": "causal"}))


def test_channels_and_time_are_where_they_belong() -> None:
    """Two lists of three numbers become three places with two channels."""
    inputs = InputSpec(plain=7, vectors=(3, 3))
    made = Graph()
    x = made.add("series", made.add("input", tensor="plain"), tensor="plain", start=1, length=3, channels=2)
    model = build(made.finish(made.add("series_last", x), Recipe()), inputs, TWO)
    import keras

    inner = keras.Model(model.input, model.get_layer("series_1").output)
    seen = np.asarray(inner({"plain": np.array([[9, 1, 2, 3, 10, 20, 30]], np.float32)}))
    assert seen.tolist() == [[[1, 10], [2, 20], [3, 30]]]
    last = keras.Model(model.input, model.get_layer("series_last_2").output)
    assert np.asarray(last({"plain": np.array([[9, 1, 2, 3, 10, 20, 30]], np.float32)})).tolist() == [[3, 30]]


@pytest.mark.slow
@pytest.mark.parametrize("preset", [0, 1, 2])
def test_presets_learn_an_order_that_no_mean_shows(preset: int) -> None:
    """A bump before a dip, or a dip before a bump, somewhere: the same numbers in another order."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 600).astype(np.int32)
    series = rng.normal(0, 0.1, (600, 2, 24)).astype(np.float32)
    for row, label in enumerate(labels):
        first, second = np.sort(rng.choice(np.arange(2, 22), 2, replace=False))
        series[row, 0, first] += 3 if label else -3
        series[row, 0, second] += -3 if label else 3
    rows = Tensors(inputs={"plain": series.reshape(600, 48)}, labels=labels)
    train, test = rows.take(slice(0, 500)), rows.take(slice(500, 600))
    space = SequenceSpace(inputs=SERIES, output=TWO)
    architecture = space.architecture(space.presets()[preset])
    model = build(architecture, SERIES, TWO)
    fit(model, architecture.recipe, train, output=TWO, epochs=10, seed=0)
    assert (predict(model, test, TWO).argmax(1) == test.labels).mean() > 0.9


def test_tables_without_series_are_refused() -> None:
    with pytest.raises(ValueError, match="list columns of numbers"):
        SequenceSpace(inputs=InputSpec(numeric=3), output=TWO)
    with pytest.raises(ValueError, match="lists of one length, got 3, 4"):
        SequenceSpace(inputs=InputSpec(plain=7, vectors=(3, 4)), output=TWO)
