"""fANOVA against sums that can be done by hand, and against every point of small spaces."""

import itertools
import math

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from nasflow.search.importance import ENOUGH, importance
from nasflow.search.marginals import Encoding, Partition
from nasflow.spaces.parameters import Choice, Integer, Real, When, sample

A = Choice(name="a", values=("low", "high"))
B = Choice(name="b", values=(1, 2))
IDLE = Choice(name="idle", values=("x", "y", "z"))


def signs(values):
    return (1 if values["a"] == "high" else -1), (1 if values["b"] == 2 else -1)


def found(parameters, function, copies=16, **more):
    points = [dict(zip([p.name for p in parameters], values, strict=True)) for values in
              itertools.product(*(p.values for p in parameters))] * copies  # fmt: skip
    result = importance(parameters, points, [function(point) for point in points], maximise=True, **more)
    return result, {gene.name: gene for gene in result.genes}


def test_shares_of_a_sum_and_a_product():
    """2a + b + ab with a, b = ±1: variances 4, 1 and 1, so shares 2/3, 1/6 and, together, 1/6; `idle` has none."""
    result, genes = found((A, B, IDLE), lambda v: 2 * signs(v)[0] + signs(v)[1] + math.prod(signs(v)))
    assert [gene.name for gene in result.genes][:2] == ["a", "b"]
    assert genes["a"].share == pytest.approx(2 / 3, abs=1e-6)
    assert genes["b"].share == pytest.approx(1 / 6, abs=1e-6)
    assert genes["idle"].share == pytest.approx(0, abs=1e-6)
    assert result.pairs[0].names == ("a", "b")
    assert result.pairs[0].share == pytest.approx(1 / 6, abs=1e-6)
    assert result.pairs[1].share == pytest.approx(0, abs=1e-6)
    assert result.explained == pytest.approx(1)
    assert all(gene.deviation < 1e-6 for gene in result.genes)
    assert (genes["a"].active, genes["a"].where_active) == (pytest.approx(1), pytest.approx(genes["a"].share))
    # a = high: 2 + b + b has mean 2; a = low: −2 + b − b. b = 2: 2a + 1 + a has mean 1.
    assert genes["a"].effect.values == ("low", "high")
    assert genes["a"].effect.means == pytest.approx((-2, 2))
    assert genes["b"].effect.means == pytest.approx((-1, 1))
    assert genes["a"].effect.low == pytest.approx(genes["a"].effect.high)
    assert genes["idle"].effect.trials == (64, 64, 64)


def test_genes_that_act_only_together():
    """a·b with a, b = ±1: neither explains anything alone, together they explain all of it."""
    result, genes = found((A, B, IDLE), lambda v: math.prod(signs(v)))
    assert max(gene.share for gene in genes.values()) == pytest.approx(0, abs=1e-6)
    assert result.pairs[0].names in (("a", "b"), ("b", "a"))
    assert result.pairs[0].share == pytest.approx(1, abs=1e-6)


def test_what_matters_among_the_better_half():
    """a decides between bad (0) and good; among the good, b adds 1 or 2: scores 0, 0, 1, 2 with median 0.5, so that b
    has, of 0.5, 0.5, 1, 2: means by a 0.5 and 1.5, by b 0.75 and 1.25: variances 1/4, 1/16, all 3/8: shares 2/3, 1/6.
    Without the cap: means by a 0, 1.5, by b 0.5, 1; variances 9/16, 1/16 of 11/16."""
    _, genes = found((A, B), lambda v: 0 if v["a"] == "low" else v["b"])
    assert genes["a"].share == pytest.approx(9 / 11, abs=1e-6)
    assert genes["b"].share == pytest.approx(1 / 11, abs=1e-6)
    assert genes["a"].top_half == pytest.approx(2 / 3, abs=1e-6)
    assert genes["b"].top_half == pytest.approx(1 / 6, abs=1e-6)


def test_a_child_counts_where_its_parent_wakes_it_up():
    """gate = off scores 10, gate = on 0, 3 or 6 by the child. The gate: means 3 and 10, variance (7/2)² = 12.25; the
    child 6 on its half of the points, 3 of all; in all 15.25. Where it is active the child explains everything."""
    gate = Choice(name="gate", values=("off", "on"))
    child = Choice(name="child", values=(1, 2, 3), when=When(parent="gate", values=("on",)))
    points = [{"gate": "off"}] * 60 + [{"gate": "on", "child": value} for value in (1, 2, 3)] * 20
    scores = [10 if point["gate"] == "off" else 3 * point["child"] - 3 for point in points]
    result = importance((gate, child), points, scores, maximise=True)
    genes = {gene.name: gene for gene in result.genes}
    assert genes["gate"].share == pytest.approx(12.25 / 15.25, abs=1e-6)
    assert genes["child"].share == pytest.approx(3 / 15.25, abs=1e-6)
    assert genes["child"].where_active == pytest.approx(1, abs=1e-6)
    assert genes["child"].active == pytest.approx(0.5)
    assert genes["child"].effect.means == pytest.approx((0, 3, 6))
    assert genes["child"].effect.trials == (20, 20, 20)
    assert result.pairs[0].share == pytest.approx(0, abs=1e-6)  # given that the child is active its parent is fixed


def test_ishigami():
    """Ishigami & Homma 1990 with a = 7, b = 0.1 on [−π, π]³: shares .3139, .4424, 0, and of x1 with x3 .2437. A tree of
    600 points is coarse and noisy, hence the tolerance."""
    parameters = tuple(Real(name=f"x{i}", low=-math.pi, high=math.pi) for i in (1, 2, 3))
    rng = np.random.default_rng(0)
    x = rng.uniform(-math.pi, math.pi, (600, 3))
    y = np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])
    points = [dict(zip(("x1", "x2", "x3"), map(float, row), strict=True)) for row in x]
    result = importance(parameters, points, list(map(float, y)), maximise=True)
    genes = {gene.name: gene for gene in result.genes}
    assert genes["x1"].share == pytest.approx(0.3139, abs=0.08)
    assert genes["x2"].share == pytest.approx(0.4424, abs=0.12)
    assert genes["x3"].share < 0.04
    assert set(result.pairs[0].names) == {"x1", "x3"}
    assert result.pairs[0].share == pytest.approx(0.2437, abs=0.08)
    assert result.explained > 0.85
    effect = genes["x1"].effect  # given x1, the mean is sin x1 (1 + 0.1 π⁴/5) + 3.5
    expected = [math.sin(v) * (1 + 0.1 * math.pi**4 / 5) + 3.5 for v in effect.values]
    assert np.abs(np.array(effect.means) - expected).mean() < 0.6
    assert all(low <= mean <= high for low, mean, high in zip(effect.low, effect.means, effect.high, strict=True))


def test_a_logarithmic_scale_weighs_as_points_are_drawn():
    """1 where the rate is below 0.01, of 0.0001 to 1: half of the logarithm, so the variance is 1/4."""
    rate = Real(name="rate", low=1e-4, high=1.0, log=True)
    points = [{"rate": rate.at((i + 0.5) / 400)} for i in range(400)]
    tree = DecisionTreeRegressor().fit(
        Encoding((rate,)).rows(points), [float(point["rate"] < 0.01) for point in points]
    )
    partition = Partition(Encoding((rate,)), tree.tree_)
    assert partition.total == pytest.approx(0.25, abs=1e-3)
    assert partition.marginal("rate").means == pytest.approx((1, 0))
    layers = Integer(name="layers", low=1, high=3, log=True)
    weights = Encoding((layers,)).cells(layers, np.array([])).weights
    assert weights == pytest.approx(
        [math.log(3) / math.log(7), math.log(5 / 3) / math.log(7), math.log(7 / 5) / math.log(7)]
    )


NESTED = (
    Choice(name="kind", values=("conv", "pool", "none")),
    Choice(name="width", values=(8, 16, 32), when=When(parent="kind", values=("conv", "pool"))),
    Choice(name="act", values=("relu", "tanh", "gelu"), when=When(parent="width", values=(16, 32))),
    Integer(name="deep", low=1, high=3, when=When(parent="kind", values=("conv",))),
    Choice(name="opt", values=("sgd", "adam")),
    Choice(name="decay", values=(0.0, 0.1), when=When(parent="opt", values=("adam",))),
    Integer(name="size", low=2, high=4, log=True),
)


def every_point(parameters, weight=1.0, known=None):
    """All points of a discrete space with their probabilities under `sample`."""
    known = known or {}
    if not parameters:
        yield dict(known), weight
        return
    parameter, *rest = parameters
    if parameter.when is not None and known.get(parameter.when.parent) not in parameter.when.values:
        yield from every_point(rest, weight, known)
        return
    values = getattr(parameter, "values", None) or range(parameter.low, parameter.high + 1)
    shares = [1.0] * len(values)
    if isinstance(parameter, Integer) and parameter.log:
        shares = [math.log((v + 0.5) / (v - 0.5)) for v in values]
    for value, share in zip(values, shares, strict=True):
        yield from every_point(rest, weight * share / sum(shares), {**known, parameter.name: value})


@pytest.mark.parametrize("seed", range(4))
def test_conditions_are_exact_on_every_point_of_a_space(seed):
    rng = np.random.default_rng(seed)
    points = [sample(NESTED, rng) for _ in range(60)]
    encoding = Encoding(NESTED)
    forest = RandomForestRegressor(1, random_state=seed, max_features=0.5).fit(
        encoding.rows(points), rng.normal(size=60)
    )
    (tree,) = forest.estimators_
    partition = Partition(encoding, tree.tree_)
    space, weights = map(list, zip(*every_point(NESTED), strict=True))
    weights, y = np.array(weights), tree.predict(encoding.rows(space))
    assert weights.sum() == pytest.approx(1)
    mean = weights @ y
    assert partition.total == pytest.approx(weights @ (y - mean) ** 2)

    def given(**wanted):
        """Mean and weight of the points that have these values."""
        inside = np.array([all(point.get(k) == v for k, v in wanted.items()) for point in space])
        return (weights * y)[inside].sum() / weights[inside].sum(), weights[inside].sum()

    for parameter in NESTED:
        marginal = partition.marginal(parameter.name)
        values = partition.cells[parameter.name].values
        expected = [given(**{parameter.name: value}) for value in values]
        assert marginal.means == pytest.approx([m for m, _ in expected])
        assert marginal.active == pytest.approx(sum(w for _, w in expected))
        inside = np.array([parameter.name in point for point in space])
        p = weights[inside] / weights[inside].sum()
        assert partition.variance_where_active(parameter.name) == pytest.approx(p @ (y[inside] - p @ y[inside]) ** 2)
    for one, other in itertools.permutations(NESTED, 2):
        both = np.array([one.name in point and other.name in point for point in space])
        if not both.any():
            assert partition.interaction(one.name, other.name) == 0
            continue
        p = weights[both] / weights[both].sum()
        kept = [point for point, inside in zip(space, both, strict=True) if inside]

        def explained(*names, kept=kept, p=p, z=y[both]):
            """Variance of the mean given these genes."""
            groups: dict = {}
            for point, weight, value in zip(kept, p, z, strict=True):
                sums = groups.setdefault(tuple(point[name] for name in names), [0.0, 0.0])
                sums[0] += weight
                sums[1] += weight * value
            return sum(total**2 / weight for weight, total in groups.values()) - (p @ z) ** 2

        expected = explained(one.name, other.name) - explained(one.name) - explained(other.name)
        assert partition.interaction(one.name, other.name) == pytest.approx(weights[both].sum() * expected, abs=1e-12)


def test_too_few_trials_or_no_difference_say_nothing():
    points = [{"a": "low"}, {"a": "high"}] * (ENOUGH // 2)
    assert importance((A,), points, [1.0] * ENOUGH, maximise=True) is None
    assert importance((A,), points[:-1], list(range(ENOUGH - 1)), maximise=True) is None
    assert importance((A,), [{"a": "low"}] * ENOUGH, list(range(ENOUGH)), maximise=True) is None
    assert importance((A,), points, list(range(ENOUGH)), maximise=True) is not None


def test_noise_is_told_as_noise():
    rng = np.random.default_rng(0)
    points = [{"a": ("low", "high")[rng.integers(2)], "b": int(rng.integers(1, 3))} for _ in range(100)]
    result = importance((A, B), points, list(rng.normal(size=100)), maximise=False)
    assert result.explained < 0.1
