"""What a strategy is: from what was tried and how it went, to what to try next.

A strategy keeps nothing between two calls: all that it knows is in its arguments. That is what makes a killed search
resumable without saved state: the ledger gives the same history, the same history gives the same suggestion.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from pydantic import Field

from nasflow.spaces.parameters import Parameter, Value

Status = Literal["completed", "failed", "infeasible"]
Came = Literal["strategy", "supernet"]
Key = tuple[tuple[str, Value], ...]
"""Of a point: `nasflow.spaces.parameters.key`."""

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


def from_study(default: Any) -> Any:
    """A field that the study fills in (see `nasflow.strategies.registry.get_strategy`); no user can set it."""
    return dataclasses.field(default=default, metadata={"study": True})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One trial that has ended."""

    trial_id: str
    values: Mapping[str, Any]
    """Values of the active parameters, by name."""
    status: Status
    """``infeasible``: broke a constraint, or was left out by `search.filter`; never trained."""
    score: float | None
    """More is better, whatever the metric. None where there is no score; never NaN."""
    epochs: int
    """Epochs that it was trained for."""
    granted: int | None = None
    """Epochs that its suggestion asked for, whatever became of it; None: it left that to the study."""
    curve: tuple[float, ...] = ()
    """The score after each epoch, more is better; of its first training where it has several (seeds, folds)."""
    prior: bool = False
    """Of an earlier study (`search.warm_start`): known, but none of this study's budget."""
    same_as: str | None = None
    """The trial that was trained, where another point means the same architecture and recipe: this is its result, and
    none of the study's budget."""
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """In a Pareto search each objective by name, more is better; `score` is then its rank (Deb et al. 2002): −1 less
    the number of its front, plus a share below 1 that grows with its distance to its neighbours there."""


class Suggestion(dict[str, Any]):
    """Values with the trials that they descend from, for the report. A plain dict is a suggestion too."""

    def __init__(
        self,
        values: Mapping[str, Any],
        *,
        parents: Iterable[str] = (),
        epochs: int | None = None,
        inherit: str | None = None,
        horizon: int | None = None,
        origin: Came = "strategy",
    ) -> None:
        """What else is asked for.

        Args:
            values: of the active parameters.
            parents: trials that it descends from.
            epochs: train for so many in all; None: as many as the study gives a trial.
            inherit: a trial to start from. The same architecture, recipe and horizon: its training goes on, with its
                optimiser's state, as if it had never stopped. Another architecture: layers that fit take its weights,
                the optimiser starts anew. Where its weights are no longer kept the trial starts from scratch; its
                notes say what happened. Only for a strategy whose `inherits` is True: weights are kept for no other.
            horizon: epochs that the learning-rate schedule spans, ≥ `epochs`; None: `epochs`, so that it anneals at
                the end of this trial.
            origin: where it came from, for the report.
        """
        super().__init__(values)
        self.parents = tuple(parents)
        self.epochs = epochs
        self.inherit = inherit
        self.horizon = horizon
        self.origin: Came = origin


class Strategy(Protocol):
    """How a space is searched. One that has an attribute `inherits` which is True has its trials' weights kept."""

    def suggest(
        self,
        parameters: tuple[Parameter, ...],
        presets: Sequence[Mapping[str, Any]],
        history: Sequence[Result],
        n: int,
        rng: np.random.Generator,
    ) -> Sequence[Mapping[str, Any]]:
        """At most `n` points to try next, fewer near the end of the space, none where it is exhausted.

        Points are told apart by their values here. One that means the same architecture and recipe as another one that
        was tried is not trained: the study puts it into the history with the known result, and asks again.

        Args:
            parameters: the space, parents before children.
            presets: the space's own strong points; the study has tried them before it asks a strategy.
            history: every trial that has ended, in that order; failed and infeasible ones too.
            n: how many are wanted, to be run side by side.
            rng: the only source of randomness.

        Returns:
            Values of the active parameters only; none equal to another or to one in `history`, unless a `Suggestion`
            asks for more epochs than that one got.
        """


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What a strategy tells of itself in the report. One that has a method `view(parameters, history)` returns such."""

    name: str
    told: str
    """What the values mean, in one or two sentences."""
    values: tuple[float, ...]
    """One after each trial that it has learnt from."""


def ranked(history: Iterable[Result]) -> list[Result]:
    """The completed results that have a score, best first; the earlier one first where scores are equal."""
    return sorted(filter(is_scored, history), key=descending)


def is_scored(result: Result) -> bool:
    """Whether it completed and has a score."""
    return result.status == "completed" and result.score is not None


def descending(result: Result) -> float:
    """What orders results best first; those without a score come last."""
    return -result.score if result.score is not None else float("inf")
