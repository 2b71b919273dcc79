import dataclasses

from nasflow.spaces.architecture import Architecture, Node, Recipe


def node(name: str, op: str, *inputs: str, **settings: object) -> Node:
    return Node(name=name, op=op, inputs=inputs, settings=settings)


def two_branches(a: str, b: str, merge: str = "add", *, swapped: bool = False, kernel: int = 5) -> Architecture:
    branches = [node(a, "conv", "in", kernel=3), node(b, "conv", "in", kernel=kernel)]
    if swapped:
        branches.reverse()
    sources = [branch.name for branch in branches]
    return Architecture(nodes=(node("in", "input"), *branches, node("m", merge, *sources), node("out", "output", "m")))


def test_names_and_order_do_not_count() -> None:
    assert two_branches("p", "q").identity == two_branches("x", "y", swapped=True).identity


def test_the_order_of_a_concat_counts() -> None:
    one, other = two_branches("p", "q", "concat"), two_branches("p", "q", "concat", swapped=True)
    assert one.identity != other.identity


def test_settings_operations_and_recipe_count() -> None:
    base = two_branches("p", "q")
    others = [
        two_branches("p", "q", kernel=7),
        two_branches("p", "q", "concat"),
        dataclasses.replace(base, recipe=Recipe(learning_rate=0.1)),
    ]
    assert len({base.identity, *(other.identity for other in others)}) == 4


def test_a_shared_part_is_not_two_equal_parts() -> None:
    """x + x from one node, and from two equal nodes: twice the weights."""
    shared = Architecture(
        nodes=(node("in", "input"), node("a", "conv", "in"), node("m", "add", "a", "a"), node("out", "output", "m"))
    )
    double = Architecture(
        nodes=(
            node("in", "input"),
            node("a", "conv", "in"),
            node("b", "conv", "in"),
            node("m", "add", "a", "b"),
            node("out", "output", "m"),
        )
    )
    assert shared.identity != double.identity


def test_json_round_trip() -> None:
    architecture = two_branches("p", "q")
    assert Architecture.from_json(architecture.to_json()) == architecture
