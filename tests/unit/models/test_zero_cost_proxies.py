"""Proxies of untrained networks, against sums done by hand."""

import math

import numpy as np
import pytest

from nasflow.data.tensors import InputSpec, OutputSpec, Tensors, TextShape
from nasflow.models.build import build
from nasflow.models.proxies._base import Probe, batch, without
from nasflow.models.proxies.gradients import grad_norm, snip
from nasflow.models.proxies.jacobian import of_gradients
from nasflow.models.proxies.naswot import naswot
from nasflow.models.proxies.registry import PROXIES, measure
from nasflow.models.proxies.synflow import synflow
from nasflow.models.runtime import Runtime, policy
from nasflow.spaces.architecture import Recipe
from nasflow.spaces.graph import Graph
from nasflow.spaces.registry import get_space

TABLE, THREE = InputSpec(numeric=2), OutputSpec(classes=3)


def chain(*operations):
    graph = Graph()
    x = graph.add("input", tensor="numeric")
    for op, settings in operations:
        x = graph.add(op, x, **settings)
    return graph.finish(x, Recipe())


def dense(units):
    return "dense", {"units": units, "bias": True}


RELU = ("activation", {"function": "relu"})
ROWS = Tensors(
    inputs={"numeric": np.array([[1, 1], [1, -1], [-1, 1]], np.float32)}, labels=np.array([0, 1, 1], np.int32)
)


def probe(architecture, rows=ROWS, *, inputs=TABLE, output=THREE, seed=0):
    return Probe(architecture, inputs, output, rows, seed=seed)


def test_naswot_is_the_log_determinant_of_agreeing_units():
    """Codes 11, 10, 01: K = [[2, 1, 1], [1, 2, 0], [1, 0, 2]], whose determinant is 2·4 − 1·2 − 1·2 = 4."""
    looked = probe(chain(dense(2), RELU))
    looked.model.layers[1].set_weights([np.eye(2), np.zeros(2)])
    assert naswot(looked) == pytest.approx(math.log(4))


def test_naswot_of_a_network_without_activations_is_not_a_number():
    assert math.isnan(naswot(probe(chain(dense(4)))))


def test_synflow_counts_the_flow_once_a_layer():
    """R = 1ᵀ|W₁||W₂|1 is linear in each layer's weights, so Σ θ·∂R/∂θ is R for each; biases start at 0. Batch norm,
    dropout and activations are left out."""
    looked = probe(chain(dense(4), ("batch_norm", {}), RELU, ("dropout", {"rate": 0.5})))
    with policy(Runtime(precision="float64")):
        plain = build(chain(dense(4), dense(3)), TABLE, THREE)
    first, second, _ = (np.abs(w.numpy()) for w in plain.weights if w.path.endswith("kernel"))
    assert [first.shape, second.shape] == [(2, 4), (4, 3)]
    flow = np.ones(2) @ first @ second @ np.ones(3)
    assert synflow(looked) == pytest.approx(math.log(2 * flow), rel=1e-6)


def test_synflow_of_a_deep_network_does_not_overflow():
    """70 layers of 64 units multiply what flows by about 7 each: e^136, where float32 ends at e^88.7."""
    value = synflow(probe(chain(*[dense(64)] * 70)))
    assert 88.7 < value < 709  # ln of the largest float32 and float64


def test_synflow_where_no_weight_reaches_the_output():
    assert synflow(probe(chain(dense(4), ("zero", {})))) == pytest.approx(math.log(1e-300))


def test_grad_norm_and_snip_of_a_linear_model():
    """Its weights start at 0, so all classes have probability 1/3: ∂L/∂W = Xᵀ(p − y)/n and ∂L/∂b = mean(p − y)."""
    looked = probe(chain())
    error = np.full((3, 3), 1 / 3) - np.eye(3)[[0, 1, 1]]
    gradients = [ROWS.inputs["numeric"].T @ error / 3, error.mean(0)]
    assert grad_norm(looked) == pytest.approx(sum(np.linalg.norm(g) for g in gradients), rel=1e-5)
    assert snip(looked) == 0.0
    kernel, bias = np.arange(6).reshape(2, 3) / 10, np.zeros(3)
    looked.model.set_weights([kernel, bias])
    logits = ROWS.inputs["numeric"] @ kernel
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    gradient = ROWS.inputs["numeric"].T @ (shares - np.eye(3)[[0, 1, 1]]) / 3
    assert snip(looked) == pytest.approx(np.abs(kernel * gradient).sum(), rel=1e-5)


def test_regression_is_judged_on_the_standardised_target():
    """Predictions are 0, targets (y − 10) / 2 = 1, 2, 3: the gradient of the mean square for the bias is −2 · 2."""
    rows = Tensors(inputs={"numeric": np.zeros((3, 2), np.float32)}, labels=np.array([12.0, 14.0, 16.0]))
    looked = probe(chain(), rows, output=OutputSpec(classes=None, mean=10.0, std=2.0))
    assert grad_norm(looked) == pytest.approx(4.0)


def test_jacob_cov_by_its_eigenvalues():
    """Opposite gradients: correlations [[1, −1], [−1, 1]], eigenvalues 0 and 2."""
    value = of_gradients(np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    assert value == pytest.approx(-(math.log(1e-5) + 1e5 + math.log(2 + 1e-5) + 1 / (2 + 1e-5)))
    assert math.isnan(of_gradients(np.ones((2, 3))))


def test_what_is_left_out_is_bridged():
    architecture = chain(dense(4), ("batch_norm", {}), ("dropout", {"rate": 0.1}), RELU)
    kept = without(architecture, {"batch_norm", "dropout"})
    assert [node.op for node in kept.nodes] == ["input", "dense", "activation", "output"]
    assert kept.nodes[2].inputs == (kept.nodes[1].name,)


def test_the_batch_is_the_same_for_all_and_drawn_by_the_seed():
    rows = Tensors(inputs={"numeric": np.arange(200, dtype=np.float32)[:, None]}, labels=np.arange(200))
    one, same, other = (batch(rows, seed=seed) for seed in (1, 1, 2))
    assert one.rows == len(set(one.labels)) == 64
    assert (one.labels == same.labels).all()
    assert (one.labels != other.labels).any()
    assert batch(ROWS, seed=0).rows == 3


def random_rows(inputs, rows=16):
    rng = np.random.default_rng(0)
    found = {}
    if inputs.image:
        found["image"] = rng.integers(256, size=(rows, *inputs.image)).astype(np.uint8)
    if inputs.numeric:
        found["numeric"] = rng.normal(size=(rows, inputs.numeric)).astype(np.float32)
    if inputs.cardinalities:
        found["categorical"] = rng.integers(0, 4, size=(rows, len(inputs.cardinalities))).astype(np.int32)
    for place, text in enumerate(inputs.texts):
        found[f"text_{place}"] = rng.integers(0, text.ids, size=(rows, text.length)).astype(np.int32)
    return Tensors(inputs=found, labels=rng.integers(3, size=rows).astype(np.int32))


SPACES = {
    "cell": ("image_classification", InputSpec(image=(8, 8, 1), image_mean=(78.0,), image_std=(96.0,)), ()),
    "mlp": ("tabular_classification", InputSpec(numeric=3, cardinalities=(4, 5)), ()),
    "text": ("text_classification", InputSpec(texts=(TextShape(length=12, ids=50),)), ("jacob_cov", "naswot")),
}


@pytest.mark.parametrize(
    "name", ["mlp", pytest.param("cell", marks=pytest.mark.slow), pytest.param("text", marks=pytest.mark.slow)]
)
def test_presets_of_every_kind_of_space_have_all_proxies_the_same_each_time(name):
    task, inputs, unknown = SPACES[name]
    space = get_space(name, task=task, inputs=inputs, output=THREE)
    architecture = space.architecture(space.presets()[0])
    rows = random_rows(inputs)
    found = measure(PROXIES, architecture, inputs, THREE, rows, seed=3)
    assert set(found) == set(PROXIES)
    assert {proxy for proxy, value in found.items() if value is None} <= {*unknown}
    again = measure(PROXIES, architecture, inputs, THREE, rows, seed=3)
    assert again == found
    other = measure(["grad_norm"], architecture, inputs, THREE, rows, seed=4)
    assert other["grad_norm"] != found["grad_norm"]
