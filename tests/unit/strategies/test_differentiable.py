"""What `differentiable` derives from probabilities, by hand, and what it suggests."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from nasflow.core.errors import SpecError
from nasflow.spaces.parameters import Choice, Real
from nasflow.spaces.relaxed import Option
from nasflow.strategies._base import Result
from nasflow.strategies.auto import Auto
from nasflow.strategies.differentiable import Differentiable
from nasflow.strategies.ranking import most_likely, skips_of_the_best
from nasflow.strategies.registry import check_strategy, get_strategy

OPERATIONS = ("skip", "conv", "pool")
EDGES = ("a", "b", "c")
PARTS = tuple(
    tuple(Option(values={e: op}, arms=((e, arm),), skips=int(op == "skip")) for arm, op in enumerate(OPERATIONS))
    for e in EDGES
)


class Known:
    """A relaxed space, as far as the strategy looks at it."""

    parts = PARTS


def test_the_likeliest_cells_by_hand():
    """Edge a: .6 .3 .1, edge b: .5 .4 .1: products .30, .24, .15, .12, .06, .05, .04, .03, .01."""
    probabilities = {"a": [0.6, 0.3, 0.1], "b": [0.5, 0.4, 0.1]}
    found = list(most_likely(PARTS[:2], probabilities))
    assert [round(math.exp(score), 6) for score, _ in found] == [0.3, 0.24, 0.15, 0.12, 0.06, 0.05, 0.04, 0.03, 0.01]
    assert [tuple(values.values()) for _, values in found[:4]] == [
        ("skip", "skip"),
        ("skip", "conv"),
        ("conv", "skip"),
        ("conv", "conv"),
    ]
    assert skips_of_the_best(PARTS[:2], probabilities) == 2


def test_with_a_bound_on_skips_by_hand():
    """Of the list above, those with one skip at most; then those with none."""
    probabilities = {"a": [0.6, 0.3, 0.1], "b": [0.5, 0.4, 0.1]}
    one = [tuple(values.values()) for _, values in most_likely(PARTS[:2], probabilities, most_skips=1)]
    assert one[:3] == [("skip", "conv"), ("conv", "skip"), ("conv", "conv")]
    assert len(one) == 8
    none = [tuple(values.values()) for _, values in most_likely(PARTS[:2], probabilities, most_skips=0)]
    assert none == [("conv", "conv"), ("pool", "conv"), ("conv", "pool"), ("pool", "pool")]


@pytest.mark.parametrize("most", [None, 0, 1, 2, 3])
def test_the_order_is_that_of_sorting_all(most):
    rng = np.random.default_rng(2)
    probabilities = {edge: rng.dirichlet([1.0] * 3).tolist() for edge in EDGES}
    every = []
    for options in itertools.product(*PARTS):
        if most is None or sum(option.skips for option in options) <= most:
            score = sum(math.log(probabilities[name][arm]) for option in options for name, arm in option.arms)
            every.append((score, tuple(v for option in options for v in option.values.values())))
    found = [(score, tuple(values.values())) for score, values in most_likely(PARTS, probabilities, most_skips=most)]
    assert [values for _, values in found] == [values for _, values in sorted(every, reverse=True)]


def sure(*ops):
    """Probabilities that name these operations."""
    return {e: [0.8 if op == o else 0.1 for o in OPERATIONS] for e, op in zip(EDGES, ops, strict=True)}


def test_three_epochs_of_too_many_skips_end_the_training_and_the_one_before_counts():
    strategy = Differentiable(most_skips=1)
    fine, full = sure("skip", "conv", "pool"), sure("skip", "skip", "conv")
    assert strategy.trusted(Known, [fine, full, full]) == (3, "")
    assert strategy.trusted(Known, [full, full, fine]) == (3, "")
    number, why = strategy.trusted(Known, [full, fine, full, full, full])
    assert number == 2
    assert why == "collapse: 2, 2, 2 skips in the likeliest cell, most_skips is 1"
    assert strategy.trusted(Known, [full, full, full])[0] == 0
    assert Differentiable(most_skips=None).trusted(Known, [full] * 5) == (5, "")
    assert Differentiable(most_skips=2).trusted(Known, [full] * 5) == (5, "")


PARAMETERS = (
    Choice(name="a", values=OPERATIONS),
    Choice(name="b", values=OPERATIONS),
    Choice(name="width", values=(8, 16)),
    Real(name="rate", low=0.001, high=0.1),
)
PRESETS = ({"a": "conv", "b": "conv", "width": 8, "rate": 0.01}, {"a": "conv", "b": "conv", "width": 16, "rate": 0.02})
DERIVED = tuple({"a": a, "b": b} for a, b in (("conv", "pool"), ("pool", "conv"), ("skip", "conv"), ("pool", "pool")))


def history(*scores):
    """The presets, then derived cells in their order, with these scores."""
    points = [*PRESETS, *({**cell, "width": 16, "rate": 0.02} for cell in DERIVED)]
    return [
        Result(trial_id=str(i), values=values, status="completed", score=score, epochs=1)
        for i, (values, score) in enumerate(zip(points, scores, strict=False))
    ]


def ask(strategy, results, n=1, seed=0):
    return strategy.suggest(PARAMETERS, PRESETS, results, n, np.random.default_rng(seed))


def test_derived_cells_come_first_in_the_best_presets_stack():
    strategy = Differentiable(derived=DERIVED, top=3)
    found = ask(strategy, history(0.5, 0.6), n=3)
    assert [dict(each) for each in found] == [{**cell, "width": 16, "rate": 0.02} for cell in DERIVED[:3]]
    assert {(each.origin, each.parents) for each in found} == {("supernet", ("1",))}
    assert ask(strategy, history(0.7, 0.6))[0]["width"] == 8
    (after,) = ask(strategy, history(0.5, 0.6, 0.9))
    assert {**DERIVED[1], "width": 16}.items() <= after.items()  # still the preset's, whatever the cells reach


def test_after_the_top_ones_auto_goes_on_and_the_next_cells_come_now_and_then():
    """A coin a suggestion: with `further` the fourth cell in the best trial's stack, else what auto says."""
    strategy, results = Differentiable(derived=DERIVED, top=3, further=0.5), history(0.5, 0.6, 0.7, 0.9, 0.8)
    origins = []
    for seed in range(20):
        (found,) = ask(strategy, results, seed=seed)
        rng = np.random.default_rng(seed)
        if rng.random() < 0.5:
            assert found == {**results[3].values, **DERIVED[3]}
        else:
            assert [found] == Auto().suggest(PARAMETERS, PRESETS, results, 1, rng)
        origins.append(found.origin)
        assert found.parents == ("3",) or found.origin == "strategy"
    assert set(origins) == {"strategy", "supernet"}
    both = ask(dataclasses.replace(strategy, further=1.0), results, n=2)
    assert both[0].origin == "supernet"
    assert both[0] != both[1]


def test_noise_is_autos_business():
    """.01 apart with a tie of .1: the preset stays what neighbours are made of."""
    results = history(0.5, 0.6, 0.61)
    for seed in range(10):
        (found,) = ask(Differentiable(derived=DERIVED[:1], top=1, tie=0.1), results, seed=seed)
        assert found.parents == ("1",)


def test_without_presets_the_cells_are_what_neighbours_are_made_of():
    results = history(0.5, 0.6, 0.7, 0.9, 0.8)[2:]
    strategy = Differentiable(derived=DERIVED[:3], top=3)
    for seed in range(10):
        (found,) = strategy.suggest(PARAMETERS, (), results, 1, np.random.default_rng(seed))
        assert sum(found[name] != results[1].values[name] for name in found) == 1


def test_without_a_supernet_it_is_auto():
    for results in ([], history(0.5, 0.6)):
        expected = Auto().suggest(PARAMETERS, PRESETS, results, 3, np.random.default_rng(0))
        assert ask(Differentiable(), results, n=3) == expected


def test_spaces_that_are_no_network_are_refused_before_anything_is_read():
    for space in ("cell", "nasbench201", "darts", "my.module:Space"):
        check_strategy("differentiable", {}, space=space)
    for space, shown in (("cnn", "cnn"), ("auto", "auto"), ({"layers": []}, "one in YAML")):
        with pytest.raises(SpecError, match=f"{shown} cannot; set search.space to cell, nasbench201, darts"):
            check_strategy("differentiable", {}, space=space)
    check_strategy("random", {}, space="cnn")


def test_settings_reach_the_training():
    strategy = get_strategy("differentiable", {"epochs": 7, "auxiliary": 0.5, "skip_dropout": 0.2, "most_skips": None})
    assert (strategy.bilevel().epochs, strategy.bilevel().auxiliary, strategy.bilevel().skip_dropout) == (7, 0.5, 0.2)
    with pytest.raises(SpecError, match="'differentiable' cannot be one of parts"):
        check_strategy("hybrid", {"parts": ["differentiable"], "weights": None})
