"""Points that were not tried before, and the certainty that there are none left."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nasflow.spaces import parameters as space
from nasflow.spaces.parameters import Choice, Integer, Parameter
from nasflow.strategies._base import Key, Result, Suggestion
from nasflow.strategies.remembered import points, remembered

_TRIES = 50
_ENUMERATED = 20_000


class Novelty:
    """Remembers what was tried; draws until it finds something else.

    Where drawing fails, a space without real-valued parameters is enumerated (up to 20,000 points), so that a small
    space is searched to its last point and is then, for certain, exhausted.
    """

    def __init__(self, parameters: tuple[Parameter, ...], history: Sequence[Result], rng: np.random.Generator) -> None:
        self._parameters = parameters
        self._rng = rng
        self._history = history
        self._tried = points(history)
        self._taken: set[Key] = set()

    def first(self, draw: Callable[[], Suggestion]) -> Suggestion | None:
        """The first new point among some draws of `draw`, else of random ones, else any; None: there is none."""
        for make in (draw, self.random):
            for _ in range(_TRIES):
                try:
                    suggestion = make()
                except space.ParameterError:  # nothing to mutate: every active parameter has a single value
                    break
                if self.take(suggestion):
                    return suggestion
        left = [values for point, values in self._left().items() if point not in self._taken]
        if not left:
            return None
        suggestion = Suggestion(left[int(self._rng.integers(len(left)))])
        self.take(suggestion)
        return suggestion

    def many(
        self, n: int, draw: Callable[[], Suggestion], *, then: Callable[[], None] | None = None
    ) -> list[Suggestion]:
        """Up to `n` new points, all different; `then` is called after each."""
        found: list[Suggestion] = []
        while len(found) < n and (suggestion := self.first(draw)) is not None:
            found.append(suggestion)
            if then is not None:
                then()
        return found

    def random(self) -> Suggestion:
        """A random point, new or not."""
        return Suggestion(space.sample(self._parameters, self._rng))

    def is_new(self, values: Mapping[str, Any]) -> bool:
        """Whether the point was neither tried nor taken."""
        point = space.key(values)
        return point not in self._tried and point not in self._taken

    def take(self, values: Mapping[str, Any]) -> bool:
        """Whether the point is new; from now on it is not."""
        new = self.is_new(values)
        self._taken.add(space.key(values))
        return new

    def _left(self) -> dict[Key, dict[str, Any]]:
        """What of a small space was not tried: gone through when drawing fails for the first time, then shrinking."""

        def whole() -> dict[Key, dict[str, Any]]:
            return {space.key(values): values for values in every_point(self._parameters, limit=_ENUMERATED)}

        def without(left: dict[Key, dict[str, Any]], result: Result) -> None:
            left.pop(space.key(result.values), None)

        return remembered(self._history, ("left", self._parameters), whole, without)


def with_taken(history: Sequence[Result], found: Sequence[Mapping[str, Any]]) -> list[Result]:
    """The history as if what was found had broken a limit: so that no other strategy suggests it again."""
    taken = [
        Result(trial_id=f"taken {place}", values=values, status="infeasible", score=None, epochs=0)
        for place, values in enumerate(found)
    ]
    return [*history, *taken]


def can_be_listed(parameters: tuple[Parameter, ...]) -> bool:
    """Whether a space is so small that `Novelty` finds its last point, and knows for certain when there is none."""
    return 0 < len(every_point(parameters, limit=_ENUMERATED + 1)) <= _ENUMERATED


def every_point(parameters: tuple[Parameter, ...], *, limit: int) -> list[dict[str, Any]]:
    """All points of a finite space, the first `limit` of them; empty where a parameter is real-valued."""
    finite = tuple(parameter for parameter in parameters if isinstance(parameter, Choice | Integer))
    if len(finite) < len(parameters):
        return []
    return list(itertools.islice(_points(finite, {}), limit))


def _points(parameters: tuple[Choice | Integer, ...], chosen: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not parameters:
        yield dict(chosen)
        return
    first, rest = parameters[0], parameters[1:]
    if not space.is_active(first, chosen):
        yield from _points(rest, chosen)
        return
    values = first.values if isinstance(first, Choice) else range(first.low, first.high + 1)
    for value in values:
        yield from _points(rest, {**chosen, first.name: value})
