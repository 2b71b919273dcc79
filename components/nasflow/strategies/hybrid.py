"""Several strategies in one study: one after the other, or mixed."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from nasflow.spaces.parameters import Parameter
from nasflow.strategies._base import Result, Strategy, Trace, from_study
from nasflow.strategies.novelty import with_taken
from nasflow.strategies.predictor import GraphFeatures, ZeroCost

_REFUSED = ("asha", "pasha", "hybrid", "hyperband", "bayesian", "differentiable")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Hybrid:
    """Each suggestion comes from one of `parts`, which all see the whole history: what one finds, the others build on.

    The default is the portfolio of research/peers.md §4: mostly edits of what is good (evolution, local search), some
    model-based proposals, some chance. Portfolios guard against the one strategy that fails on a space (Leyton-Brown et
    al. 2003; for black-box optimisers Awad, Shala et al. 2020, "Squirrel").

    A part must train whole trials, and nothing before them: not `asha`, `pasha`, Keras Tuner's own oracles,
    `differentiable`, or another `hybrid`.
    """

    parts: Annotated[tuple[str, ...], Field(min_length=1)] = ("evolution", "hill_climb", "predictor", "random")
    """Names of strategies, or dotted paths."""
    mode: Literal["mixture", "sequence"] = "mixture"
    """`mixture`: a part is drawn for each suggestion; `sequence`: one after the other."""
    weights: tuple[Annotated[float, Field(gt=0.0)], ...] | None = (0.4, 0.3, 0.2, 0.1)
    """Mixture: how often each part is drawn, relative to the others; null: all alike. As many as parts."""
    trials: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Sequence: trials of each part but the last, which gets what is left of the budget; those of the presets count."""
    settings: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """Settings of the parts, by their names."""
    tie: float = from_study(0.0)
    """For those parts that know it; as the next two."""
    graph: GraphFeatures | None = from_study(None)  # noqa: RUF009  # makes a field
    zero_cost: ZeroCost | None = from_study(None)  # noqa: RUF009  # makes a field

    def __post_init__(self) -> None:
        """Refuses what contradicts itself."""
        if refused := [part for part in self.parts if part in _REFUSED]:
            raise ValueError(f"{refused[0]!r} cannot be one of parts, got {list(self.parts)}; take it out")
        if unknown := [name for name in self.settings if name not in self.parts]:
            raise ValueError(f"settings for {unknown[0]!r}, which is not one of parts {list(self.parts)}")
        if self.mode == "mixture" and self.weights is not None and len(self.weights) != len(self.parts):
            raise ValueError(
                f"weights must be as many as parts, got {len(self.weights)} for {len(self.parts)}; give them, or null"
            )
        if self.mode == "sequence" and len(self.trials) != len(self.parts) - 1:
            raise ValueError(
                f"trials must be one fewer than parts, got {len(self.trials)} for {len(self.parts)}; the last part "
                "gets what is left"
            )
        self.strategies()

    def suggest(
        self,
        parameters: tuple[Parameter, ...],
        presets: Sequence[Mapping[str, Any]],
        history: Sequence[Result],
        n: int,
        rng: np.random.Generator,
    ) -> list[Mapping[str, Any]]:
        """See `nasflow.strategies._base.Strategy`."""
        strategies, found = self.strategies(), list[Mapping[str, Any]]()

        def ask(strategy: Strategy, count: int) -> None:
            if count:
                found.extend(strategy.suggest(parameters, presets, with_taken(history, found), count, rng))

        if self.mode == "sequence":
            strategies = strategies[self._turn(history) :]
        else:
            weights = np.array(self.weights or [1.0] * len(strategies))
            for strategy, count in zip(strategies, rng.multinomial(n, weights / weights.sum()), strict=True):
                ask(strategy, int(count))
        for strategy in strategies:  # whose turn it is; or any that still has something, where one had less than asked
            ask(strategy, n - len(found))
        return found

    def view(self, parameters: tuple[Parameter, ...], history: Sequence[Result]) -> list[Trace]:
        """What those parts tell that have something to tell."""
        views = [getattr(strategy, "view", None) for strategy in self.strategies()]
        return [trace for view in views if view is not None for trace in view(parameters, history)]

    def strategies(self) -> list[Strategy]:
        """The parts.

        Raises:
            SpecError: an unknown name, or settings that it refuses.
        """
        from nasflow.strategies.registry import get_strategy

        known = {"tie": self.tie, "graph": self.graph, "zero_cost": self.zero_cost}
        return [get_strategy(part, self.settings.get(part, {}), **known) for part in self.parts]

    def _turn(self, history: Sequence[Result]) -> int:
        done = sum(r.status != "infeasible" and not r.prior and r.same_as is None for r in history)
        ends = np.cumsum(self.trials) if self.trials else np.empty(0)
        return int(np.searchsorted(ends, done, side="right"))
