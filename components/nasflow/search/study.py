"""One study: its space, its limits, its ledger and its budget, as the oracle and the tuner share them."""

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nasflow.core.metrics import maximised
from nasflow.core.spec import Metric
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.search.budget import Budget
from nasflow.search.ledger import Ledger, Origin, Record
from nasflow.search.limits import Draft, Limits
from nasflow.spaces._base import Space
from nasflow.spaces.parameters import Parameter, key
from nasflow.strategies._base import Result


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What a search works on. All that changes in it is the ledger."""

    space: Space
    limits: Limits
    ledger: Ledger
    budget: Budget
    metric: Metric
    inputs: InputSpec
    output: OutputSpec
    seed: int

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The space's."""
        return self.space.parameters()

    @property
    def epochs(self) -> int:
        """Of one trial at most."""
        return self.budget.epochs

    @property
    def sign(self) -> int:
        """What makes more of the metric better."""
        return 1 if maximised(self.metric) else -1

    @property
    def history(self) -> list[Result]:
        """The trials that have ended, as strategies see them."""
        return [record.result(self.sign) for record in self.ledger.ended]

    @property
    def best(self) -> Record | None:
        """The completed trial with the best score; the earlier one among equals."""
        completed = [record for record in self.ledger.ended if record.score is not None]
        return min(completed, key=self._order, default=None)

    def worst_score(self, before: str) -> float:
        """What Keras Tuner's surrogates are told of trial `before`, which has no score; more is better: what knowing
        nothing would get, or twice that loss, and never more than the worst score of the trials that ended earlier."""
        std = self.output.std
        losses = {"log_loss": math.log(max(2, self.output.classes or 2)), "mse": std**2, "rmse": std, "mae": std}
        ignorant = -2 * losses.get(self.metric, 0.0)
        earlier = itertools.takewhile(lambda record: record.trial_id != before, self.ledger.ended)
        return min([ignorant, *(self.sign * record.score for record in earlier if record.score is not None)])

    def rng(self) -> np.random.Generator:
        """A function of the seed and of how many trials have started: the same after a crash, and another one for each
        of several workers that ask while no trial ends."""
        return np.random.default_rng([self.seed, len(self.ledger.records)])

    def tried(self) -> set[Any]:
        """Keys of all points that were recorded."""
        return {key(record.values) for record in self.ledger.records}

    def next_preset(self) -> Draft | None:
        """The first preset that was not tried and is within the limits; those beyond them are recorded on the way."""
        for preset in self.space.presets():
            if key(preset) in self.tried():
                continue
            draft = self.limits.draft(preset)
            if draft.excess == 0:
                return draft
            self.reject(draft, "preset")
        return None

    def reject(self, draft: Draft, origin: Origin, parents: tuple[str, ...] = ()) -> None:
        """Records a point that breaks a limit; it costs no trial."""
        number = sum(record.status == "infeasible" for record in self.ledger.records)
        self._start(f"x{number:04d}", draft, origin, parents, {})
        self.ledger.end(f"x{number:04d}", "infeasible", message=draft.problem)

    def start(
        self,
        trial_id: str,
        draft: Draft,
        origin: Origin,
        *,
        parents: tuple[str, ...] = (),
        control: Mapping[str, Any] | None = None,
        inherit: str | None = None,
        horizon: int | None = None,
    ) -> None:
        """Records that a trial begins."""
        self._start(trial_id, draft, origin, parents, dict(control or {}), inherit=inherit, horizon=horizon)

    def _start(
        self,
        trial_id: str,
        draft: Draft,
        origin: Origin,
        parents: tuple[str, ...],
        control: dict[str, Any],
        *,
        inherit: str | None = None,
        horizon: int | None = None,
    ) -> None:
        record = Record(
            trial_id=trial_id,
            values=draft.values,
            origin=origin,
            parents=parents,
            control=control,
            architecture_id=draft.architecture.identity if draft.architecture else "",
            parameters=draft.parameters,
            flops=draft.flops,
            inherit=inherit,
            horizon=horizon,
        )
        self.ledger.start(record)

    def _order(self, record: Record) -> float:
        return -self.sign * record.score if record.score is not None else math.inf
