"""Which genes the score depends on: functional ANOVA over a random forest (Hutter, Hoos, Leyton-Brown 2014).

The forest is fitted to (point, score); each of its trees then says exactly how much of its variance over the space a
gene explains alone, and two genes together (`nasflow.search.marginals`). Shares are means over the trees; their
deviation over the trees says how far to trust them, and so does R² on trials that a tree has not seen. A tree that
follows noise puts it into interactions of many genes: with few trials shares of single genes come out too small.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.search.marginals import Encoding, Partition
from nasflow.spaces.parameters import Choice, Parameter

ENOUGH = 12
"""Trials below which nothing is said."""
_TREES = 48
_SMALLEST_LEAF = 2
_MOST_LEAVES = 400
"""Of a tree: bounds the time, whatever the number of trials."""
_GRID = 25
"""Places at which the effect of a gene with many values is shown."""
_PAIRED = 12
"""Genes whose pairs are looked at: those that explain most, alone or in trees' splits."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The mean score by a gene's value, over all other genes as random points have them, where the gene is active."""

    values: tuple[Any, ...]
    """Values, or places on the scale."""
    means: tuple[float, ...]
    low: tuple[float, ...]
    """The 5th percentile over the trees."""
    high: tuple[float, ...]
    """The 95th."""
    trials: tuple[int, ...]
    """How many had each value; empty for a scale."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gene:
    """What one gene explains."""

    name: str
    share: float
    """Of the variance over all random points, 0–1: what it explains alone."""
    deviation: float
    """Standard deviation of `share` over the trees."""
    where_active: float
    """The same share among the points where it is active: more than `share` for a gene that seldom is."""
    active: float
    """The share of random points where it is active."""
    top_half: float
    """As `share`, with scores below the median counted as the median: what matters among the better points."""
    effect: Effect


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What two genes explain together, beyond what each explains alone."""

    names: tuple[str, str]
    share: float
    deviation: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """Of all genes that took more than one value, the most important first."""

    genes: tuple[Gene, ...]
    pairs: tuple[Pair, ...]
    trials: int
    explained: float
    """R² of the forest on trials that the trees in question have not seen. Near or below 0: it has learnt nothing."""


def importance(
    parameters: Sequence[Parameter], points: Sequence[Mapping[str, Any]], scores: Sequence[float], *, maximise: bool
) -> Importance | None:
    """The importance of every gene that varied; None where there are fewer than 12 trials, or all scores are the same.

    Args:
        parameters: the space, parents before children.
        points: values of the active genes of each trial.
        scores: finite; of trials that were trained equally long, or the difference is taken for the genes'.
        maximise: whether more is better.
    """
    varied = [p.name for p in parameters if len({point[p.name] for point in points if p.name in point}) > 1]
    y = np.array(scores, np.float64)
    if len(y) < ENOUGH or not varied or np.ptp(y) == 0:
        return None
    encoding = Encoding(parameters)
    rows = encoding.rows(points)
    forest, explained = _forest(rows, y)
    trees = [Partition(encoding, tree.tree_) for tree in forest.estimators_]
    totals = np.array([tree.total for tree in trees])
    by_name = {parameter.name: parameter for parameter in parameters}
    middle = np.median(y)
    better = np.maximum(y, middle) if maximise else np.minimum(y, middle)
    halves = (
        [Partition(encoding, tree.tree_) for tree in _forest(rows, better)[0].estimators_] if np.ptp(better) else []
    )
    told = (_gene(by_name[name], trees, totals, halves, points) for name in varied)
    genes = sorted((gene for gene in told if gene is not None), key=lambda gene: -gene.share)
    pairs = _pairs([gene.name for gene in genes], trees, totals, forest, encoding)
    return Importance(genes=tuple(genes), pairs=tuple(pairs), trials=len(y), explained=explained)


def _forest(rows: NDArray[np.float32], y: NDArray[np.float64]) -> tuple[Any, float]:
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(
        _TREES, min_samples_leaf=_SMALLEST_LEAF, max_leaf_nodes=_MOST_LEAVES, random_state=0, n_jobs=1
    ).fit(rows, y)
    unseen = np.zeros(len(y))
    votes = np.zeros(len(y))
    for tree, drawn in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        out = np.setdiff1d(np.arange(len(y)), drawn)
        if len(out):
            unseen[out] += tree.predict(rows[out])
            votes[out] += 1
    known = votes > 0
    error = float(((unseen[known] / votes[known] - y[known]) ** 2).sum())
    spread = float(((y[known] - y[known].mean()) ** 2).sum())
    return forest, 1 - error / spread if spread > 0 else float("nan")


def _gene(
    parameter: Parameter,
    trees: Sequence[Partition],
    totals: NDArray[np.float64],
    halves: Sequence[Partition],
    points: Sequence[Mapping[str, Any]],
) -> Gene | None:
    marginals = [tree.marginal(parameter.name) for tree in trees]
    active = marginals[0].active
    if active <= 0:
        return None
    alone = np.array([marginal.variance for marginal in marginals])
    inside = np.array([tree.variance_where_active(parameter.name) for tree in trees])
    shares = _ratio(active * alone, totals)
    top = [tree.marginal(parameter.name) for tree in halves]
    capped = _ratio(np.array([active * marginal.variance for marginal in top]), np.array([t.total for t in halves]))
    return Gene(
        name=parameter.name,
        share=float(shares.mean()),
        deviation=float(shares.std()),
        where_active=float(_ratio(alone, inside).mean()),
        active=active,
        top_half=float(capped.mean()) if len(capped) else 0.0,
        effect=_effect(parameter, trees, [marginal.means for marginal in marginals], points),
    )


def _effect(
    parameter: Parameter,
    trees: Sequence[Partition],
    means: Sequence[NDArray[np.float64]],
    points: Sequence[Mapping[str, Any]],
) -> Effect:
    known = trees[0].cells[parameter.name].values
    counts: tuple[int, ...] = ()
    if known is not None:
        curves = np.array(means)
        counts = tuple(sum(point.get(parameter.name) == value for point in points) for value in known)
        values = known
    else:
        assert not isinstance(parameter, Choice), "the values of a choice are always few"
        grid = (np.arange(_GRID) + 0.5) / _GRID
        values = tuple(parameter.at(float(place)) for place in grid)
        rows = []
        for tree, mean in zip(trees, means, strict=True):
            edges = tree.cells[parameter.name].weights.cumsum()[:-1]
            rows.append(mean[np.searchsorted(edges, grid, side="left")])
        curves = np.array(rows)
    low, high = np.percentile(curves, [5, 95], axis=0)
    return Effect(values=values, means=tuple(curves.mean(axis=0)), low=tuple(low), high=tuple(high), trials=counts)


def _pairs(
    names: Sequence[str], trees: Sequence[Partition], totals: NDArray[np.float64], forest: Any, encoding: Encoding
) -> list[Pair]:
    used = forest.feature_importances_  # also tells of genes that act only together with another
    weight = {name: float(used[encoding.columns[name]].sum()) for name in names}
    chosen = sorted(names, key=lambda name: -weight[name])[:_PAIRED]
    found = []
    for one, other in combinations(sorted(chosen, key=names.index), 2):
        shares = _ratio(np.array([tree.interaction(one, other) for tree in trees]), totals)
        found.append(Pair(names=(one, other), share=float(shares.mean()), deviation=float(shares.std())))
    return sorted(found, key=lambda pair: -pair.share)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """A tree without any variance explains nothing."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 1e-12)
