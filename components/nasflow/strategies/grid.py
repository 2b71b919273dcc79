"""Grid search: the full factorial, in a seeded order."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from nasflow.spaces import parameters as space
from nasflow.spaces.parameters import Parameter, Value
from nasflow.strategies._base import Result, Suggestion
from nasflow.strategies.neighbourhood import levels
from nasflow.strategies.novelty import Novelty

_TRIES = 50


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GridSearch:
    """Every combination of levels once, then none (the factorial design of Fisher 1935).

    The order is a random permutation, drawn point by point, each point that is left being equally likely: a budget
    that ends early has then seen a fair sample of the grid, where the declared order would have seen one corner. With
    conditions the grid is a tree, and a branch with more points below it is entered more often. Bergstra & Bengio 2012
    show why random search is the better use of a small budget; the grid is for small spaces that are to be *finished*.
    """

    points: Annotated[int, Field(ge=2)] = 5
    """Levels of a real-valued parameter, or of an integer with more than eight values."""

    def suggest(
        self,
        parameters: tuple[Parameter, ...],
        presets: Sequence[Mapping[str, Any]],
        history: Sequence[Result],
        n: int,
        rng: np.random.Generator,
    ) -> list[Suggestion]:
        """See `nasflow.strategies._base.Strategy`."""
        novelty, grid = Novelty(parameters, history, rng), Grid(parameters, self.points)
        found: list[Suggestion] = []
        for _ in range(_TRIES * n):
            if len(found) == n:
                return found
            values = grid.draw(rng)
            if novelty.take(values):
                found.append(Suggestion(values))
        left = (values for values in grid if novelty.is_new(values))
        # Here more than half of a grid is done, or it is small: it can be gone through. 20,000 bounds the memory.
        rest = list(itertools.islice(left, 20_000))
        chosen = rng.permutation(len(rest))[: n - len(found)]
        return [*found, *(Suggestion(rest[int(place)]) for place in chosen)]


class Grid:
    """All combinations of levels, as a tree: an inactive parameter has no level."""

    def __init__(self, parameters: Sequence[Parameter], points: int) -> None:
        self._parameters = tuple(parameters)
        self._levels = {parameter.name: levels(parameter, points) for parameter in parameters}
        last: dict[str, int] = {}
        for place, parameter in enumerate(self._parameters):
            if parameter.when is not None:
                last[parameter.when.parent] = place
        self._last = last
        self._counts: dict[tuple[Any, ...], int] = {}

    def __len__(self) -> int:
        """How many points there are."""
        return self._count(0, {})

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All points, in the declared order."""
        return self._below(0, {})

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """A point, all being equally likely."""
        values: dict[str, Any] = {}
        for place, parameter in enumerate(self._parameters):
            if not space.is_active(parameter, values):
                continue
            own = self._levels[parameter.name]
            counts = [self._count(place + 1, {**values, parameter.name: value}) for value in own]
            total = sum(counts)
            edge, chosen = float(rng.random()), len(own) - 1
            for index, count in enumerate(counts):
                edge -= count / total  # of whole numbers that may be beyond a float's range
                if edge < 0:
                    chosen = index
                    break
            values[parameter.name] = own[chosen]
        return values

    def _count(self, place: int, values: Mapping[str, Value]) -> int:
        """Points below a node. Only values that a later condition asks for tell nodes apart."""
        if place == len(self._parameters):
            return 1
        asked = tuple((name, value) for name, value in values.items() if self._last.get(name, -1) >= place)
        if (known := self._counts.get((place, asked))) is not None:
            return known
        parameter, kept = self._parameters[place], dict(asked)
        if space.is_active(parameter, kept):
            own = self._levels[parameter.name]
            count = sum(self._count(place + 1, {**kept, parameter.name: value}) for value in own)
        else:
            count = self._count(place + 1, kept)
        self._counts[place, asked] = count
        return count

    def _below(self, place: int, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if place == len(self._parameters):
            yield values
            return
        parameter = self._parameters[place]
        if not space.is_active(parameter, values):
            yield from self._below(place + 1, values)
            return
        for value in self._levels[parameter.name]:
            yield from self._below(place + 1, {**values, parameter.name: value})
