"""Asynchronous successive halving: many short trials, ever longer ones for the best of them."""

import bisect
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from nasflow.spaces.parameters import Parameter, key
from nasflow.strategies._base import Key, Positive, Result, Suggestion, descending, from_study, is_scored
from nasflow.strategies.novelty import Novelty
from nasflow.strategies.remembered import remembered


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
        ladder, rungs = self.open_rungs(history), Rungs.of(history, self.epochs)
        found: list[Suggestion] = []
        for below, above in reversed(list(itertools.pairwise(ladder))):
            for result in rungs.top(below, self.factor, above):
                if len(found) == n:
                    break
                found.append(self._promoted(result, above))
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


class Rungs:
    """What was trained, or was to be and failed, by the epochs that it was granted."""

    def __init__(self, epochs: int) -> None:
        """`epochs`: of a trial that was granted no number of them."""
        self._epochs = epochs
        self._numbers: dict[Key, int] = {}
        self._points: dict[int, set[int]] = {}
        """In each rung."""
        self._orders: dict[int, list[tuple[float, int, int, Result]]] = {}
        """Of each rung those with a score, best first, the earlier one first among equals: (−score, place in the
        history, number of the point, result)."""
        self._count = 0

    @classmethod
    def of(cls, history: Sequence[Result], epochs: int) -> "Rungs":
        """The whole history; `epochs` as above."""
        return remembered(history, (cls, epochs), lambda: cls(epochs), cls.add)

    def add(self, result: Result) -> None:
        """The next trial that has ended."""
        number = self._numbers.setdefault(key(result.values), len(self._numbers))
        granted = result.granted or self._epochs
        self._points.setdefault(granted, set()).add(number)
        self._count += 1
        if is_scored(result):
            bisect.insort(self._orders.setdefault(granted, []), (descending(result), self._count, number, result))

    def order(self, epochs: int) -> list[Result]:
        """Of a rung those with a score, best first."""
        return [entry[3] for entry in self._orders.get(epochs, ())]

    def top(self, epochs: int, factor: int, above: int) -> Iterator[Result]:
        """Of the best 1/`factor` of a rung those that never came to the rung `above`, best first."""
        order, seen = self._orders.get(epochs, []), set(self._points.get(above, ()))
        for _, _, number, result in itertools.islice(order, len(order) // factor):
            if number not in seen:
                seen.add(number)
                yield result

    def has(self, epochs: int, result: Result) -> bool:
        """Whether a result's point came to a rung."""
        return self._numbers.get(key(result.values), -1) in self._points.get(epochs, ())
