import dataclasses
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.models.build import build
from nasflow.models.predict import predict
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture, ArchitectureError, Recipe
from nasflow.spaces.cnn import CnnSpace
from nasflow.spaces.cost import cost
from nasflow.spaces.graph import Graph
from nasflow.spaces.mlp import MlpSpace

TEN = OutputSpec(classes=10)
NUMBER = OutputSpec(classes=None, mean=5.0, std=2.0)
BINNED = InputSpec(numeric=3, edges=((-1.0, 0.0, 0.5, 3.0), (), (0.0, 1.0)), discrete=(7, 5), cardinalities=(3, 10))


def images(height: int, width: int, channels: int) -> InputSpec:
    return InputSpec(image=(height, width, channels), image_mean=(99.0,) * channels, image_std=(60.0,) * channels)


def rows(inputs: InputSpec, count: int, seed: int = 0) -> Tensors:
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    if inputs.image:
        tensors["image"] = rng.integers(0, 256, (count, *inputs.image), dtype=np.uint8)
    if inputs.numeric:
        tensors["numeric"] = rng.normal(size=(count, inputs.numeric)).astype(np.float32)
    for name, sizes in (("categorical", inputs.cardinalities), ("discrete", inputs.discrete)):
        if sizes:
            tensors[name] = np.stack([rng.integers(0, size, count) for size in sizes], axis=1).astype(np.int32)
    return Tensors(inputs=tensors, labels=np.zeros(count, np.int32))


def spaces() -> list[tuple[Space, InputSpec, OutputSpec]]:
    found: list[tuple[Space, InputSpec, OutputSpec]] = [
        (CnnSpace(inputs=inputs, output=TEN), inputs, TEN)
        for inputs in (images(8, 8, 1), images(12, 7, 3), images(1, 1, 1))
    ]
    for inputs, output in (
        (InputSpec(numeric=4, cardinalities=(3, 10)), TEN),
        (InputSpec(numeric=3), NUMBER),
        (InputSpec(cardinalities=(4,)), OutputSpec(classes=2)),
        (BINNED, TEN),
        (dataclasses.replace(BINNED, cardinalities=()), NUMBER),
    ):
        found.append((MlpSpace(inputs=inputs, output=output), inputs, output))
    return found


OPERATIONS = ["conv", "separable_conv", "max_pool", "avg_pool"]


@pytest.mark.parametrize("op", OPERATIONS)
@pytest.mark.parametrize("step", [1, 2, 3])
def test_shapes_are_keras_shapes(op: str, step: int) -> None:
    """Through a flatten and the output's weights, which the parameter count holds together."""
    inputs = images(7, 10, 2)
    graph = Graph()
    settings = {"size": step} if op.endswith("pool") else {"filters": 3, "kernel": 3, "stride": step, "bias": True}
    x = graph.add(op, graph.add("input", tensor="image"), **settings)
    architecture = graph.finish(graph.add("flatten", x), Recipe())
    model = build(architecture, inputs, TEN)
    assert cost(architecture, inputs, TEN).parameters == model.count_params()
    assert model.get_layer("output").kernel.shape[0] == -(-7 // step) * -(-10 // step) * (2 if "pool" in op else 3)


def test_images_are_normalised_inside() -> None:
    """A linear model with unit weights on one pixel of two channels: (50 − 40) / 5 + (9 − 3) / 2 = 5."""
    inputs = InputSpec(image=(1, 1, 2), image_mean=(40.0, 3.0), image_std=(5.0, 2.0))
    graph = Graph()
    architecture = graph.finish(graph.add("flatten", graph.add("input", tensor="image")), Recipe())
    model = build(architecture, inputs, NUMBER)
    model.get_layer("output").set_weights([np.ones((2, 1)), np.zeros(1)])
    tensors = Tensors(inputs={"image": np.array([[[[50, 9]]]], np.uint8)}, labels=np.zeros(1))
    assert float(model({"image": tensors.inputs["image"]})[0, 0]) == pytest.approx(5.0, abs=1e-5)
    assert predict(model, tensors, NUMBER) == pytest.approx([5.0 * 2 + 5])  # back in the target's units


def test_each_categorical_column_has_rows_of_its_own() -> None:
    inputs = InputSpec(cardinalities=(2, 3))
    graph = Graph()
    x = graph.add("embedding", graph.add("input", tensor="categorical"), dim=1)
    model = build(graph.finish(x, Recipe()), inputs, NUMBER)
    model.get_layer("embedding_1").set_weights([np.array([[1.0], [2.0], [10.0], [20.0], [30.0]])])
    model.get_layer("output").set_weights([np.ones((2, 1)), np.zeros(1)])
    answers = model({"categorical": np.array([[0, 0], [1, 2]], np.int32)})
    assert np.asarray(answers)[:, 0].tolist() == [11.0, 32.0]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_ids_are_whole_numbers_in_any_precision(precision: str) -> None:
    """bfloat16 has no 257, float16 no 2,049: a row of the table for each id of each column all the same."""
    inputs, graph = InputSpec(cardinalities=(300, 4000)), Graph()
    keras.config.set_dtype_policy(precision)
    try:
        embedded = graph.add("embedding", graph.add("input", tensor="categorical"), dim=1)
        model = build(graph.finish(embedded, Recipe()), inputs, TEN)
    finally:
        keras.config.set_dtype_policy("float32")
    (layer,) = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    seen = keras.Model(model.input, layer.input)(np.array([[255, 1], [257, 2049], [299, 3999]], np.int32))
    assert np.asarray(seen).astype(np.float64).tolist() == [[255, 301], [257, 2349], [299, 4299]]


def test_piecewise_starts_as_a_piecewise_linear_encoding() -> None:
    """Each bin is 0 left of it, 1 right of it, and rises between: their sum is the number of bins passed."""
    graph = Graph()
    x = graph.add("piecewise", graph.add("input", tensor="numeric"), bins=8, dim=1)
    model = build(graph.finish(x, Recipe()), InputSpec(numeric=1), NUMBER)
    encoding = keras.Model(model.input, model.get_layer("piecewise_1_clip").output)
    edges = np.sinh(np.linspace(-2.5, 2.5, 9))
    halves = (edges[:-1] + edges[1:]) / 2
    codes = np.asarray(encoding({"numeric": halves[:, None].astype(np.float32)}))[:, 0]
    expected = np.tril(np.ones((8, 8)), -1) + np.eye(8) / 2
    assert codes == pytest.approx(expected, abs=1e-5)


def test_bins_lie_between_the_edges_of_the_data() -> None:
    """−1 … 0 … 0.5 … 3 thinned to two bins: the one in the middle is round(1.5) = 2, so −1 … 0.5 … 3."""
    graph = Graph()
    x = graph.add("quantile", graph.add("input", tensor="numeric"), bins=2, dim=1)
    model = build(graph.finish(x, Recipe()), BINNED, NUMBER)
    encoding = keras.Model(model.input, model.get_layer("quantile_1_clip").output)
    numbers = np.array([[-5, 9, 0], [-0.25, 0, 1], [1.75, 0, 0], [9, 0, 1]], np.float32)  # halfway: −0.25 and 1.75
    codes = np.asarray(encoding({"numeric": numbers}))
    assert codes[:, 0].tolist() == [[0, 0], [0.5, 0], [1, 0.5], [1, 1]]
    assert (codes[:, 1] == 0).all()  # a column without edges
    assert codes[:, 2].tolist() == [[0, 0], [1, 0], [0, 0], [1, 0]]  # an indicator has one bin, 0 to 1
    assert {weight.path.split("/")[0] for weight in model.non_trainable_weights} == {"quantile_1_bins"}


def test_bins_as_narrow_as_can_be_are_still_told_apart() -> None:
    edges = (1.0, 1.0 + 2**-19, 1.0 + 2**-18)
    graph = Graph()
    x = graph.add("quantile", graph.add("input", tensor="numeric"), bins=64, dim=1)
    model = build(graph.finish(x, Recipe()), InputSpec(numeric=1, edges=(edges,)), NUMBER)
    encoding = keras.Model(model.input, model.get_layer("quantile_1_clip").output)
    codes = np.asarray(encoding({"numeric": np.array(edges, np.float32)[:, None]}))[:, 0]
    assert codes == pytest.approx(np.array([[0, 0], [1, 0], [1, 1]]), abs=0.1)


def test_a_model_is_given_only_what_it_looks_at() -> None:
    space = MlpSpace(inputs=BINNED, output=TEN)
    plain = {**space.presets()[0], "discrete": "off"}
    model = build(space.architecture(plain), BINNED, TEN)
    assert set(model.input) == {"numeric", "categorical"}
    assert predict(model, rows(BINNED, 4), TEN).shape == (4, 10)
    model = build(space.architecture(space.presets()[0]), BINNED, TEN)
    assert set(model.input) == {"numeric", "categorical", "discrete"}


def test_packed_members_answer_with_their_mean() -> None:
    space = MlpSpace(inputs=InputSpec(numeric=3), output=TEN)
    architecture = space.architecture(space.presets()[0])
    model = build(architecture, InputSpec(numeric=3), TEN)
    each = keras.Model(model.input, model.get_layer("members").output)
    tensors = rows(InputSpec(numeric=3), 5)
    members = np.asarray(each(tensors.inputs))
    assert members.shape == (5, 8, 10)
    assert np.ptp(members, axis=1).min() > 0  # they are different networks
    assert np.asarray(model(tensors.inputs)) == pytest.approx(members.mean(1), abs=1e-5)


def test_same_seed_same_weights() -> None:
    space, inputs, output = spaces()[0]
    architecture = space.architecture(space.presets()[1])
    one, same, other = (build(architecture, inputs, output, seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_impossible_architectures_fail_in_our_words() -> None:
    graph = Graph()
    architecture = graph.finish(graph.add("dense", graph.add("input", tensor="image"), units=3, bias=True), Recipe())
    with pytest.raises(ArchitectureError, match="dense"):
        build(architecture, images(8, 8, 1), TEN)


_LOAD = """
import sys
import keras, numpy as np
assert not any(name.startswith("nasflow") for name in sys.modules)
for path in sys.argv[1:]:
    model = keras.models.load_model(path, safe_mode=True)
    with np.load(path + ".npz") as saved:
        inputs = {name: saved[name] for name in saved.files if name != "answers"}
        assert np.allclose(np.asarray(model(inputs)), saved["answers"], atol=1e-5), path
    print("loaded", path)
"""


@pytest.mark.slow
def test_saved_models_load_in_safe_mode_without_nasflow(tmp_path: Path) -> None:
    """Every operation: all presets, and every numeric encoding, head and block, in a process that knows Keras only."""
    architectures: list[tuple[Architecture, InputSpec, OutputSpec]] = []
    for space, inputs, output in (spaces()[0], spaces()[3], spaces()[6]):
        architectures += [(space.architecture(values), inputs, output) for values in space.presets()]
    cnn, mlp = CnnSpace(inputs=images(8, 8, 1), output=TEN), spaces()[3][0]
    branches = {**cnn.presets()[1], "block": "branches", "branch": "conv", "merge": "add", "op_2": "separable"}
    branches |= {"activation": "swish"}
    architectures.append((cnn.architecture(branches), images(8, 8, 1), TEN))
    piecewise = {**mlp.presets()[1], "numeric": "piecewise", "numeric_dim": 4, "bins": 8, "norm": "layer"}
    architectures.append((mlp.architecture(piecewise), spaces()[3][1], TEN))
    paths = []
    for number, (architecture, inputs, output) in enumerate(architectures):
        model = build(architecture, inputs, output)
        path = str(tmp_path / f"model{number}.keras")
        model.save(path)
        tensors = rows(inputs, 4).only(model.input).inputs  # Keras takes a surplus one for another
        np.savez(path + ".npz", answers=np.asarray(model(tensors)), **tensors)
        paths.append(path)
    done = subprocess.run([sys.executable, "-c", _LOAD, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("loaded") == len(paths) == 12


def test_tabm_members_share_one_kernel_and_differ() -> None:
    """Scales of one make every member the plain layer; a scale of two before or behind doubles a member's answer."""
    inputs, graph = InputSpec(numeric=3), Graph()
    x = graph.add("tabm_dense", graph.add("input", tensor="numeric"), members=2, units=1)
    model = build(graph.finish(x, Recipe()), inputs, NUMBER)
    model.get_layer("tabm_dense_1_shared").set_weights([np.array([[1.0], [10.0], [100.0]])])
    model.get_layer("tabm_dense_1_in").set_weights([np.array([[1.0, 1, 1], [2, 2, 2]])])
    model.get_layer("tabm_dense_1").set_weights([np.array([[1.0], [3.0]]), np.array([[0.0], [5.0]])])
    inner = keras.Model(model.input, model.get_layer("tabm_dense_1").output)
    answers = np.asarray(inner({"numeric": np.array([[1.0, 2.0, 3.0]], np.float32)}))
    assert answers.tolist() == [[[321.0], [3 * 2 * 321.0 + 5]]]


def test_a_cross_multiplies_columns() -> None:
    """x₀ ⊙ (x W + b) + x with W that picks the other column: (2, 3) → (2·3 + 2, 3·2 + 3)."""
    graph = Graph()
    x = graph.add("input", tensor="numeric")
    model = build(graph.finish(graph.add("cross", x, x, rank=2), Recipe()), InputSpec(numeric=2), NUMBER)
    model.get_layer("cross_1_low").set_weights([np.eye(2)])
    model.get_layer("cross_1_weights").set_weights([np.array([[0.0, 1], [1, 0]]), np.zeros(2)])
    inner = keras.Model(model.input, model.get_layer("cross_1").output)
    assert np.asarray(inner({"numeric": np.array([[2.0, 3.0]], np.float32)})).tolist() == [[8.0, 9.0]]
