"""One study: its space, its limits, its ledger and its budget, as the oracle and the tuner share them."""

import dataclasses
import math
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from nasflow.core.metrics import maximised
from nasflow.core.spec import FilterSection, Metric, Objective
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.search.budget import Budget
from nasflow.search.cost_model import CostModel
from nasflow.search.features import Features
from nasflow.search.filtering import left_out
from nasflow.search.finalists import Finalists, SecondLooks
from nasflow.search.ledger import Ledger
from nasflow.search.limits import Draft, Limits
from nasflow.search.past import Past
from nasflow.search.record import SUGGESTED, EndReason, Origin, Record
from nasflow.search.warm_start import WarmStart
from nasflow.spaces._base import Space
from nasflow.spaces.parameters import Parameter, key
from nasflow.strategies._base import Key, Result

_PREDICTS = 3
_MEASURES = 5
_SURELY = 1.5


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
    objectives: tuple[Objective, ...] = ()
    """More than one: a Pareto search."""
    cost_rows: int = 0
    """Rows that an epoch of one training shows; 0: nothing is predicted."""
    trainings: int = 1
    """Of a trial: seeds × repeats × folds."""
    first: tuple[Mapping[str, Any], ...] = ()
    """Points that come before the presets; valid in the space."""
    warm: WarmStart = dataclasses.field(default_factory=WarmStart)
    """Points that come after the presets, and results of earlier studies."""
    features: Features | None = None
    """What is known of points before they are trained; None: nothing."""
    filter: FilterSection | None = None
    """Needs `features`."""
    second_looks: SecondLooks = dataclasses.field(default_factory=SecondLooks)
    """None, unless asked for."""
    past: Past = dataclasses.field(init=False, repr=False, compare=False)
    """What its trials have taught so far."""
    finalists: Finalists = dataclasses.field(init=False, repr=False, compare=False)
    """Who is looked at once more."""

    def __post_init__(self) -> None:
        """Reads nothing yet."""
        past = Past(self.ledger, sign=self.sign, prior=self.warm.prior, objectives=self.objectives)
        object.__setattr__(self, "past", past)
        finalists = Finalists(self.ledger, self.budget, self.second_looks, sign=self.sign)
        object.__setattr__(self, "finalists", finalists)

    def ended(self) -> EndReason | None:
        """Why no further suggestion may start; None: it may. What second looks will need is left to them."""
        closed = self.ledger.closed
        return closed.reason if closed is not None else self.budget.ended(self.finalists.kept())

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
        return self.past.history

    @property
    def known(self) -> list[Result]:
        """`history` after the results of earlier studies; a point that was tried here, too, counts as it went here."""
        return self.past.known

    def score_of(self, trial_id: str) -> float | None:
        """As strategies see it now; None where there is none."""
        return self.past.score(trial_id)

    def cost_model(self) -> CostModel:
        """Calibrated by the trials that have ended."""
        return self.past.cost_model(self.cost_rows)

    def predicted(self, draft: Draft, epochs: int) -> float | None:
        """Seconds that a trial will take; None where nothing is known yet."""
        if not self.cost_rows or not draft.costs:
            return None
        model = self.cost_model()
        return model.seconds(draft.costs, epochs=epochs, rows=self.cost_rows) * self.trainings if model.trials else None

    def too_slow(self, draft: Draft, limit: float | None) -> str:
        """Why a network is surely slower than `limit` milliseconds; or empty. A line through the latencies measured in
        trials, on multiply-adds and activations, knows from five of them on; it must be half over the limit, because
        only the export that will be served decides (`nasflow.search.returned`)."""
        if limit is None or not draft.costs or len(seen := self.past.latencies) < _MEASURES:
            return ""
        x = seen[:, :3]
        scale = np.maximum(x.max(0), 1.0)
        weights, *_ = np.linalg.lstsq(x / scale, seen[:, 3], rcond=None)
        point = np.array([1.0, draft.costs["flops"], draft.costs["activations"]]) / scale
        expected = float(point @ weights)
        if expected <= _SURELY * limit:
            return ""
        return f"predicted latency_ms {expected:.3g} > {_SURELY:g} × constraints.latency_ms {limit:g}"

    def too_long(self, draft: Draft, epochs: int) -> str:
        """Why a trial that is predicted to get through less than half of its epochs is not worth its start; or empty.
        Below three finished trials nobody can say."""
        seconds = self.predicted(draft, epochs)
        if seconds is None or self.cost_model().trials < _PREDICTS or self.budget.has_time_for(seconds / 2):
            return ""
        return f"predicted to take {seconds:.0f} s, of which less than half is left"

    @property
    def best(self) -> Record | None:
        """The completed trial with the best score; the earlier one among equals. Second looks do not count."""
        return self.past.best

    def worst_score(self, before: str) -> float:
        """What Keras Tuner's surrogates are told of trial `before`, which has no score; more is better: what knowing
        nothing would get, or twice that loss, and never more than the worst score of the trials that ended earlier."""
        if len(self.objectives) > 1:  # scores are ranks: none is as low as this one
            return -2.0 - len(self.ledger.ended)
        std = self.output.std
        losses = {"log_loss": math.log(max(2, self.output.classes or 2)), "mse": std**2, "rmse": std, "mae": std}
        return min(-2 * losses.get(self.metric, 0.0), self.past.worst(before))

    def rng(self) -> np.random.Generator:
        """A function of the seed and of how many trials have started: the same after a crash, and another one for each
        of several workers that ask while no trial ends."""
        return np.random.default_rng([self.seed, len(self.ledger.records)])

    def tried(self) -> Set[Key]:
        """Keys of all points that were recorded."""
        return self.past.keys

    def same_as(
        self, draft: Draft, control: Mapping[str, Any], *, inherit: str | None = None, horizon: int | None = None
    ) -> str | None:
        """The trial that was, or is being, trained for this very result: the same architecture and recipe (by
        `Architecture.identity`), epochs and schedule, from the weights of the same trial. None: there is none."""
        if draft.architecture is None:
            return None
        wanted = self._training(control, inherit, horizon)
        for record in self.past.trained(draft.architecture.identity):
            if self._training(record.control, record.inherit, record.horizon) == wanted:
                return record.trial_id
        return None

    def trained_as(self, trial_id: str) -> str:
        """The trial that has the weights of this one: itself, unless it was the same as another."""
        record = self.ledger.get(trial_id)
        return trial_id if record is None or record.same_as is None else record.same_as

    def _training(self, control: Mapping[str, Any], inherit: str | None, horizon: int | None) -> tuple[Any, ...]:
        epochs = min(int(control.get("tuner/epochs", self.epochs)), self.epochs)
        return epochs, horizon or epochs, None if inherit is None else self.trained_as(inherit)

    def next_given(self) -> tuple[Draft, Origin] | None:
        """The first point to start at, preset, or best point of an earlier study, that was not tried and is within the
        limits; those beyond them are recorded on the way."""
        presets: list[tuple[Mapping[str, Any], Origin]]
        presets = [(point, "preset") for point in (*self.first, *self.space.presets())]
        for point, origin in (*presets, *((point, "earlier") for point in self.warm.points)):
            if key(point) in self.tried():
                continue
            draft = self.limits.draft(point)
            if draft.excess == 0:
                return draft, origin
            self.reject(draft, origin)
        return None

    def reject(self, draft: Draft, origin: Origin, parents: tuple[str, ...] = ()) -> None:
        """Records a point that breaks a limit; it costs no trial."""
        number = self.ledger.count("infeasible")
        self._start(f"x{number:04d}", draft, origin, parents, {}, infeasible=draft.problem or "it breaks a limit")

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
        """Records that a trial begins; or, where it would be trained for a result that another trial has or will have,
        that it is the same; or that `search.filter` leaves it out."""
        control = dict(control or {})
        same_as = self.same_as(draft, control, inherit=inherit, horizon=horizon)
        inherit = None if inherit is None else self.trained_as(inherit)
        filtered = ""
        if same_as is None and self.filter is not None and self.features is not None and origin in SUGGESTED:
            filtered = left_out(draft, self.filter, self.past, self.features)
        self._start(
            *(trial_id, draft, origin, parents, control),
            inherit=inherit,
            horizon=horizon,
            same_as=same_as,
            filtered=filtered,
        )

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
        same_as: str | None = None,
        filtered: str = "",
        infeasible: str = "",
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
            costs=draft.costs,
            predicted_seconds=self.predicted(draft, int(control.get("tuner/epochs", self.epochs))),
            inherit=inherit,
            horizon=horizon,
            same_as=same_as,
            filtered=filtered,
        )
        self.ledger.start(record, infeasible=infeasible)
