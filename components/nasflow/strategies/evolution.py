"""Regularized evolution (Real, Aggarwal, Huang, Le 2019, "Regularized Evolution for Image Classifier Architecture
Search", algorithm 1)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nasflow.spaces import parameters as space
from nasflow.spaces.parameters import Parameter
from nasflow.strategies._base import Positive, Result, Share, Suggestion
from nasflow.strategies.novelty import Novelty
from nasflow.strategies.remembered import scored
from nasflow.strategies.tournament import winner


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RegularizedEvolution:
    """A queue of the youngest results; the best of a random few is mutated, the oldest dies.

    Asynchronous: there are no generations to wait for, so `n` suggestions at once come from the same population. The
    population is the tail of the history, so it needs no state. Failed and infeasible trials never enter it. The
    presets are in the first population like any other point: the study tries them before it asks a strategy.

    Where we differ from the paper: smaller defaults (it used 100 and 25, for 20,000 trials), and optionally crossover.
    """

    population: Positive = 10
    """Results that live. Until there are so many, points are random."""
    sample: Positive = 4
    """Members drawn, with replacement, for each tournament."""
    crossover: Share = 0.2
    """Probability that two tournaments' winners are crossed before the mutation; 0: the paper."""

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
        done = scored(history)
        if len(done) < self.population:
            return novelty.many(n, novelty.random)
        alive = done[-self.population :]
        return novelty.many(n, lambda: self.child(parameters, alive, rng))

    def child(self, parameters: tuple[Parameter, ...], alive: Sequence[Result], rng: np.random.Generator) -> Suggestion:
        """One mutant of a tournament's winner, or of a cross of two."""
        mother = winner(alive, self.sample, rng)
        if rng.random() >= self.crossover:
            return Suggestion(space.mutate(parameters, mother.values, rng), parents=[mother.trial_id])
        father = winner(alive, self.sample, rng)
        crossed = cross(parameters, mother.values, father.values, rng)
        parents = dict.fromkeys([mother.trial_id, father.trial_id])
        return Suggestion(space.mutate(parameters, crossed, rng), parents=parents)


def cross(
    parameters: tuple[Parameter, ...], a: Mapping[str, Any], b: Mapping[str, Any], rng: np.random.Generator
) -> dict[str, Any]:
    """Uniform crossover (Syswerda 1989): each gene from either parent, then repaired: inactive ones go, and an active
    one that the chosen parent lacks comes from the other, or is drawn."""
    child: dict[str, Any] = {}
    for parameter in parameters:
        first, second = (a, b) if rng.random() < 0.5 else (b, a)
        name = parameter.name
        if name in first or name in second:
            child[name] = first[name] if name in first else second[name]
    return dict(space.repair(parameters, child, rng))
