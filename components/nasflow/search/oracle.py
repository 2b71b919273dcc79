"""Which oracle a search asks: an adapter for our strategies, or one of Keras Tuner's own."""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from nasflow.core.errors import SpecError
from nasflow.search import hyperparameters
from nasflow.search.features import Features
from nasflow.search.keras_tuner_oracles import Bayesian, Hyperband
from nasflow.search.ledger_oracle import RESAMPLES, LedgerOracle, Proposal
from nasflow.search.preparation import Preparation
from nasflow.search.study import Study
from nasflow.spaces.parameters import key
from nasflow.strategies._base import Strategy, Suggestion, Trace
from nasflow.strategies.differentiable import Differentiable, no_relaxed_form
from nasflow.strategies.registry import check_strategy, get_strategy


class StrategyOracle(LedgerOracle):
    """Adapts a `nasflow.strategies` Strategy."""

    def __init__(self, study: Study, strategy: Strategy) -> None:
        self._strategy = strategy
        if isinstance(strategy, Differentiable):
            relaxed = strategy.relaxation(study.space.relaxed)
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
        for _ in range(RESAMPLES):
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
