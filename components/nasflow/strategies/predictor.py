"""Search with a performance predictor: an ensemble of trees over the genes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.spaces import parameters as space
from nasflow.spaces.parameters import Choice, Parameter
from nasflow.strategies._base import Positive, Result, Share, Suggestion, ranked
from nasflow.strategies.novelty import Novelty


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """White, Neiswanger, Savani 2021, "BANANAS": an ensemble predicts the score of candidates that are mutations of the
    best points; independent Thompson sampling (a draw from the normal of each one's mean and deviation) picks one.

    Where we differ: the ensemble is of extremely randomised trees (Geurts et al. 2006) and not of neural networks.
    White et al. 2021, "How Powerful are Performance Predictors in Neural Architecture Search?", found tree ensembles as
    good for a tenth of the time, and they need no scaling and no tuning. Genes are encoded as they are: one column a
    string value, one a number, −1 where inactive. A trial that failed or broke a limit counts as the worst so far.

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
        order = ranked(history)
        if len(order) < self.startup:
            return novelty.many(n, novelty.random)
        pool = self._candidates(parameters, order[: self.elites], novelty, rng)
        found: list[Suggestion] = []
        if pool:
            mean, deviation = self._predict(parameters, history, pool, rng)
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

    def _predict(
        self,
        parameters: tuple[Parameter, ...],
        history: Sequence[Result],
        pool: Sequence[Mapping[str, Any]],
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation over the trees, float64 [candidate]."""
        from sklearn.ensemble import ExtraTreesRegressor

        known = [result.score for result in ranked(history) if result.score is not None]
        scores = [known[-1] if r.score is None or r.status != "completed" else r.score for r in history]
        features = np.array([encode(parameters, result.values) for result in history])
        forest = ExtraTreesRegressor(
            n_estimators=self.trees, max_features=0.6, n_jobs=1, random_state=int(rng.integers(2**31))
        )
        forest.fit(features, np.array(scores))
        wanted = np.array([encode(parameters, values) for values in pool], dtype=np.float32)
        each = np.stack([tree.predict(wanted, check_input=False) for tree in forest.estimators_])
        return each.mean(axis=0), each.std(axis=0)


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
