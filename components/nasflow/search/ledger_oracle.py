"""A Keras Tuner oracle over our ledger: what every way to propose points shares.

Left out of Keras Tuner, each for a measured reason (research/keras_tuner.md): its files, which are not written
atomically; its retries; its rule that three failures in a row end everything; its printing.
"""

import abc
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.src.engine.trial import Trial

from nasflow.core.errors import UserError
from nasflow.search import hyperparameters
from nasflow.search.limits import Draft
from nasflow.search.preparation import Preparation
from nasflow.search.record import EndReason, Origin, Record
from nasflow.search.study import Study
from nasflow.spaces.parameters import key
from nasflow.strategies._base import Trace
from nasflow.strategies.novelty import can_be_listed

logger = logging.getLogger(__name__)

RESAMPLES = 20
"""Points that are asked for before one is changed until it is within the limits."""
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
        if (reason := self.study.ended()) is not None:
            return self._stop(reason)
        if (given := self.study.next_given()) is not None:
            draft, origin = given
            proposal: Proposal | None = Proposal(draft=draft, origin=origin, control=self.preset_control())
        else:
            self.stopped_by = "exhausted"  # unless `propose` knows better
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
            if record.status == "infeasible" or record.look_of is not None:
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
        for record in self.study.ledger.twins(trial_id):
            if self._open(record.trial_id):
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
        for _ in range(RESAMPLES):
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
