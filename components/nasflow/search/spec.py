"""What the search depends on: nothing else of the experiment changes its key."""

from typing import Self

from nasflow.core.spec import ConstraintsSection, ExperimentSpec, Metric, Objective, SearchSection, Section, Task


class SearchSpec(Section):
    """The search step's part of an experiment."""

    task: Task
    """The experiment's task."""
    metric: Metric
    """What is maximised or minimised, on the validation split."""
    objectives: tuple[Objective, ...] = ()
    """Several: a Pareto search over them; empty or one: `metric` alone."""
    constraints: ConstraintsSection = ConstraintsSection()
    """Hard limits."""
    search: SearchSection = SearchSection()
    """Space, strategy, budget."""
    seed: int = 0
    """Of the suggestions and of every trial's training."""

    @classmethod
    def of(cls, experiment: ExperimentSpec) -> Self:
        """The part of an experiment that the search depends on."""
        return cls(
            task=experiment.task,
            metric=experiment.metric,
            objectives=experiment.objectives if len(experiment.objectives) > 1 else (),
            constraints=experiment.constraints,
            search=experiment.search,
            seed=experiment.seed,
        )
