"""Keras Tuner's oracles over our ledger: an adapter for our strategies, and Keras Tuner's own Hyperband and Bayesian.

Left out of Keras Tuner, each for a measured reason (research/keras_tuner.md): its files, which are not written
atomically; its retries; its rule that three failures in a row end everything; its printing.
"""

import abc
import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.src.engine.trial import Trial
from keras_tuner.src.tuners.bayesian import BayesianOptimizationOracle
from keras_tuner.src.tuners.hyperband import HyperbandOracle

from nasflow.core.errors import SpecError, UserError
from nasflow.search import hyperparameters
from nasflow.search.budget import EndReason
from nasflow.search.features import Features
from nasflow.search.ledger import Origin, Record
from nasflow.search.limits import Draft
from nasflow.search.preparation import Preparation
from nasflow.search.study import Study
from nasflow.spaces.parameters import ParameterError, key, mutate, sample
from nasflow.strategies._base import Strategy, Suggestion, Trace, ranked
from nasflow.strategies.differentiable import Differentiable, no_relaxed_form
from nasflow.strategies.novelty import can_be_listed
from nasflow.strategies.registry import check_strategy, get_strategy

logger = logging.getLogger(__name__)

_RESAMPLES = 20
_SAME_IN_A_ROW = 1_000
Response = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What to try, before it is recorded."""

    draft: Draft
    origin: Origin = "strategy"
    parents: tuple[str, ...] = ()
    control: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    inherit: str | None = None
    horizon: int | None = None


class LedgerOracle(keras_tuner.Oracle, abc.ABC):
    """An oracle whose state is the ledger: presets first, then `propose`, until the budget ends."""

    def __init__(self, study: Study, **settings: Any) -> None:
        """`settings` are the Keras Tuner oracle's own."""
        self.study = study
        self.stopped_by: EndReason = "exhausted"
        self._replayed: Record | None = None
        super().__init__(
            objective=keras_tuner.Objective("score", "max"),
            hyperparameters=hyperparameters.declare(study.parameters),
            allow_new_entries=False,
            seed=study.seed + 1,  # Keras Tuner takes 0 for "none given" and draws a seed
            **settings,
        )
        self.verbose = 0

    inherits = False
    """Whether trials may start from the weights of others."""
    preparation: Preparation | None = None
    """What must be run, after the presets, before there are suggestions."""

    @abc.abstractmethod
    def propose(self, trial_id: str) -> Proposal | None:
        """The next point that is not recorded yet; None: the space is exhausted, or trials that run must end first."""

    def replayed(self, trial_id: str, record: Record) -> None:
        """A recorded trial is handed out again: the place to bring inner state to where it was."""

    def preset_control(self) -> Mapping[str, Any]:
        """Keras Tuner's own values for a preset's trial."""
        return {}

    def view(self) -> Sequence[Trace]:
        """What the strategy tells of itself."""
        return ()

    def populate_space(self, trial_id: str) -> Response:
        """See `keras_tuner.Oracle`; called by `create_trial`, under its lock."""
        self._seed_state = self.seed + 100_003 * len(self.trials)  # a function of the trial: the same after a replay
        record = self._replayed
        if record is not None:
            if record.trial_id != trial_id:
                raise RuntimeError(f"trial {record.trial_id} of the ledger is replayed as {trial_id}")  # our defect
            if record.origin not in ("preset", "earlier"):
                self.replayed(trial_id, record)
            return {"status": "RUNNING", "values": {**record.values, **record.control}}
        if (reason := self.study.budget.ended()) is not None:
            return self._stop(reason)
        if (given := self.study.next_given()) is not None:
            draft, origin = given
            proposal: Proposal | None = Proposal(draft=draft, origin=origin, control=self.preset_control())
        else:
            proposal = self.propose(trial_id)
        if proposal is None:
            return self._stop(self.stopped_by)
        self.study.start(
            trial_id,
            proposal.draft,
            proposal.origin,
            parents=proposal.parents,
            control=proposal.control,
            inherit=proposal.inherit,
            horizon=proposal.horizon,
        )
        return {"status": "RUNNING", "values": {**proposal.draft.values, **proposal.control}}

    def next(self) -> Record | None:
        """The next trial to run, recorded as started; None: there is none now. Then `stopped_by` says why, or trials
        that still run must end first, or there will never be one.

        Points that mean an architecture and recipe tried before are answered on the way: they become part of the
        history, with the known result, and cost no trial. That is right for every strategy: what it proposed is what
        it learns about, and nothing is proposed twice. A space whose points have all been tried or answered is
        exhausted, whatever the number of its architectures. So is one too large to list where a thousand points in a
        row meant nothing new. Points that `search.filter` leaves out are recorded on the way, too.
        """
        same: list[Record] = []
        free = 0
        while True:
            trial = self.create_trial(f"trial{len(self.trials)}")
            record = self.study.ledger.get(trial.trial_id) if trial.status == "RUNNING" else None
            if record is None or record.status == "running":
                break
            free += 1
            if record.status == "same":
                same.append(record)
            if self.study.ledger.has_ended(record.trial_id):
                self.settle(record.trial_id)
            if free % _SAME_IN_A_ROW == 0 and not can_be_listed(self.study.parameters):
                record = None
                break
        if same:
            first = f"the first, {same[0].trial_id}, is the same architecture as trial {same[0].same_as}"
            logger.info("%d suggested points were known already and were not trained: %s", len(same), first)
        return record

    def replay(self) -> None:
        """Brings a new oracle to where the ledger is: trials are created and ended again in the order of its lines.
        Those that were running still are."""
        for kind, record in self.study.ledger.steps:
            if record.status == "infeasible":
                continue
            if kind == "started":
                self._replayed = record
                try:
                    self.create_trial(f"trial{len(self.trials)}")
                finally:
                    self._replayed = None
            elif self._open(record.trial_id):  # else it was settled with the one it is the same as
                self.settle(record.trial_id)

    def settle(self, trial_id: str) -> None:
        """Ends a trial as the ledger says, and those that waited for its result. To Keras Tuner every trial completes:
        one that failed has the worst score, so that surrogates learn from it and no bracket waits for it."""
        self._settle(trial_id)
        for record in self.study.ledger.records:
            if record.same_as == trial_id and self._open(record.trial_id):
                self._settle(record.trial_id)

    def _open(self, trial_id: str) -> bool:
        return trial_id in self.trials and self.trials[trial_id].status == "RUNNING"

    def _settle(self, trial_id: str) -> None:
        trial: Trial = self.trials[trial_id]
        score = self.study.score_of(trial_id)
        if score is None:
            score = self.study.worst_score(trial_id)
        trial.status = "COMPLETED"
        self.update_trial(trial.trial_id, {"score": float(score)})
        self.end_trial(trial)

    def feasible(self, values: Mapping[str, Any], rng: np.random.Generator) -> Draft | None:
        """A point within the limits at or near `values`; None where nothing new was found.

        Raises:
            UserError: the constraints are impossible, and no trial has been possible so far either.
        """
        tried = self.study.tried()
        for _ in range(_RESAMPLES):
            try:
                draft = self.study.limits.shrink(values, rng)
            except UserError:
                if self.study.ledger.trained:
                    return None
                raise
            if key(draft.values) not in tried:
                return draft
            values = hyperparameters.point(self.study.parameters, {}, rng)
        return None

    def save(self) -> None:
        """Nothing: the ledger is all there is."""

    def reload(self) -> None:
        """Nothing: see `replay`."""

    def _save_trial(self, trial: Trial) -> None:
        """Nothing: see `save`."""

    def _check_consecutive_failures(self) -> None:
        """Nothing: `nasflow.search.engine` decides when failures end a search."""

    def _stop(self, reason: EndReason) -> Response:
        self.stopped_by = reason
        return {"status": "STOPPED"}


class StrategyOracle(LedgerOracle):
    """Adapts a `nasflow.strategies` Strategy."""

    def __init__(self, study: Study, strategy: Strategy) -> None:
        self._strategy = strategy
        if isinstance(strategy, Differentiable):
            relaxed = study.space.relaxed()
            if relaxed is None:
                raise SpecError([no_relaxed_form(study.space.name)])
            self.preparation = Preparation(study, strategy, relaxed)
        self.inherits = bool(getattr(strategy, "inherits", False))
        super().__init__(study)

    def propose(self, trial_id: str) -> Proposal | None:
        """Asks until a suggestion is within the limits, 20 times at most; those that are not become part of the
        history. The last one is then shrunk until it is."""
        study = self.study
        if self.preparation is not None and not self.preparation.done:
            return None
        for _ in range(_RESAMPLES):
            rng = study.rng()
            suggestion = self._fresh(rng)
            if suggestion is None:
                return None
            more = _more(suggestion)
            draft = study.limits.draft(hyperparameters.point(study.parameters, suggestion, rng))
            epochs = int(more.get("control", {}).get("tuner/epochs", study.epochs))
            late, slow = "", ""
            if draft.excess == 0:
                late, slow = study.too_long(draft, epochs), study.too_slow(draft, study.limits.latency_ms)
                if not late and not slow:
                    return Proposal(draft=draft, **more)
                draft = dataclasses.replace(draft, problem=slow or late)
            study.reject(draft, more.get("origin", "strategy"), more["parents"])
        if slow:
            return None
        if late:
            self.stopped_by = "hours"
            return None
        shrunk = self.feasible(draft.values, study.rng())
        return None if shrunk is None else Proposal(draft=shrunk, **{**more, "origin": "shrunk"})

    def view(self) -> Sequence[Trace]:
        """Of a strategy that has a `view`."""
        view = getattr(self._strategy, "view", None)
        return view(self.study.parameters, self.study.history) if view is not None else ()

    def _fresh(self, rng: np.random.Generator) -> Mapping[str, Any] | None:
        """The first suggestion that no worker is busy with. A strategy knows only what has ended; it is asked for one
        more than there are trials that run, all different, so that one of them must be another."""
        study = self.study
        busy = (*study.ledger.running, *study.ledger.waiting)
        running = {(key(r.values), r.control.get("tuner/epochs")) for r in busy}
        wanted = len(running) + 1
        # One that lets trials go on needs their weights, which an earlier study did not leave.
        history = study.history if self.inherits else study.known
        strategy = self._strategy if self.preparation is None else self.preparation.strategy
        suggestions = strategy.suggest(study.parameters, study.space.presets(), history, wanted, rng)
        for suggestion in suggestions:
            epochs = suggestion.epochs if isinstance(suggestion, Suggestion) else None
            if (key(suggestion), epochs) not in running:
                return suggestion
        return None


def _more(suggestion: Mapping[str, Any]) -> dict[str, Any]:
    """What a suggestion says beside its values; its epochs as Keras Tuner's Hyperband hands them to its tuner."""
    if not isinstance(suggestion, Suggestion):
        return {"parents": ()}
    return {
        "parents": suggestion.parents,
        "control": {} if suggestion.epochs is None else {"tuner/epochs": suggestion.epochs},
        "inherit": suggestion.inherit,
        "horizon": suggestion.horizon,
        "origin": suggestion.origin,
    }


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
    parameters, where it took tens. Whether that finds better points was not measured.
    """

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

    def _vector(self, point: Mapping[str, Any]) -> list[float]:
        """As Keras Tuner has it of a trial: inactive parameters at their defaults."""
        return [hp.value_to_prob(point.get(hp.name, hp.default)) for hp in self._nonfixed_space()]


def make_oracle(
    strategy: str, study: Study, *, settings: Mapping[str, Any] = MappingProxyType({}), tie: float = 0.0
) -> LedgerOracle:
    """The oracle of `search.strategy` with `search.settings`, brought to where the study's ledger is. `tie`:
    differences of the score up to this are noise.

    Raises:
        SpecError: no such strategy, or no such settings.
    """
    check_strategy(strategy, settings)
    oracle: LedgerOracle
    if strategy == "hyperband":
        oracle = Hyperband(study)
    elif strategy == "bayesian":
        oracle = Bayesian(study)
    else:
        features = study.features or Features(study.space, study.inputs, study.output, study.ledger)
        facts = {"graph": features.graph, "zero_cost": features.zero_cost if study.features else None}
        oracle = StrategyOracle(study, get_strategy(strategy, settings, tie=tie, epochs=study.epochs, **facts))
    oracle.replay()
    return oracle
