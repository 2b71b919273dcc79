"""`constraints` and `search`: what is searched, how, and what it may cost."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from nasflow.core.sections._base import Count, Section


class ConstraintsSection(Section):
    """Hard limits: what a search returns never breaks them."""

    parameters: Count | None = None
    """At most so many trainable parameters."""
    flops: Count | None = None
    """At most so many floating-point operations (2 × multiply-adds) for one example."""


class BudgetSection(Section):
    """What the search may cost. It ends at whichever limit comes first."""

    trials: Annotated[int, Field(ge=1)] | None = 20
    """Trials that may start; null: no limit."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """Wall-clock hours of searching, over all attempts; null: no limit."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of one trial at most. Left out: 10, and more where there are fewer than 2,000 training rows, up to 40."""

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.trials is None and self.hours is None:
            raise ValueError("set trials or hours: a search without a limit never ends")
        return self


class SearchSection(Section):
    """How the architecture is searched."""

    space: str = "auto"
    """`cnn`, `cell`, `nasbench201`, `darts`, `mlp`, `auto` (by the task) or `package.module:factory` (makes a nasflow
    Space)."""
    space_settings: dict[str, Any] = Field(default={})
    """Settings of the space; left out, its defaults. `cell`, `nasbench201`, `darts`: topology, nodes, operations,
    stages, cells, width, recipe. `cnn`: recipe. A dotted path's factory is called with them. `recipe`: how much of the
    training recipe is searched, `none`, `some` or `all`."""
    strategy: str = "auto"
    """`auto`, `random`, `grid`, `greedy`, `hill_climb`, `genetic`, `evolution`, `tpe`, `predictor`, `reinforce`,
    `asha`, `hybrid`, Keras Tuner's `hyperband` and `bayesian`, or `package.module:factory`."""
    settings: dict[str, Any] = Field(default={})
    """Settings of the strategy; left out, its defaults. `genetic`: population, tournament, mating, crossover, mutation,
    elites. `evolution`: population, sample, crossover. `hill_climb`: step, first. `grid`, `greedy`: points. `tpe`:
    startup, gamma, candidates, prior. `predictor`: startup, trees, candidates, elites, random_share. `reinforce`:
    rate, baseline, entropy, bins. `asha`: factor, rungs, min_epochs. `hybrid`: parts, mode, weights, trials, settings.
    `auto`: neighbours, evolution, incumbent_share, random_share. A dotted path's factory is called with them."""
    budget: BudgetSection = BudgetSection()
    """Trials, hours, epochs."""
