"""Greedy search, layer by layer: one gene after the other, in declared order."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from nasflow.spaces.parameters import Parameter, is_active, key
from nasflow.strategies._base import Key, Positive, Result, Suggestion
from nasflow.strategies.neighbourhood import Tried, completed, levels
from nasflow.strategies.novelty import Novelty
from nasflow.strategies.remembered import scored


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GreedySearch:
    """Coordinate search: every value of the first gene with all others fixed, the best one kept, then the second gene,
    and so on; passes are repeated until one changes nothing. It starts from the best preset, then from the others, then
    from random points.

    The classical coordinate descent (Wright 2015, "Coordinate descent algorithms"), and what a person does who designs
    a network by hand. Spaces declare their genes from the input to the head, so the order is layer by layer. With
    additive genes one pass is optimal; where genes interact it stops at a point that no single gene improves.

    Nothing is remembered: which gene is in hand follows from which points have been tried, and in what order.
    """

    points: Annotated[int, Field(ge=2)] = 4
    """Levels of a real-valued parameter, or of an integer with more than eight values."""

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
        visited: set[Key] = set()
        found: list[Suggestion] = []
        for start in tried.starts(presets, among=self.startup):
            if start in visited:
                continue
            visited.add(start)
            current, moved = start, True
            while moved:
                moved = False
                for parameter in parameters:
                    values = dict(current)
                    if not is_active(parameter, values):
                        continue
                    others = [value for value in levels(parameter, self.points) if value != values[parameter.name]]
                    variants = [completed(parameters, {**values, parameter.name: value}, presets) for value in others]
                    for place in rng.permutation(len(variants)):
                        if novelty.take(variants[place]):
                            found.append(Suggestion(variants[place], parents=[tried.results[current].trial_id]))
                            if len(found) == n:
                                return found
                    keys = [key(variant) for variant in variants]
                    visited.update(keys)
                    best = max(keys, key=tried.score, default=current)
                    if tried.score(best) > tried.score(current):
                        current, moved = best, True
        return [*found, *novelty.many(n - len(found), novelty.random)]
