"""Asynchronous successive halving: many short trials, ever longer ones for the best of them."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from nasflow.spaces.parameters import Parameter, key
from nasflow.strategies._base import Positive, Result, Suggestion, from_study, ranked
from nasflow.strategies.novelty import Novelty


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asha:
    """Li, Jamieson, Rostamizadeh, Gonina, Hardt, Recht, Talwalkar 2020, "A System for Massively Parallel Hyperparameter
    Tuning", algorithm 2.

    Rungs of epochs, each `factor` times the one below, the last one a whole trial. Asked for a point, it promotes the
    best of a rung that are among its top 1/`factor` and were not promoted yet, the highest rung first; where there are
    none, a new random point enters the lowest rung. It never waits for a rung to fill.

    Where we differ: what a promoted point starts from is a matter of its recipe, so there are two ways (`promote`).

    ``scratch``: it is trained again from the start, for its new number of epochs, with a schedule that anneals over
    them. A rung then ranks what a whole, shorter training gives; it costs 1/factor more a rung. ``continue``: its
    training goes on, weights, optimiser and schedule, as in the paper. All rungs then share one schedule over the
    epochs of the last one, so a promoted trial ends exactly where an uninterrupted one would, and nothing is paid
    twice; but what the lower rungs rank has not annealed yet. ``auto`` is ``continue`` where the recipe is known to
    have a constant learning rate (a value `schedule: constant`): nothing is lost there. Elsewhere it is ``scratch``:
    whether un-annealed scores rank well enough for what is saved (a third of each promotion) was not measured.

    Presets are trained for all epochs: they are in the last rung, compared with what has come as far. Measured there,
    too: rungs of less than about four epochs prefer networks that are too small, so there are three rungs by default,
    not as many as there are epochs. Every trial counts in `search.budget.trials`, however short.
    """

    factor: Annotated[int, Field(ge=2)] = 3
    """One in so many is promoted, and gets so many times the epochs."""
    rungs: Annotated[int, Field(ge=2)] = 3
    """How many; fewer where the lowest ones would have the same epochs."""
    min_epochs: Positive = 1
    """Of the lowest rung at least."""
    promote: Literal["auto", "continue", "scratch"] = "auto"
    """What a promoted point starts from."""
    epochs: int = from_study(1)
    """Of the last rung."""

    def suggest(
        self,
        parameters: tuple[Parameter, ...],
        presets: Sequence[Mapping[str, Any]],
        history: Sequence[Result],
        n: int,
        rng: np.random.Generator,
    ) -> list[Suggestion]:
        """See `nasflow.strategies._base.Strategy`."""
        ladder = self.open_rungs(history)
        reached = {epochs: self._at(epochs, history) for epochs in ladder}
        found: list[Suggestion] = []
        for below, above in reversed(list(itertools.pairwise(ladder))):
            order = ranked(reached[below])
            promoted = {key(result.values) for result in reached[above]}
            for result in order[: len(order) // self.factor]:
                if len(found) < n and key(result.values) not in promoted:
                    found.append(self._promoted(result, above))
                    promoted.add(key(result.values))
        novelty = Novelty(parameters, history, rng)
        fresh = novelty.many(n - len(found), novelty.random)
        return [*found, *(Suggestion(v, epochs=ladder[0], horizon=self._horizon(v)) for v in fresh)]

    @property
    def inherits(self) -> bool:
        """Whether the study keeps weights."""
        return self.promote != "scratch"

    def _promoted(self, result: Result, epochs: int) -> Suggestion:
        horizon = self._horizon(result.values)
        return Suggestion(
            result.values,
            parents=[result.trial_id],
            epochs=epochs,
            inherit=result.trial_id if horizon is not None else None,
            horizon=horizon,
        )

    def _horizon(self, values: Mapping[str, Any]) -> int | None:
        """Of a training that may go on; None: it is trained from scratch in each rung."""
        goes_on = self.promote == "continue" or (self.promote == "auto" and values.get("schedule") == "constant")
        return self.epochs if goes_on else None

    def ladder(self) -> tuple[int, ...]:
        """Epochs of the rungs, the lowest first.

        >>> Asha(epochs=20).ladder(), Asha(epochs=2).ladder()
        ((2, 7, 20), (1, 2))
        """
        low = min(self.min_epochs, self.epochs)
        return tuple(sorted({max(low, round(self.epochs / self.factor**rung)) for rung in range(self.rungs)}))

    def open_rungs(self, history: Sequence[Result]) -> tuple[int, ...]:
        """Epochs of the rungs that points are promoted to, the lowest first: all of them, whatever was found."""
        return self.ladder()

    def _at(self, epochs: int, history: Sequence[Result]) -> list[Result]:
        """What was trained for so many epochs, or was to be and failed; without a word on epochs: for all."""
        return [result for result in history if (result.granted or self.epochs) == epochs]
