"""Search with a performance predictor: an ensemble of trees over genes, graphs and zero-cost scores."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.spec import Proxy
from nasflow.spaces import parameters as space
from nasflow.spaces.parameters import Choice, Parameter
from nasflow.strategies._base import Positive, Result, Share, Suggestion, from_study, ranked
from nasflow.strategies.novelty import Novelty
from nasflow.strategies.remembered import best_first, remembered

GraphFeatures = Callable[[Mapping[str, Any]], Mapping[str, float]]
"""Of a point of the space, by feature; what is missing is 0. Pure."""
ZeroCost = Callable[[Mapping[str, Any], Sequence[str]], Mapping[str, float | None]]
"""The proxies of these names of a point; None where one is not finite. Pure: the study's seed and rows are fixed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """White, Neiswanger, Savani 2021, "BANANAS": an ensemble predicts the score of candidates that are mutations of the
    best points; independent Thompson sampling (a draw from the normal of each one's mean and deviation) picks one.

    Where we differ: the ensemble is of extremely randomised trees (Geurts et al. 2006) and not of neural networks.
    White et al. 2021, "How Powerful are Performance Predictors in Neural Architecture Search?", found tree ensembles as
    good for a tenth of the time, and they need no scaling and no tuning. Genes are encoded as they are: one column a
    string value, one a number, −1 where inactive. What the point means, its architecture as a graph, is encoded beside
    them (`nasflow.spaces.encoding`: operation counts, paths, adjacency by operation, costs): points of one architecture
    look alike there, whatever their genes. A trial that failed or broke a limit counts as the worst so far.

    With `proxies` zero-cost scores are features, too (White et al. 2021, section 5, "OMNI": what each family of
    predictors knows complements the others). They cost a fraction of a second an architecture, so only the `scored`
    candidates that a first ensemble, without them, draws first are looked at, and compared by a second one; and the
    results so far, each once.

    Needs scikit-learn, which the trainer image has.
    """

    startup: Positive = 10
    """Results with a score, presets included, before the first prediction; until then points are random."""
    trees: Positive = 24
    """Of the ensemble."""
    candidates: Positive = 100
    """Points that are compared for each suggestion."""
    elites: Positive = 8
    """The best points, whose mutants the candidates are."""
    random_share: Share = 0.1
    """Of the candidates that are random points instead."""
    proxies: tuple[Proxy, ...] = ()
    """Zero-cost scores that are features; their CPU time is part of the search's."""
    scored: Positive = 10
    """Candidates whose proxies are computed for each suggestion."""
    graph: GraphFeatures | None = from_study(None)  # noqa: RUF009  # makes a field
    """Of a point; None: genes alone."""
    zero_cost: ZeroCost | None = from_study(None)  # noqa: RUF009  # makes a field
    """Of a point; None: there are none, `proxies` is without effect."""

    def suggest(
        self,
        parameters: tuple[Parameter, ...],
        presets: Sequence[Mapping[str, Any]],
        history: Sequence[Result],
        n: int,
        rng: np.random.Generator,
    ) -> list[Suggestion]:
        """See `nasflow.strategies._base.Strategy`."""
        novelty = Novelty(parameters, history, rng)
        order = best_first(history)
        if len(order) < self.startup:
            return novelty.many(n, novelty.random)
        pool = self._candidates(parameters, order[: self.elites], novelty, rng)
        found: list[Suggestion] = []
        if pool:
            forest = _Forest(self.trees, history)
            mean, deviation = forest.predict(*self._features(parameters, history, pool), rng)
            if self.proxies and self.zero_cost is not None:
                first = np.argsort(-rng.normal(mean, deviation), kind="stable")
                pool = [pool[place] for place in first[: max(self.scored, n)]]
                mean, deviation = forest.predict(*self._features(parameters, history, pool, proxies=True), rng)
            for _ in range(n):
                for place in np.argsort(-rng.normal(mean, deviation), kind="stable"):
                    if novelty.take(pool[place]):
                        found.append(pool[place])
                        break
        return [*found, *novelty.many(n - len(found), novelty.random)]

    def _candidates(
        self, parameters: tuple[Parameter, ...], elites: Sequence[Result], novelty: Novelty, rng: np.random.Generator
    ) -> list[Suggestion]:
        """Points that were not tried: an elite with one to three genes changed, or a random one."""
        pool = []
        for _ in range(self.candidates):
            made = novelty.random()
            if rng.random() >= self.random_share:
                elite = elites[int(rng.integers(len(elites)))]
                values: Mapping[str, Any] = elite.values
                try:
                    for _ in range(1 + int(rng.binomial(2, 0.25))):
                        values = space.mutate(parameters, values, rng)
                except space.ParameterError:  # every active parameter has a single value
                    continue
                made = Suggestion(values, parents=[elite.trial_id])
            if novelty.is_new(made):
                pool.append(made)
        return pool

    def _features(
        self,
        parameters: tuple[Parameter, ...],
        history: Sequence[Result],
        pool: Sequence[Mapping[str, Any]],
        *,
        proxies: bool = False,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of the history and of the pool, float64 [point, feature]."""
        points = [*(result.values for result in history), *pool]
        parts = [np.array([*_encoded(parameters, history), *(encode(parameters, values) for values in pool)])]
        if self.graph is not None:
            graphs = [self.graph(values) for values in points]
            names = sorted({name for graph in graphs for name in graph})
            parts.append(np.array([[graph.get(name, 0.0) for name in names] for graph in graphs]))
        if proxies and self.zero_cost is not None:
            scores = [self.zero_cost(values, self.proxies) for values in points]
            rows = [[score.get(name) for name in self.proxies] for score in scores]
            parts.append(_filled(np.array(rows, dtype=np.float64)))
        found = np.hstack(parts)
        return found[: len(history)], found[len(history) :]


class _Forest:
    """Extremely randomised trees over what has been tried."""

    def __init__(self, trees: int, history: Sequence[Result]) -> None:
        known = [result.score for result in ranked(history) if result.score is not None]
        self._trees = trees
        self._scores = np.array([known[-1] if r.score is None or r.status != "completed" else r.score for r in history])

    def predict(
        self, seen: NDArray[np.float64], wanted: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation over the trees, float64 [wanted]."""
        from sklearn.tree import ExtraTreeRegressor

        # sklearn.ensemble.ExtraTreesRegressor's trees, seed by seed, without its checks and its thread pool: half of
        # the time that so small a forest takes.
        seeds = np.random.RandomState(int(rng.integers(2**31)))
        known, rows = seen.astype(np.float32), wanted.astype(np.float32)
        each = []
        for _ in range(self._trees):
            tree = ExtraTreeRegressor(max_features=0.6, random_state=seeds.randint(np.iinfo(np.int32).max))
            each.append(tree.fit(known, self._scores, check_input=False).predict(rows, check_input=False))
        return np.mean(each, axis=0), np.std(each, axis=0)


def _encoded(parameters: tuple[Parameter, ...], history: Sequence[Result]) -> list[list[float]]:
    """`encode` of each result."""
    name = (_encoded, parameters)
    return remembered(history, name, list[list[float]], lambda rows, r: rows.append(encode(parameters, r.values)))


def _filled(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns without NaN: a proxy that says nothing of a point counts as the lowest; one that says nothing, as 0."""
    known = np.isfinite(scores)
    lowest = np.where(known, scores, np.inf).min(axis=0)
    return np.where(known, scores, np.where(np.isfinite(lowest), lowest, 0.0))


def encode(parameters: Sequence[Parameter], values: Mapping[str, Any]) -> list[float]:
    """A point as numbers: a column for each string value, 0 or 1; one for a number, 0–1, and −1 where inactive.

    >>> genes = (Choice(name="op", values=("conv", "pool")), Choice(name="width", values=(16, 32, 64)))
    >>> encode(genes, {"op": "pool", "width": 32})
    [0.0, 1.0, 0.5]
    """
    row: list[float] = []
    for parameter in parameters:
        value = values.get(parameter.name)
        if isinstance(parameter, Choice) and isinstance(parameter.values[0], str):
            row += [float(value == other) for other in parameter.values]
        else:
            row.append(-1.0 if value is None else float(parameter.unit(value)))
    return row
