import functools
import sys
import types

import numpy as np
import pytest

from nasflow.core.errors import SpecError
from nasflow.spaces.parameters import Choice, When, key
from nasflow.strategies._base import Result, Suggestion, ranked
from nasflow.strategies.auto import Auto
from nasflow.strategies.evolution import RegularizedEvolution, cross
from nasflow.strategies.greedy import GreedySearch
from nasflow.strategies.hill_climb import HillClimb
from nasflow.strategies.novelty import every_point
from nasflow.strategies.registry import check_strategy, get_strategy

SPACE = (
    Choice(name="body", values=("plain", "deep")),
    Choice(name="depth", values=(1, 2), when=When(parent="body", values=("deep",))),
    Choice(name="width", values=(16, 32, 64, 128)),
)


def result(number, values, score, status="completed"):
    return Result(trial_id=str(number), values=values, status=status, score=score, epochs=1)


def changed(a, b):
    return {name for name in {*a, *b} if a.get(name) != b.get(name)}


def test_ranked_puts_the_better_first_and_the_earlier_first_among_equals():
    values = {"body": "plain", "width": 16}
    history = [
        result(0, values, 0.5),
        result(1, values, None, "failed"),
        result(2, values, 0.9),
        result(3, values, 0.5),
        result(4, values, 0.99, "infeasible"),
    ]
    assert [r.trial_id for r in ranked(history)] == ["2", "0", "3"]


def test_every_point_of_a_conditional_space():
    points = every_point(SPACE, limit=100)
    assert len(points) == 12  # plain × 4 widths + deep × 2 depths × 4 widths
    assert len({key(point) for point in points}) == 12


def test_evolution_lets_the_oldest_die_even_if_it_is_the_best():
    flat = tuple(Choice(name=f"g{i}", values=(0, 1, 2, 3)) for i in range(8))
    best = dict.fromkeys((p.name for p in flat), 3)
    others = [{**dict.fromkeys((p.name for p in flat), 0), "g0": i % 4, "g1": i // 4} for i in range(4)]
    history = [result(0, best, 1.0)] + [result(i + 1, v, 0.1) for i, v in enumerate(others)]
    evolution = RegularizedEvolution(population=4, sample=50, crossover=0.0)
    suggestion = evolution.suggest(flat, (), history, 1, np.random.default_rng(0))[0]
    assert suggestion.parents[0] in {"1", "2", "3", "4"}
    assert len(changed(suggestion, best)) > 1


def test_evolution_mutates_one_gene_of_the_tournaments_winner():
    flat = tuple(Choice(name=f"g{i}", values=(0, 1, 2, 3)) for i in range(8))
    members = [dict.fromkeys((p.name for p in flat), i) for i in range(4)]
    history = [result(i, v, float(i)) for i, v in enumerate(members)]
    evolution = RegularizedEvolution(population=4, sample=50, crossover=0.0)
    suggestion = evolution.suggest(flat, (), history, 1, np.random.default_rng(0))[0]
    assert suggestion.parents == ("3",)  # among 50 draws of 4 the best is missed with probability 6e-7
    assert len(changed(suggestion, members[3])) == 1


def test_cross_takes_every_gene_from_a_parent_and_repairs_conditions():
    a, b = {"body": "plain", "width": 16}, {"body": "deep", "depth": 2, "width": 128}
    children = [cross(SPACE, a, b, np.random.default_rng(seed)) for seed in range(40)]
    assert {child["width"] for child in children} == {16, 128}
    assert all(("depth" in child) == (child["body"] == "deep") for child in children)
    assert {child["depth"] for child in children if "depth" in child} == {2}


def test_auto_first_changes_one_gene_of_the_best_preset():
    presets = ({"body": "deep", "depth": 2, "width": 64}, {"body": "plain", "width": 16})
    history = [result(0, presets[0], 0.90), result(1, presets[1], 0.80)]
    for seed in range(20):
        suggestion = Auto().suggest(SPACE, presets, history, 1, np.random.default_rng(seed))[0]
        assert suggestion.parents == ("0",)
        assert len(changed(suggestion, presets[0]) - {"depth"}) <= 1


def test_auto_without_presets_leaves_chance_only_for_the_best_of_ten():
    history = [result(i, {"body": "plain", "width": 8 * i}, float(i)) for i in range(1, 10)]
    auto = Auto(incumbent_share=1.0)
    assert {auto.suggest(SPACE, (), history, 1, np.random.default_rng(seed))[0].parents for seed in range(9)} == {()}
    history.append(result(10, {"body": "deep", "depth": 1, "width": 16}, 0.0))
    for seed in range(9):
        assert auto.suggest(SPACE, (), history, 1, np.random.default_rng(seed))[0].parents == ("9",)


def test_autos_model_draws_what_the_good_have_in_common():
    """Three of 30 are good, all with g0 = 3 and g1 = 0: the density of each is 10/13 there, and 1/13 elsewhere."""
    flat = tuple(Choice(name=f"g{i}", values=(0, 1, 2, 3)) for i in range(5))
    rng = np.random.default_rng(0)
    history = [result(i, {p.name: int(rng.integers(3)) for p in flat}, 0.0) for i in range(27)]
    history += [result(i, {"g0": 3, "g1": 0, "g2": i % 4, "g3": 1, "g4": 2}, 1.0) for i in range(27, 30)]
    auto = Auto(model_share=1.0, incumbent_share=0.0, random_share=0.0)
    drawn = [auto.suggest(flat, (), history, 1, np.random.default_rng(seed))[0] for seed in range(20)]
    assert sum(values["g0"] == 3 for values in drawn) >= 18


@pytest.mark.parametrize("strategy", [HillClimb(startup=4), HillClimb(startup=4, first=False), GreedySearch(startup=4)])
def test_a_climb_begins_at_the_best_of_a_few_random_points(strategy):
    flat = tuple(Choice(name=f"g{i}", values=(0, 1, 2, 3)) for i in range(5))
    history = [result(i, {p.name: i for p in flat}, score) for i, score in enumerate((0.25, 0.75, 0.5))]
    ask = functools.partial(strategy.suggest, flat, ())
    assert {ask(history, 1, np.random.default_rng(seed))[0].parents for seed in range(5)} == {()}
    history.append(result(3, {p.name: 3 for p in flat}, 0.125))
    (following,) = ask(history, 1, np.random.default_rng(0))
    assert following.parents == ("1",)
    assert len(changed(following, history[1].values)) == 1


def test_auto_breaks_ties_to_the_preset():
    preset = {"body": "plain", "width": 16}
    history = [result(0, preset, 0.900), result(1, {"body": "plain", "width": 32}, 0.905)]
    assert Auto(tie=0.01).incumbent([preset], history).trial_id == "0"
    assert Auto(tie=0.004).incumbent([preset], history).trial_id == "1"
    assert Auto().incumbent([preset], []) is None


def test_a_space_of_one_point_is_exhausted_by_it():
    one = (Choice(name="width", values=(16,)),)
    done = [result(0, {"width": 16}, 0.5)] * 10
    for name in ("auto", "random", "evolution"):
        assert get_strategy(name).suggest(one, [{"width": 16}], done, 2, np.random.default_rng(0)) == []


def test_unknown_strategy_names_the_closest():
    with pytest.raises(SpecError, match=r"unknown strategy 'evolutoin'; did you mean 'evolution'\?.*hyperband"):
        get_strategy("evolutoin")
    check_strategy("hyperband")


def test_a_strategy_by_dotted_path(monkeypatch):
    module = types.ModuleType("my_strategies")

    class Widest:
        def suggest(self, parameters, presets, history, n, rng):
            return [{"body": "plain", "width": 128}]

    module.Widest, module.broken = Widest, lambda: 7
    monkeypatch.setitem(sys.modules, "my_strategies", module)
    assert get_strategy("my_strategies:Widest").suggest(SPACE, (), [], 1, None) == [{"body": "plain", "width": 128}]
    with pytest.raises(SpecError, match="lacks a method suggest"):
        get_strategy("my_strategies:broken")
    with pytest.raises(SpecError, match="cannot be loaded: AttributeError"):
        get_strategy("my_strategies:missing")
    with pytest.raises(SpecError, match="cannot be loaded: ModuleNotFoundError"):
        get_strategy("no_such_module:missing")


def test_a_suggestion_is_a_dict_with_parents():
    assert Suggestion({"a": 1}, parents=["0"]) == {"a": 1}
    assert Suggestion({"a": 1}, parents=["0"]).parents == ("0",)
