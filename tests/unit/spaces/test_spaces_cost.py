from typing import Any

import pytest

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.architecture import Architecture, ArchitectureError, Node, Recipe
from nasflow.spaces.cnn import CnnSpace
from nasflow.spaces.cost import cost
from nasflow.spaces.graph import Graph
from nasflow.spaces.mlp import MlpSpace

IMAGE = InputSpec(image=(8, 8, 3), image_mean=(0.0,) * 3, image_std=(1.0,) * 3)
TABLE = InputSpec(numeric=4, cardinalities=(3, 10))
TEN = OutputSpec(classes=10)


def graph(*steps: tuple[str, dict[str, Any]], tensor: str = "image") -> Architecture:
    made = Graph()
    x = made.add("input", tensor=tensor)
    for op, settings in steps:
        x = made.add(op, x, **settings)
    return made.finish(x, Recipe())


CONV = {"filters": 16, "kernel": 3, "stride": 1, "bias": True}


def test_conv_by_hand() -> None:
    counted = cost(graph(("conv", CONV), ("global_avg_pool", {})), IMAGE, TEN)
    # conv: 3·3·3·16 + 16 = 448 parameters, 8·8·432 = 27648 multiply-adds; output: 16·10 + 10 = 170, 160.
    assert counted.parameters == 448 + 170
    assert counted.flops == 2 * (27648 + 160)
    assert counted.activations == 8 * 8 * 16 + 10
    assert counted.depth == 2


def test_separable_conv_with_stride_by_hand() -> None:
    counted = cost(
        graph(("separable_conv", {"filters": 16, "kernel": 5, "stride": 3, "bias": False}), ("flatten", {})), IMAGE, TEN
    )
    # ⌈8/3⌉ = 3. Depthwise 5·5·3 = 75, pointwise 3·16 = 48: 123 parameters, 3·3·123 multiply-adds.
    # Output: 3·3·16 = 144 inputs: 1440 + 10.
    assert counted.parameters == 123 + 1450
    assert counted.flops == 2 * (9 * 123 + 1440)


def test_pooling_rounds_up() -> None:
    counted = cost(graph(("max_pool", {"size": 3}), ("flatten", {})), IMAGE, TEN)
    assert counted.parameters == (3 * 3 * 3) * 10 + 10


def test_embedding_and_periodic_by_hand() -> None:
    counted = cost(graph(("embedding", {"dim": 4}), tensor="categorical"), TABLE, TEN)
    assert counted.parameters == (3 + 10) * 4 + (2 * 4) * 10 + 10
    counted = cost(graph(("periodic", {"frequencies": 5, "sigma": 0.1, "dim": 2}), tensor="numeric"), TABLE, TEN)
    # 4 features: 5 frequencies each, then 10 waves → 2 numbers with bias; output 8 → 10.
    assert counted.parameters == 4 * 5 + 4 * 10 * 2 + 4 * 2 + 8 * 10 + 10
    assert counted.flops == 2 * (4 * 5 + 4 * 10 * 2 + 80)


def test_bins_of_the_data_by_hand() -> None:
    inputs = InputSpec(numeric=3, edges=((0.0, 1.0, 2.0, 4.0), (), (0.0, 1.0)), discrete=(7, 5))
    counted = cost(graph(("quantile", {"bins": 64, "dim": 2}), tensor="numeric"), inputs, TEN)
    # At most 3 bins a column, themselves not trained: 3 features · (3 + bias) · 2; output 6 → 10.
    assert counted.parameters == 3 * (3 + 1) * 2 + 6 * 10 + 10
    assert counted.flops == 2 * (3 * 3 * (1 + 2) + 60)
    counted = cost(graph(("embedding", {"dim": 4, "tensor": "discrete"}), tensor="discrete"), inputs, TEN)
    assert counted.parameters == (7 + 5) * 4 + (2 * 4) * 10 + 10
    for steps, tensor, data in (
        (("quantile", {"bins": 8, "dim": 2}), "numeric", TABLE),  # no edges
        (("embedding", {"dim": 4}), "discrete", inputs),  # the table of another tensor
    ):
        with pytest.raises(ArchitectureError, match="itself"):
            cost(graph(steps, tensor=tensor), data, TEN)


def test_members_multiply_everything_behind_them() -> None:
    counted = cost(
        graph(("member_dense", {"members": 3, "units": 7}), tensor="numeric"), TABLE, OutputSpec(classes=None)
    )
    assert counted.parameters == 3 * (4 * 7 + 7) + 3 * (7 + 1)
    assert counted.flops == 2 * 3 * (4 * 7 + 7)


def test_tabm_shares_its_kernel_and_a_cross_its_rank() -> None:
    inputs = InputSpec(numeric=4)
    counted = cost(graph(("tabm_dense", {"members": 3, "units": 7}), tensor="numeric"), inputs, TEN)
    # One kernel 4·7; of each member 4 scales before, 7 behind and 7 biases; the output is three networks of 7·10 + 10.
    assert counted.parameters == 28 + 3 * (4 + 7 + 7) + 3 * 80
    assert counted.flops == 2 * 3 * (4 + 28 + 7 + 70)
    made = Graph()
    x = made.add("input", tensor="numeric")
    crossed = cost(made.finish(made.add("cross", x, x, rank=2), Recipe()), inputs, TEN)
    assert crossed.parameters == 4 * 2 + 2 * 4 + 4 + 50


def test_residual_depth_is_the_longest_way() -> None:
    made = Graph()
    x = made.add("conv", made.add("input", tensor="image"), **CONV)
    y = made.add("conv", made.add("conv", x, **CONV), **CONV)
    x = made.add("global_avg_pool", made.add("add", x, y))
    assert cost(made.finish(x, Recipe()), IMAGE, TEN).depth == 4  # three convolutions and the output


def test_base_is_the_network_of_the_measurements() -> None:
    """research/auto.md: 117k parameters and 9.15M multiply-adds on Fashion-MNIST."""
    inputs = InputSpec(image=(28, 28, 1), image_mean=(73.0,), image_std=(90.0,))
    space = CnnSpace(inputs=inputs, output=TEN)
    counted = cost(space.architecture(space.presets()[0]), inputs, TEN)
    assert counted.parameters == 116_602
    assert counted.flops == 2 * 9_145_216


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([("dense", {"units": 3, "bias": True})], "dense"),  # on an image
        ([("conv", {**CONV, "filters": 0})], "filters must be"),
        ([("conv", {**CONV, "kernel": 1.5})], "kernel must be"),
        ([("conv", {})], "kernel"),
        ([("warp", {})], "unknown operation"),
        ([("activation", {"function": "magic"})], "function must be"),
        ([("dropout", {"rate": 1.0})], "rate must be"),
        ([("add", {})], "two or more"),
        ([("flatten", {}), ("max_pool", {"size": 2})], "rank 3"),
        ([("conv", {**CONV, "kernel": 9, "padding": "valid"})], "window of 9 does not fit into 8"),
        ([("conv", {**CONV, "padding": "wrap"})], "padding must be one of same, valid"),
        ([("conv", {**CONV, "stride": 2, "dilation": 2})], "cannot both"),
        ([("group_norm", {"groups": 2})], "3 channels do not divide"),
    ],
)
def test_impossible_operations_are_named(steps: list[tuple[str, dict[str, Any]]], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        cost(graph(*steps), IMAGE, TEN)


def test_impossible_graphs_are_named() -> None:
    node = Node(name="x", op="input", inputs=(), settings={"tensor": "numeric"})
    end = Node(name="end", op="output", inputs=("x",))
    with pytest.raises(ArchitectureError, match="no such tensor"):
        cost(Architecture(nodes=(node, end)), IMAGE, TEN)
    with pytest.raises(ArchitectureError, match="must come before"):
        cost(Architecture(nodes=(end,)), TABLE, TEN)
    with pytest.raises(ArchitectureError, match="last node"):
        cost(Architecture(nodes=(node,)), TABLE, TEN)
    with pytest.raises(ArchitectureError, match="two nodes"):
        cost(Architecture(nodes=(node, node, end)), TABLE, TEN)
    idle = Node(name="idle", op="flatten", inputs=("x",))
    with pytest.raises(ArchitectureError, match="idle: leads nowhere"):
        cost(Architecture(nodes=(node, idle, end)), TABLE, TEN)


def test_a_graph_leaves_out_what_leads_nowhere() -> None:
    made = Graph()
    x = made.add("input", tensor="numeric")
    made.add("dense", x, units=3, bias=True)
    assert [node.op for node in made.finish(x, Recipe()).nodes] == ["input", "output"]


def test_windows_and_the_newer_operations_by_hand() -> None:
    """Padding valid: ⌊(8 − 5)/1⌋ + 1 = 4 of a dilated 3 × 3 (reach 5); depthwise: 9 weights a channel, and its bias."""
    dilated = {"kernel": 3, "stride": 1, "dilation": 2, "padding": "valid", "bias": True}
    counted = cost(graph(("depthwise_conv", dilated), ("global_avg_pool", {})), IMAGE, TEN)
    assert counted.parameters == 9 * 3 + 3 + (3 * 10 + 10)
    assert counted.flops == 2 * (4 * 4 * 27 + 30)
    assert counted.memory == 4 * (8 * 8 * 3 + 4 * 4 * 3 + 3 + 10)
    # a squeeze of 3 channels by 2 has ⌊3/2⌋ = 1 unit: 3 + 1 there, 3 + 3 back
    counted = cost(graph(("squeeze_excite", {"ratio": 2}), ("global_max_pool", {})), IMAGE, TEN)
    assert counted.parameters == 4 + 6 + 40
    counted = cost(graph(("conv", {**CONV, "padding": "valid"}), ("flatten", {})), IMAGE, TEN)
    assert counted.parameters == 448 + 6 * 6 * 16 * 10 + 10


def test_a_deeper_table_network_by_hand() -> None:
    space = MlpSpace(inputs=TABLE, output=OutputSpec(classes=None))
    linear = space.presets()[2]
    counted = cost(space.architecture(linear), TABLE, OutputSpec(classes=None))
    # embeddings (3 + 10) · 8; then 4 + 2·8 = 20 inputs to one output
    assert counted.parameters == 13 * 8 + 20 + 1
