"""A genetic algorithm with generations, tournaments, uniform crossover, mutation and elitism."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nasflow.spaces import parameters as space
from nasflow.spaces.parameters import Parameter
from nasflow.strategies._base import Positive, Result, Share, Suggestion
from nasflow.strategies.novelty import Novelty
from nasflow.strategies.remembered import best_first, scored
from nasflow.strategies.tournament import winner


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Genetic:
    """Holland 1975; tournaments: Goldberg & Deb 1991; uniform crossover with a probability for each gene: Spears & De
    Jong 1991; for architectures: Xie & Yuille 2017, "Genetic CNN".

    A generation is `population` completed trials, counted off the history, so it needs no state; the first is the
    presets and random points. Parents are the generation before, and the elites: the best so far, whenever they were
    tried. (Elites are kept as parents and not trained again: a second training would say nothing new.)
    """

    population: Positive = 8
    """Completed trials of a generation."""
    tournament: Positive = 3
    """Members drawn, with replacement, for each tournament."""
    mating: Share = 0.7
    """Probability that a child has two parents."""
    crossover: Share = 0.5
    """Then: probability p, for each gene, that it comes from the second one."""
    mutation: Share | None = None
    """Probability that a gene mutates; null: 1 / active genes. At least one does where the child equals a parent."""
    elites: Positive = 3
    """The best so far that can always be parents."""

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
        generation = len(done) // self.population
        if generation == 0:
            return novelty.many(n, novelty.random)
        before = done[(generation - 1) * self.population : generation * self.population]
        elites = best_first(history)[: self.elites]
        alive = list({result.trial_id: result for result in (*elites, *before)}.values())
        return novelty.many(n, lambda: self.child(parameters, alive, rng))

    def child(self, parameters: tuple[Parameter, ...], alive: Sequence[Result], rng: np.random.Generator) -> Suggestion:
        """One or two tournaments, crossover, mutation."""
        mother = father = winner(alive, self.tournament, rng)
        values: Mapping[str, Any] = mother.values
        if rng.random() < self.mating:
            father = winner(alive, self.tournament, rng)
            values = self._cross(parameters, mother.values, father.values, rng)
        child = self._mutated(parameters, values, rng)
        if space.key(child) in (space.key(mother.values), space.key(father.values)):
            child = space.mutate(parameters, child, rng)
        return Suggestion(child, parents=dict.fromkeys([mother.trial_id, father.trial_id]))

    def _cross(
        self, parameters: Sequence[Parameter], a: Mapping[str, Any], b: Mapping[str, Any], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Genes that only one parent has come from that one, where the child needs them."""
        mixed = {**b, **a}
        for parameter in parameters:
            if rng.random() < self.crossover and parameter.name in b:
                mixed[parameter.name] = b[parameter.name]
        return space.repair(parameters, mixed, rng)

    def _mutated(
        self, parameters: Sequence[Parameter], values: Mapping[str, Any], rng: np.random.Generator
    ) -> dict[str, Any]:
        genes = [parameter for parameter in space.active(parameters, values) if parameter.count != 1]
        rate = self.mutation if self.mutation is not None else 1 / max(1, len(genes))
        changed = {gene.name: gene.mutate(values[gene.name], rng) for gene in genes if rng.random() < rate}
        return space.repair(parameters, {**values, **changed}, rng)
