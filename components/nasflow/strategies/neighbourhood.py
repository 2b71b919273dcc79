"""What is near a point: a finite, ordered set of neighbours that is the same at every call."""

from collections.abc import Mapping, Sequence
from typing import Any

from nasflow.spaces import parameters as space
from nasflow.spaces.parameters import Choice, Parameter, Value
from nasflow.strategies._base import Key, Result
from nasflow.strategies.remembered import remembered

_WHOLE = 8
"""Integers with at most so many values are taken whole."""


def levels(parameter: Parameter, points: int) -> tuple[Value, ...]:
    """All values of a choice or of a small integer; else `points` of them, evenly spread over the scale.

    >>> from nasflow.spaces.parameters import Real
    >>> levels(Real(name="rate", low=0.001, high=0.1, log=True), 3)
    (0.001, 0.01, 0.1)
    """
    if isinstance(parameter, Choice):
        return parameter.values
    if parameter.count is not None and parameter.count <= max(points, _WHOLE):
        return tuple(range(parameter.low, parameter.high + 1))
    spread = [parameter.at(place / max(1, points - 1)) for place in range(points)]
    return tuple(dict.fromkeys(spread))


def steps(parameter: Parameter, value: Value, size: float) -> tuple[Value, ...]:
    """The values one step from `value`: every other one of a choice or small integer; else those `size` below and above
    on the parameter's scale from 0 to 1, at most its ends."""
    if isinstance(parameter, Choice) or (parameter.count is not None and parameter.count <= _WHOLE):
        return tuple(other for other in levels(parameter, _WHOLE) if other != value)
    place = parameter.unit(value)
    moved = (parameter.at(max(0.0, place - size)), parameter.at(min(1.0, place + size)))
    return tuple(other for other in dict.fromkeys(moved) if other != value)


def completed(
    parameters: Sequence[Parameter], values: Mapping[str, Any], presets: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Values without the inactive ones; an active one that is missing is the first preset's that has it, else the
    middle of the scale. Unlike `nasflow.spaces.parameters.repair` it draws nothing."""
    whole: dict[str, Any] = {}
    for parameter in parameters:
        if not space.is_active(parameter, whole):
            continue
        if parameter.name in values:
            whole[parameter.name] = values[parameter.name]
            continue
        preset = next((preset for preset in presets if parameter.name in preset), None)
        middle = levels(parameter, 3)
        whole[parameter.name] = middle[len(middle) // 2] if preset is None else preset[parameter.name]
    return whole


class Tried:
    """The history as a map: where the point was tried, and how good it was."""

    def __init__(self) -> None:
        self.results: dict[Key, Result] = {}
        self.place: dict[Key, int] = {}
        self._number = 0

    @classmethod
    def of(cls, history: Sequence[Result]) -> "Tried":
        """The whole history."""
        return remembered(history, "tried", cls, cls.add)

    def add(self, result: Result) -> None:
        """The next trial that has ended."""
        key = space.key(result.values)
        if key not in self.results or _score(result) > _score(self.results[key]):
            self.results[key] = result
        self.place.setdefault(key, self._number)
        self._number += 1

    def score(self, key: Key) -> float:
        """Minus infinity where the point was not tried, failed or broke a limit."""
        return _score(self.results[key]) if key in self.results else float("-inf")

    @property
    def order(self) -> list[Key]:
        """The points that have a score, best first; the earlier one first where scores are equal."""
        scored = [key for key in self.results if self.score(key) > float("-inf")]
        return sorted(scored, key=lambda key: (-self.score(key), self.place[key]))

    def starts(self, presets: Sequence[Mapping[str, Any]], *, among: int = 0) -> list[Key]:
        """The points that have a score: the presets and, where there are fewer than `among`, as many of the first
        others, best first; then the rest as it was tried. A later trial never changes what comes before it, so a
        search that is rebuilt from its starts takes the same way."""
        ours = {space.key(preset) for preset in presets}
        order = self.order
        others = sorted(set(order) - ours, key=self.place.__getitem__)
        count = max(0, among - (len(order) - len(others)))
        first = ours.union(others[:count])
        return [key for key in order if key in first] + others[count:]


def _score(result: Result) -> float:
    return result.score if result.status == "completed" and result.score is not None else float("-inf")
