"""`Architecture.identity` against networkx: equal if and only if the graphs are isomorphic."""

import random
import warnings
from typing import Any

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.spaces.architecture import Architecture, Node

OPS = ("conv", "relu", "add", "concat")


def isomorphic(one: Architecture, other: Architecture) -> bool:
    """networkx's own answer."""
    return nx.is_isomorphic(
        one.graph(),
        other.graph(),
        node_match=lambda a, b: a == b,
        edge_match=nx.isomorphism.categorical_multiedge_match("position", None),
    )


@st.composite
def graphs(draw: st.DrawFn, most: int = 8) -> Architecture:
    """Few operations and settings, so that equal parts are frequent."""
    nodes = [Node(name="n0", op="input", inputs=(), settings={"tensor": "image"})]
    for number in range(1, draw(st.integers(2, most))):
        op = draw(st.sampled_from(OPS))
        count = 1 if op in ("conv", "relu") else draw(st.integers(2, 3))
        sources = tuple(f"n{draw(st.integers(0, number - 1))}" for _ in range(count))
        kernel = {"kernel": draw(st.sampled_from([1, 3]))} if op == "conv" else {}
        nodes.append(Node(name=f"n{number}", op=op, inputs=sources, settings=kernel))
    return Architecture(nodes=tuple(nodes))


def relabelled(architecture: Architecture, seed: int) -> Architecture:
    """Other names, another topological order, other orders of what an addition adds."""
    rng = random.Random(seed)
    names = [node.name for node in architecture.nodes]
    fresh = dict(zip(names, rng.sample([f"x{n}" for n in range(100)], len(names)), strict=True))
    left, placed, order = list(architecture.nodes), set[str](), list[Node]()
    while left:
        ready = [node for node in left if set(node.inputs) <= placed]
        node = rng.choice(ready)
        left.remove(node)
        placed.add(node.name)
        order.append(node)
    renamed = []
    for node in order:
        sources = [fresh[source] for source in node.inputs]
        if node.op == "add":
            rng.shuffle(sources)
        keys = list(node.settings.items())
        rng.shuffle(keys)
        renamed.append(Node(name=fresh[node.name], op=node.op, inputs=tuple(sources), settings=dict(keys)))
    return Architecture(nodes=tuple(renamed))


@given(architecture=graphs(), seed=st.integers(0, 2**32 - 1))
def test_names_and_orders_that_mean_nothing_do_not_count(architecture: Architecture, seed: int) -> None:
    other = relabelled(architecture, seed)
    assert other.identity == architecture.identity
    assert isomorphic(architecture, other)  # the oracle and the test's own relabelling agree


@settings(max_examples=150)
@given(architecture=graphs(), data=st.data())
def test_near_misses_are_equal_only_where_networkx_says_so(architecture: Architecture, data: st.DataObject) -> None:
    """One input of one node is moved to another node."""
    number = data.draw(st.integers(1, len(architecture.nodes) - 1))
    node = architecture.nodes[number]
    place = data.draw(st.integers(0, len(node.inputs) - 1))
    sources = list(node.inputs)
    sources[place] = f"n{data.draw(st.integers(0, number - 1))}"
    changed = Node(name=node.name, op=node.op, inputs=tuple(sources), settings=node.settings)
    other = Architecture(nodes=(*architecture.nodes[:number], changed, *architecture.nodes[number + 1 :]))
    assert (other.identity == architecture.identity) == isomorphic(architecture, other)


def _pairs(crossed: bool, copies: int = 1) -> Architecture:
    """Two equal convolutions a, b, each with a relu behind; what is added to a is its own relu, or b's."""
    nodes = [Node(name="in", op="input", inputs=())]
    ends: list[str] = []
    for copy in range(copies):
        for name in ("a", "b"):
            nodes.append(Node(name=f"{name}{copy}", op="conv", inputs=("in",), settings={"kernel": 3}))
            nodes.append(Node(name=f"r{name}{copy}", op="relu", inputs=(f"{name}{copy}",)))
        for name, other in (("a", "b"), ("b", "a")):
            source = f"r{other if crossed and copy == 0 else name}{copy}"
            nodes.append(Node(name=f"s{name}{copy}", op="add", inputs=(f"{name}{copy}", source)))
            ends.append(f"s{name}{copy}")
    nodes.append(Node(name="end", op="add", inputs=tuple(ends)))
    return Architecture(nodes=tuple(nodes))


def test_a_near_miss_that_hashing_the_neighbours_cannot_see() -> None:
    """Colour refinement gives both graphs the same hashes: networkx's own, too. They have other functions."""
    one, other = _pairs(crossed=False), _pairs(crossed=True)

    def weisfeiler(architecture: Architecture) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # networkx says that its hashes were others before 3.5
            return nx.weisfeiler_lehman_graph_hash(nx.DiGraph(architecture.graph()), node_attr="op", iterations=9)

    assert weisfeiler(one) == weisfeiler(other)
    assert not isomorphic(one, other)
    assert one.identity != other.identity


def test_many_equal_parts_cost_little() -> None:
    """Six pairs of twins have 6! · 2⁶ = 46,080 automorphisms; walking through them all would take minutes."""
    one = _pairs(crossed=False, copies=6)
    assert one.identity == relabelled(one, 7).identity
    assert one.identity != _pairs(crossed=True, copies=6).identity
