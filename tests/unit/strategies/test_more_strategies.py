"""What is particular to each strategy, with numbers derived by hand."""

from collections import Counter

import numpy as np
import pytest

from nasflow.spaces.parameters import Choice, Integer, Real, When, key
from nasflow.strategies._base import Result, Suggestion
from nasflow.strategies.asha import Asha
from nasflow.strategies.genetic import Genetic
from nasflow.strategies.greedy import GreedySearch
from nasflow.strategies.grid import Grid, GridSearch
from nasflow.strategies.hill_climb import HillClimb
from nasflow.strategies.hybrid import Hybrid
from nasflow.strategies.neighbourhood import completed, levels, steps
from nasflow.strategies.predictor import Predictor, encode
from nasflow.strategies.random_search import RandomSearch
from nasflow.strategies.reinforce import Reinforce
from nasflow.strategies.tpe import TreeParzen, _Counted, _Parzen

FLAT = tuple(Choice(name=f"g{i}", values=("a", "b", "c")) for i in range(4))
TREE = (
    Choice(name="body", values=("plain", "deep")),
    Choice(name="depth", values=(1, 2, 3), when=When(parent="body", values=("deep",))),
    Real(name="rate", low=0.0, high=1.0),
)


def result(number, values, score, status="completed", granted=None):
    return Result(trial_id=str(number), values=values, status=status, score=score, epochs=1, granted=granted)


def rng(seed=0):
    return np.random.default_rng(seed)


def point(text):
    return dict(zip(("g0", "g1", "g2", "g3"), text, strict=True))


def text(values):
    return "".join(values[f"g{i}"] for i in range(4))


def study(strategy, parameters, score, trials, presets=(), seed=0):
    history = [result(i, dict(p), score(p)) for i, p in enumerate(presets)]
    while len(history) < trials:
        found = strategy.suggest(parameters, presets, history, 1, rng([seed, len(history)]))
        if not found:
            break
        history.append(result(len(history), dict(found[0]), score(found[0])))
    return history


def test_levels_and_steps():
    assert levels(Integer(name="n", low=1, high=8), 3) == (1, 2, 3, 4, 5, 6, 7, 8)
    assert levels(Integer(name="n", low=0, high=100), 3) == (0, 50, 100)
    assert steps(Real(name="r", low=0.0, high=1.0), 0.5, 0.25) == (0.25, 0.75)
    assert steps(Real(name="r", low=0.0, high=1.0), 1.0, 0.25) == (0.75,)
    assert steps(Choice(name="c", values=("x", "y", "z")), "y", 0.1) == ("x", "z")


def test_genes_that_wake_up_are_as_in_the_first_preset_that_has_them():
    presets = [{"body": "plain", "rate": 0.1}, {"body": "deep", "depth": 3, "rate": 0.2}]
    assert completed(TREE, {"body": "deep", "rate": 0.7}, presets) == {"body": "deep", "depth": 3, "rate": 0.7}
    assert completed(TREE, {"body": "deep", "rate": 0.7}, ()) == {"body": "deep", "depth": 2, "rate": 0.7}
    assert completed(TREE, {"body": "plain", "depth": 1, "rate": 0.7}, ()) == {"body": "plain", "rate": 0.7}


def test_grid_is_the_whole_factorial_once_and_then_nothing():
    """plain: 5 rates; deep: 3 depths × 5 rates."""
    history = study(GridSearch(), TREE, lambda _: 0.0, 100)
    assert len(history) == len({key(r.values) for r in history}) == len(Grid(TREE, 5)) == 20
    assert {r.values["rate"] for r in history} == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert [r.values for r in history] != list(Grid(TREE, 5))


def test_a_grid_beyond_every_int64_is_counted_and_drawn_from_evenly():
    many = tuple(Choice(name=f"g{i}", values=tuple("abcdefghij")) for i in range(30))
    assert Grid(many, 5)._count(0, {}) == 10**30
    draws = [Grid(TREE, 5).draw(rng(seed)) for seed in range(2000)]
    assert sum(values["body"] == "deep" for values in draws) / 2000 == pytest.approx(0.75, abs=0.04)  # 15 of 20


def test_greedy_tries_all_values_of_a_gene_before_the_next():
    history = study(GreedySearch(), FLAT, lambda p: text(p).count("c"), 9, presets=[point("aaaa")])
    assert [text(r.values) for r in history[:1]] == ["aaaa"]
    for gene in range(4):  # two other values each; "c" is kept
        tried = {text(r.values) for r in history[1 + 2 * gene : 3 + 2 * gene]}
        assert tried == {"c" * gene + value + "a" * (3 - gene) for value in "bc"}


def test_greedy_goes_on_from_the_next_preset_when_no_single_gene_helps():
    history = study(GreedySearch(), FLAT, lambda p: -float(text(p) != "cccc"), 11, presets=[point("aaaa")])
    assert all(sum(a != "a" for a in text(r.values)) <= 1 for r in history[:9])  # 1 + 8 neighbours
    assert sum(a != "a" for a in text(history[9].values)) >= 2  # a random start


def test_hill_climb_moves_to_the_first_better_neighbour():
    history = study(HillClimb(), FLAT, lambda p: text(p).count("c"), 30, presets=[point("aaaa")])
    best = next(i for i, r in enumerate(history) if r.score == 4)
    climbing = 0.0
    for r in history[1 : best + 1]:  # each is a neighbour of what was best before it
        parent = next(p for p in history if p.score == climbing)
        assert sum(a != b for a, b in zip(text(r.values), text(parent.values), strict=True)) == 1
        climbing = max(climbing, r.score)


def test_steepest_hill_climb_looks_at_all_neighbours_first():
    history = study(HillClimb(first=False), FLAT, lambda p: text(p).count("c"), 10, presets=[point("aaaa")])
    assert all(sum(a != "a" for a in text(r.values)) == 1 for r in history[1:9])
    assert text(history[9].values).count("c") >= 1


def test_climbers_ask_for_neighbours_only_side_by_side():
    history = [result(0, point("aaaa"), 1.0)]
    for strategy in (GreedySearch(), HillClimb()):
        found = strategy.suggest(FLAT, [point("aaaa")], history, 8, rng())
        assert len({key(values) for values in found}) == 8
        assert all(sum(a != "a" for a in text(values)) == 1 for values in found)
        assert {values.parents for values in found} == {("0",)}


def test_genetic_takes_parents_from_the_last_generation_and_the_elites():
    members = [point(t) for t in ("cccc", "aaaa", "aaab", "aaba", "abaa", "baaa")]
    history = [result(i, v, score) for i, (v, score) in enumerate(zip(members, (9, 1, 2, 3, 4, 5), strict=True))]
    strategy = Genetic(population=3, elites=1)
    parents = set()
    for seed in range(40):
        parents |= set(strategy.suggest(FLAT, (), history, 1, rng(seed))[0].parents)
    assert parents <= {"0", "3", "4", "5"}  # the elite; the second generation of three
    assert "0" in parents


def test_genetic_crossover_of_probability_one_is_the_second_parent():
    child = Genetic(crossover=1.0)._cross(FLAT, point("aaaa"), point("bcbc"), rng())
    assert text(child) == "bcbc"
    assert text(Genetic(crossover=0.0)._cross(FLAT, point("aaaa"), point("bcbc"), rng())) == "aaaa"


def test_tpe_counts_with_a_prior():
    """Seen a, a, b with a prior of 1 over three values: (2 + ⅓, 1 + ⅓, ⅓) / 4."""
    density = _Counted(("a", "b", "c"), Counter("aab"), 1.0).density(np.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(density, [7 / 12, 4 / 12, 1 / 12])


@pytest.mark.parametrize("seen", [[], [0.0], [0.2, 0.25, 0.9], [0.5] * 40])
def test_tpe_densities_integrate_to_one(seen):
    parzen = _Parzen(Real(name="r", low=0.0, high=1.0), seen, 1.0)
    middles = (np.arange(4000) + 0.5) / 4000
    assert parzen.density(middles).mean() == pytest.approx(1.0, abs=0.05)  # the second reflection is left out
    assert ((parzen.draw(500, rng()) >= 0) & (parzen.draw(500, rng()) <= 1)).all()


def test_tpe_learns_a_gene_only_from_results_that_have_it():
    history = [result(i, {"body": "deep", "depth": 3, "rate": 0.9}, 1.0) for i in range(2)]
    history += [result(i, {"body": "deep", "depth": 1, "rate": i / 40}, 0.1) for i in range(2, 20)]
    history += [result(i, {"body": "plain", "rate": i / 40}, 0.0) for i in range(20, 30)]
    drawn = [TreeParzen().suggest(TREE, (), history, 1, rng(seed))[0] for seed in range(20)]
    assert sum(values.get("depth") == 3 for values in drawn) >= 18
    assert np.median([values["rate"] for values in drawn]) > 0.7


def test_reinforce_raises_what_scored_above_the_baseline():
    history = [result(0, point("aaaa"), 0.0), result(1, point("cccc"), 1.0), result(2, point("bbbb"), 0.0)]
    policy = Reinforce(entropy=0.0).policy(FLAT, history)
    a, b, c = policy.probabilities("g0")
    assert c > a > b  # b was below the baseline that c had raised
    assert a + b + c == pytest.approx(1.0)


def test_reinforce_one_step_by_hand():
    """Scores 0, then 1: baseline 0, deviation ½, advantage 2, rate 0.5: logits move by 1 × (onehot − ⅓)."""
    policy = Reinforce(rate=0.5, entropy=0.0).policy(FLAT, [result(0, point("aaaa"), 0.0), result(1, point("cccc"), 1)])
    np.testing.assert_allclose(policy.logits[0], [-1 / 3, -1 / 3, 2 / 3])


def test_reinforce_conditions_a_gene_on_its_parents_value():
    both = (
        Choice(name="body", values=("x", "y")),
        Choice(name="op", values=("a", "b"), when=When(parent="body", values=("x", "y"))),
    )
    scores = {("x", "a"): 1.0, ("x", "b"): 0.0, ("y", "a"): 0.0, ("y", "b"): 1.0}
    history = [
        result(i, dict(zip(("body", "op"), p, strict=True)), s) for i, (p, s) in enumerate([*scores.items()] * 9)
    ]
    policy = Reinforce().policy(both, history)
    assert policy.probabilities("op", 0)[0] > 0.7
    assert policy.probabilities("op", 1)[1] > 0.7


def test_the_predictor_finds_the_gene_that_matters():
    points = [point(f"{a}{b}{c}{d}") for a in "ab" for b in "abc" for c in "ab" for d in "abc"]
    history = [result(i, p, 1.0 * (p["g1"] == "c") + 0.5 * (p["g3"] == "b")) for i, p in enumerate(points)]
    found = Predictor(trees=16).suggest(FLAT, (), history, 3, rng())
    assert [(values["g1"], values["g3"]) for values in found] == [("c", "b")] * 3


def test_inactive_genes_have_a_code_of_their_own():
    assert encode(TREE, {"body": "plain", "rate": 0.25}) == [1.0, 0.0, -1.0, 0.25]
    assert encode(TREE, {"body": "deep", "depth": 2, "rate": 0.25}) == [0.0, 1.0, 0.5, 0.25]


def test_asha_promotes_the_best_third_of_a_rung_and_the_highest_rung_first():
    strategy = Asha(epochs=9)
    assert strategy.ladder() == (1, 3, 9)
    history = [result(i, point(t), i, granted=1) for i, t in enumerate(("aaaa", "aaab", "aaac"))]
    first = strategy.suggest(FLAT, (), history, 1, rng())[0]
    assert (text(first), first.epochs, first.parents) == ("aaac", 3, ("2",))
    history.append(result(3, point("aaac"), None, "failed", granted=3))
    fresh = strategy.suggest(FLAT, (), history, 1, rng())[0]  # the promotion failed: it is not asked for again
    assert (fresh.epochs, fresh.parents) == (1, ())
    history += [result(4 + i, point(t), i, granted=3) for i, t in enumerate(("bbba", "bbbb", "bbbc"))]
    high = strategy.suggest(FLAT, (), history, 1, rng())[0]
    assert (text(high), high.epochs) == ("bbbc", 9)


def test_asha_leaves_presets_in_the_last_rung():
    history = [result(i, point(t), i) for i, t in enumerate(("aaaa", "aaab", "aaac"))]  # as many epochs as the study's
    assert Asha(epochs=9).suggest(FLAT, (), history, 1, rng())[0].epochs == 1


def test_a_sequence_gives_each_part_its_trials():
    strategy = Hybrid(parts=("random", "greedy"), mode="sequence", trials=(3,))
    history = [result(i, point(t), 0.0) for i, t in enumerate(("aaaa", "bbbb"))]
    history.append(result(2, point("abab"), None, "infeasible"))  # cost nothing: still the first part's turn
    assert strategy.suggest(FLAT, (), history, 1, rng(1)) == RandomSearch().suggest(FLAT, (), history, 1, rng(1))
    history.append(result(3, point("cccc"), 1.0))
    assert strategy.suggest(FLAT, (), history, 1, rng(1)) == GreedySearch().suggest(FLAT, (), history, 1, rng(1))


def test_a_mixture_goes_on_while_any_part_has_something_left():
    one = (Choice(name="n", values=(1, 2, 3)),)
    history = study(Hybrid(parts=("grid", "evolution"), weights=None), one, lambda p: p["n"], 10)
    assert sorted(r.values["n"] for r in history) == [1, 2, 3]


def test_a_suggestion_can_ask_for_epochs():
    assert Suggestion({"a": 1}, epochs=3).epochs == 3
    assert Suggestion({"a": 1}).epochs is None
