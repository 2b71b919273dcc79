"""The default: stay near what is known to be good, and leave it only for something clearly better.

Measured (research/auto.md): a space's best preset, trained without any search, beat every peer's search of fourteen
times the cost, and naive searches made it worse. So the study tries the presets first, this strategy then what is one
change away from the best of them, and `nasflow.search.selection` lets a challenger win only where it is better by more
than the noise of the validation split. The mixture that follows was chosen by what it found on trained networks
(tests/benchmarks/STRATEGIES.md).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from nasflow.spaces import parameters as space
from nasflow.spaces.parameters import Parameter
from nasflow.strategies._base import Positive, Result, Share, Suggestion, from_study
from nasflow.strategies.evolution import RegularizedEvolution
from nasflow.strategies.neighbourhood import Tried
from nasflow.strategies.novelty import Novelty
from nasflow.strategies.remembered import best_first, scored
from nasflow.strategies.tpe import TreeParzen


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Auto:
    """First one-gene neighbours of the best point (local search: White et al. 2020), then a mixture of those, of what
    a tree-structured Parzen estimator draws (Bergstra et al. 2011), of evolution's children and of random points.

    Where there are no presets the first points are random: the best of a few of them is worth staying near, the first
    one is not.
    """

    startup: Positive = 10
    """Results with a score before the first neighbour, where there are no presets."""
    neighbours: Annotated[int, Field(ge=0)] = 8
    """Trials after the presets that only change one gene of the incumbent."""
    tie: float = from_study(0.0)
    """A preset stays the incumbent unless another point's score is better by more than this."""
    evolution: RegularizedEvolution = dataclasses.field(
        default_factory=lambda: RegularizedEvolution(population=8, sample=3, crossover=0.25)
    )
    """Makes the children that do not descend from the incumbent."""
    model: TreeParzen = dataclasses.field(default_factory=TreeParzen)
    """Makes the points that descend from what all results say."""
    model_share: Share = 0.5
    """Later: probability of a point that the model draws."""
    incumbent_share: Share = 0.25
    """Later: probability of a neighbour of the incumbent."""
    random_share: Share = 0.05
    """Later: probability of a random point."""

    def suggest(
        self,
        parameters: tuple[Parameter, ...],
        presets: Sequence[Mapping[str, Any]],
        history: Sequence[Result],
        n: int,
        rng: np.random.Generator,
    ) -> list[Suggestion]:
        """See `nasflow.strategies._base.Strategy`."""
        novelty = Novelty(parameters, history, rng)
        best, done = self.incumbent(presets, history), scored(history)
        if not presets and len(done) < self.startup:
            return novelty.many(n, novelty.random)
        if best is None:  # nothing has worked yet: near a preset is still the best bet
            starts = [dict(preset) for preset in presets]
            return novelty.many(n, lambda: _changed(parameters, starts[int(rng.integers(len(starts)))], rng))
        elites = best_first(history)[: self.evolution.population]
        searched = sum(result.same_as is None for result in done) - len(presets)
        model = self.model.proposals(parameters, history, rng)

        def draw() -> Suggestion:
            chance = rng.random()
            if (presets and searched < self.neighbours) or chance < self.incumbent_share:
                return Suggestion(space.mutate(parameters, best.values, rng), parents=[best.trial_id])
            if chance < self.incumbent_share + self.random_share:
                return novelty.random()
            if model is not None and chance < self.incumbent_share + self.random_share + self.model_share:
                return model()
            return self.evolution.child(parameters, elites, rng)

        return novelty.many(n, draw, then=None if model is None else model.begin)

    def incumbent(self, presets: Sequence[Mapping[str, Any]], history: Sequence[Result]) -> Result | None:
        """The best result, a preset where it is not beaten by more than `tie`; None where nothing has completed."""
        order = best_first(history)
        if not order:
            return None
        tried = Tried.of(history)
        keys = [key for key in map(space.key, presets) if tried.score(key) > float("-inf")]
        first = max(keys, key=lambda key: (tried.score(key), -tried.place[key]), default=None)
        preset = None if first is None else tried.results[first]
        if preset is None or preset.score is None or order[0].score is None:
            return order[0]
        return order[0] if order[0].score - preset.score > self.tie else preset


def _changed(parameters: tuple[Parameter, ...], start: Mapping[str, Any], rng: np.random.Generator) -> Suggestion:
    """One to three genes changed."""
    values = dict(start)
    for _ in range(int(rng.integers(1, 4))):
        values = dict(space.mutate(parameters, values, rng))
    return Suggestion(values)
