"""Keras Tuner's own oracles, Hyperband and Bayesian optimisation, over our ledger."""

import contextlib
import heapq
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras_tuner.src.engine.trial import Trial
from keras_tuner.src.tuners.bayesian import BayesianOptimizationOracle
from keras_tuner.src.tuners.hyperband import HyperbandOracle
from numpy.typing import NDArray

from nasflow.search import hyperparameters
from nasflow.search.ledger_oracle import LedgerOracle, Proposal
from nasflow.search.record import Record
from nasflow.search.study import Study
from nasflow.spaces.parameters import ParameterError, key, mutate, sample
from nasflow.strategies._base import ranked


class Hyperband(LedgerOracle, HyperbandOracle):
    """Keras Tuner's Hyperband (Li et al. 2018), sweep after sweep until the budget ends.

    A promoted point is trained again from scratch, for its new number of epochs: our recipes anneal the learning rate
    over the whole run, so the weights of a shorter run are no start for a longer one (and Keras Tuner's promotion loses
    the optimiser's state). Presets run beside the brackets, with all epochs.
    """

    def __init__(self, study: Study) -> None:
        super().__init__(study, max_epochs=study.epochs, factor=3, hyperband_iterations=None)

    def propose(self, trial_id: str) -> Proposal | None:
        """The next of a bracket; a random point that breaks a limit is shrunk."""
        response = HyperbandOracle.populate_space(self, trial_id)
        if response["status"] != "RUNNING":
            return None
        values, control = hyperparameters.split(response["values"])
        rng = self.study.rng()
        draft = self.study.limits.draft(hyperparameters.point(self.study.parameters, values, rng))
        promoted = control.get("tuner/trial_id")
        if draft.excess == 0:
            return Proposal(draft=draft, control=control, parents=(promoted,) if promoted else ())
        shrunk = self.feasible(draft.values, rng)
        return None if shrunk is None else Proposal(draft=shrunk, origin="shrunk", control=control)

    def replayed(self, trial_id: str, record: Record) -> None:
        """Fills the brackets as they were."""
        HyperbandOracle.populate_space(self, trial_id)

    def preset_control(self) -> Mapping[str, Any]:
        """All epochs, in no bracket."""
        return {"tuner/epochs": self.study.epochs, "tuner/initial_epoch": 0, "tuner/bracket": 0, "tuner/round": 0}


class Bayesian(LedgerOracle, BayesianOptimizationOracle):
    """Keras Tuner's Gaussian process (Matérn 5/2, its scale of points and its lower confidence bound).

    What is not Keras Tuner's: how the bound is minimised. It starts L-BFGS from 50 random vectors, with gradients by
    differences, one point at a time: some 10,000 predictions (by count) a proposal, and then its choice may be a point
    that was tried or that breaks a limit. Here 600 points of the space, a third of them changes to the best ones, are
    predicted at once, with inactive parameters as the process has learned them; the best one that is new and within
    the limits is proposed. The kernel's length scale is fitted from 3 starts, not 21: 0.1 CPU-seconds a proposal for 20
    parameters, where it took tens. Whether that finds better points was not measured. Fitting takes the cube of the
    number of trials, so the process learns from 300 of them at most, the best 200 and the last 100.
    """

    trials: dict[str, Trial]

    _BEST, _LAST = 200, 100
    _DRAWN, _CHANGED, _ELITES, _COUNTED, _STARTS = 400, 200, 5, 60, 2

    def __init__(self, study: Study) -> None:
        trials = study.budget.section.trials or 40
        dimensions = len(study.parameters)
        points = min(3 * dimensions, max(4, trials // 3))  # Keras Tuner's 3 × dimensions would eat a whole small budget
        super().__init__(study, num_initial_points=points, max_trials=None)  # its own limit would be 10
        self.gpr.n_restarts_optimizer = self._STARTS

    def propose(self, trial_id: str) -> Proposal | None:
        """What the surrogate likes best; where 60 points that it likes break a limit or are known, the best of them is
        shrunk."""
        rng = self.study.rng()
        self._random_state = np.random.RandomState((self.seed + 100_003 * len(self.trials)) % 2**32)
        if sum(trial.status == "COMPLETED" for trial in self.trials.values()) < self.num_initial_points:
            values = self._random_values()
            points = [] if values is None else [hyperparameters.point(self.study.parameters, values, rng)]
        else:
            points = self._liked(rng)
        tried = self.study.tried()
        for point in points[: self._COUNTED]:
            if key(point) not in tried and (draft := self.study.limits.draft(point)).excess == 0:
                return Proposal(draft=draft)
        if not points:
            return None
        shrunk = self.feasible(points[0], rng)
        return None if shrunk is None else Proposal(draft=shrunk, origin="shrunk")

    def _liked(self, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Points of the space, the lowest confidence bound (of minus the score) first."""
        parameters = self.study.parameters
        points = [sample(parameters, rng) for _ in range(self._DRAWN)]
        elites = [result.values for result in ranked(self.study.history)[: self._ELITES]]
        for _ in range(self._CHANGED if elites else 0):
            point = dict(elites[int(rng.integers(len(elites)))])
            with contextlib.suppress(ParameterError):  # nothing to change: every active parameter has a single value
                for _ in range(int(rng.integers(1, 4))):
                    point = mutate(parameters, point, rng)
            points.append(point)
        with warnings.catch_warnings():  # scikit-learn's word on a length scale at its bound is for nobody here
            warnings.simplefilter("ignore")
            x, y = self._vectorize_trials()
            self.gpr.fit(np.nan_to_num(x), np.nan_to_num(y))
            mean, deviation = self.gpr.predict(np.array([self._vector(point) for point in points]), return_std=True)
        return [points[place] for place in np.argsort(mean - self.beta * deviation, kind="stable")]

    def _vectorize_trials(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Keras Tuner's, of those trials that the process learns from."""
        whole: dict[str, Trial] = self.trials
        if len(whole) > self._BEST + self._LAST:
            order = list(whole.values())
            scored, last = [trial for trial in order if trial.score is not None], order[-self._LAST :]
            best = {trial.trial_id for trial in heapq.nlargest(self._BEST, scored, key=lambda trial: trial.score)}
            best |= {trial.trial_id for trial in last} | {trial.trial_id for trial in self.ongoing_trials.values()}
            self.trials = {trial_id: trial for trial_id, trial in whole.items() if trial_id in best}
        try:
            x, y = super()._vectorize_trials()
        finally:
            self.trials = whole
        return x, y

    def _vector(self, point: Mapping[str, Any]) -> list[float]:
        """As Keras Tuner has it of a trial: inactive parameters at their defaults."""
        return [hp.value_to_prob(point.get(hp.name, hp.default)) for hp in self._nonfixed_space()]
