import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasflow.spaces.parameters import (
    Choice,
    Integer,
    Parameter,
    ParameterError,
    Real,
    When,
    active,
    check_declaration,
    key,
    mutate,
    problems,
    repair,
    sample,
)

SPACE: tuple[Parameter, ...] = (
    Choice(name="kind", values=("a", "b", "c")),
    Integer(name="depth", low=0, high=3, when=When(parent="kind", values=("a", "b"))),
    Integer(name="width", low=16, high=512, log=True, when=When(parent="depth", values=(1, 2, 3))),
    Real(name="rate", low=1e-4, high=1e-1, log=True),
    Choice(name="dropout", values=(0.0, 0.1, 0.5)),
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_active_follows_conditions_through_generations() -> None:
    names = lambda values: [parameter.name for parameter in active(SPACE, values)]  # noqa: E731
    assert names({"kind": "a", "depth": 2}) == ["kind", "depth", "width", "rate", "dropout"]
    assert names({"kind": "a", "depth": 0}) == ["kind", "depth", "rate", "dropout"]
    # `depth` is not active, so its value must not wake `width`.
    assert names({"kind": "c", "depth": 2}) == ["kind", "rate", "dropout"]
    assert names({}) == ["kind", "rate", "dropout"]


def test_repair_keeps_what_is_valid_and_puts_right_what_is_not() -> None:
    float32 = float(np.float32(0.1))
    assert float32 != 0.1
    fixed = repair(
        SPACE,
        {"kind": "c", "depth": 2, "rate": 5.0, "dropout": float32, "stranger": 1},
        rng(),
    )
    assert fixed == {"kind": "c", "rate": 1e-1, "dropout": 0.1}


def test_repair_draws_what_means_nothing() -> None:
    for nonsense in ("x", None, float("nan"), True, [1]):
        fixed = repair(SPACE, {"kind": nonsense, "rate": nonsense, "dropout": nonsense}, rng())
        assert problems(SPACE, fixed) == []


def test_problems_names_each() -> None:
    found = problems(SPACE, {"kind": "c", "depth": 1, "rate": 1, "dropout": 0.1})
    assert [line.split(":")[0] for line in found] == ["depth", "rate"]  # not active; an int is no float
    assert problems(SPACE, {"kind": "c", "rate": 0.01}) == ["dropout: missing"]


@given(seed=st.integers(0, 2**32 - 1))
def test_sample_repair_mutate_hold_their_promises(seed: int) -> None:
    generator = rng(seed)
    values = sample(SPACE, generator)
    assert problems(SPACE, values) == []
    assert repair(SPACE, values, generator) == values
    changed = mutate(SPACE, values, generator)
    assert problems(SPACE, changed) == []
    assert sum(changed[name] != values[name] for name in values if name in changed) == 1


@given(
    seed=st.integers(0, 2**32 - 1),
    values=st.dictionaries(
        st.sampled_from(["kind", "depth", "width", "rate", "dropout", "x"]),
        st.one_of(st.text(max_size=2), st.integers(), st.floats(), st.none(), st.booleans()),
    ),
)
def test_repair_makes_anything_valid(seed: int, values: dict[str, Any]) -> None:
    assert problems(SPACE, repair(SPACE, values, rng(seed))) == []


def test_same_seed_same_sample() -> None:
    assert sample(SPACE, rng(7)) == sample(SPACE, rng(7))


def test_log_integers_are_uniform_in_the_logarithm() -> None:
    width = Integer(name="width", low=16, high=512, log=True)
    generator = rng()
    drawn = np.array([width.sample(generator) for _ in range(4000)])
    # sqrt(15.5 · 512.5) = 89.1 is the middle of the logarithmic range.
    assert abs((drawn < 89.1).mean() - 0.5) < 0.03
    assert drawn.min() == 16
    assert drawn.max() == 512


def test_every_value_of_a_small_integer_is_as_likely() -> None:
    generator = rng()
    drawn = [Integer(name="n", low=0, high=3).sample(generator) for _ in range(4000)]
    # 1000 each; the standard deviation of a count is sqrt(4000 · ¼ · ¾) = 27
    assert all(abs(drawn.count(value) - 1000) < 5 * 27 for value in range(4))


@pytest.mark.parametrize("parameter", SPACE)
def test_unit_grows_with_the_value(parameter: Parameter) -> None:
    generator = rng()
    drawn = {parameter.sample(generator) for _ in range(50)}
    if isinstance(parameter, Choice):
        assert [parameter.unit(value) for value in parameter.values] == [0.0, 0.5, 1.0]
    else:
        places = [parameter.unit(value) for value in sorted(float(value) for value in drawn)]
        assert places == sorted(places)
        assert 0 <= min(places) <= max(places) <= 1


def test_number_choices_mutate_mostly_to_a_neighbour() -> None:
    choice = Choice(name="n", values=(1, 2, 4, 8, 16))
    generator = rng()
    drawn = [choice.mutate(4, generator) for _ in range(1000)]
    assert 4 not in drawn
    # ¾ go to a neighbour; the other ¼ to any of the four others, half of which are neighbours: ⅞ in all.
    assert abs(sum(value in (2, 8) for value in drawn) / 1000 - 7 / 8) < 0.05


def test_reals_have_four_digits_and_stay_inside() -> None:
    generator = rng()
    rate = Real(name="rate", low=1e-4, high=1e-1, log=True)
    value = 1e-1
    for _ in range(200):
        value = rate.mutate(value, generator)
        assert rate.contains(value)
        assert value == float(f"{value:.4g}")
    assert math.isclose(rate.unit(10**-2.5), 0.5)


def test_key_does_not_depend_on_order() -> None:
    assert key({"a": 1, "b": "x"}) == key({"b": "x", "a": 1})
    assert len({key({"a": 1}), key({"a": 2})}) == 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ((Choice(name="a", values=(1,)), Choice(name="a", values=(1,))), "declared twice"),
        ((Choice(name="a", values=(1,), when=When(parent="b", values=(1,))),), "must be declared before"),
        (
            (Choice(name="b", values=(1,)), Choice(name="a", values=(1,), when=When(parent="b", values=(2,)))),
            "never has the value 2",
        ),
    ],
)
def test_contradictory_declarations_are_refused(parameters: tuple[Parameter, ...], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        check_declaration(parameters)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Choice(name="a", values=()),
        lambda: Choice(name="a", values=(1, 1)),
        lambda: Choice(name="a", values=(1, "b")),
        lambda: Choice(name="a", values=(True, False)),
        lambda: Integer(name="a", low=2, high=1),
        lambda: Integer(name="a", low=0, high=1, log=True),
        lambda: Real(name="a", low=0.0, high=1.0, log=True),
        lambda: Real(name="a", low=1.0, high=1.0),
    ],
)
def test_impossible_parameters_are_refused(make: Any) -> None:
    with pytest.raises(ParameterError):
        make()


def test_nothing_to_mutate_is_an_error() -> None:
    with pytest.raises(ParameterError, match="nothing to mutate"):
        mutate((Choice(name="a", values=(1,)),), {"a": 1}, rng())


def test_a_range_that_rounding_leaves_one_value_of_can_be_left():
    """Of 0.99991 to 0.99994 four significant digits are 0.9999, below it."""
    rate = Real(name="rate", low=0.99991, high=0.99994)
    rng = np.random.default_rng(0)
    assert [rate.mutate(value, rng) for value in (0.99991, 0.99994)] == [0.99994, 0.99991]
