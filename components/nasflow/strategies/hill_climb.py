"""Local search over one-gene neighbours, with restarts."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from nasflow.spaces.parameters import Parameter, active, key
from nasflow.strategies._base import Key, Positive, Result, Suggestion
from nasflow.strategies.neighbourhood import Tried, completed, steps
from nasflow.strategies.novelty import Novelty
from nasflow.strategies.remembered import remembered, scored


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HillClimb:
    """Tries the neighbours of a point in random order and moves to the first that is better; at a local optimum it
    starts again, from the best tried point that no climb has reached (so from every preset), at last from a random one.

    White, Nolen, Savani 2020/2021, "Exploring the Loss Landscape in Neural Architecture Search" (first "Local Search is
    State of the Art for NAS Benchmarks"): on spaces of that size it beat everything but model-based search; it fails
    on large spaces with narrow budgets. With `first` off it tries all neighbours before it moves, as their base
    algorithm does; on is their variant, which needs fewer trainings.

    Nothing is remembered: the climbs follow from the points that were tried and the order in which they were.
    """

    step: Annotated[float, Field(gt=0.0, le=0.5)] = 0.15
    """How far a real-valued parameter, or an integer with more than eight values, moves: of its scale."""
    first: bool = True
    """Move to the first better neighbour; off: to the best, when all of them have been tried."""

    startup: Positive = 1
    """Results with a score, presets included, before the first climb; until then points are random."""

    def suggest(
        self,
        parameters: tuple[Parameter, ...],
        presets: Sequence[Mapping[str, Any]],
        history: Sequence[Result],
        n: int,
        rng: np.random.Generator,
    ) -> list[Suggestion]:
        """See `nasflow.strategies._base.Strategy`."""
        novelty, tried = Novelty(parameters, history, rng), Tried.of(history)
        if len(scored(history)) < self.startup:
            return novelty.many(n, novelty.random)
        known = self._known(parameters, presets, history)
        visited: set[Key] = set()
        found: list[Suggestion] = []
        for start in tried.order if self.first else tried.starts(presets, among=self.startup):
            current: Key | None = start
            while current is not None and current not in visited:
                visited.add(current)
                if current not in known:
                    known[current] = self.neighbours(parameters, dict(current), presets)
                near = known[current]
                following = self._move(tried, current, near)
                if following is None:
                    untried = [key for key in near if key not in tried.results]
                    for place in rng.permutation(len(untried)):
                        values = dict(untried[place])
                        if novelty.take(values):
                            found.append(Suggestion(values, parents=[tried.results[current].trial_id]))
                            if len(found) == n:
                                return found
                visited.update(key for key in near if key in tried.results and key != following)
                current = following
        return [*found, *novelty.many(n - len(found), novelty.random)]

    def neighbours(
        self, parameters: Sequence[Parameter], values: Mapping[str, Any], presets: Sequence[Mapping[str, Any]]
    ) -> list[Key]:
        """All points that differ in one active gene; genes that it wakes up are as in the presets, or mid-scale."""
        return [
            key(completed(parameters, {**values, parameter.name: value}, presets))
            for parameter in active(parameters, values)
            for value in steps(parameter, values[parameter.name], self.step)
        ]

    def _known(
        self, parameters: tuple[Parameter, ...], presets: Sequence[Mapping[str, Any]], history: Sequence[Result]
    ) -> dict[Key, list[Key]]:
        """Neighbours by point, as far as a climb has asked for them. Whoever adds some adds what is always true."""
        name = (HillClimb, self.step, parameters, tuple(key(preset) for preset in presets))
        return remembered(history, name, dict[Key, list[Key]], lambda known, result: None)

    def _move(self, tried: Tried, current: Key, near: Sequence[Key]) -> Key | None:
        """Where the climb went from `current`, as far as is known; None: nowhere yet, or never."""
        better = [key for key in near if tried.score(key) > tried.score(current)]
        if not better:
            return None
        if self.first:
            return min(better, key=tried.place.__getitem__)
        return max(better, key=tried.score) if all(key in tried.results for key in near) else None
