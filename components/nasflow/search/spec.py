"""What the search depends on: nothing else of the experiment changes its key."""

from typing import Self

from nasflow.core.spec import (
    ConstraintsSection,
    ExperimentSpec,
    LauncherSection,
    Metric,
    Objective,
    SearchSection,
    Section,
    Task,
)


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
            search=experiment.search.model_copy(update={"launcher": _placed(experiment)}),
            seed=experiment.seed,
        )


def _placed(experiment: ExperimentSpec) -> LauncherSection:
    """The launcher with what it takes from `resources`: pods get one accelerator each."""
    launcher, resources = experiment.search.launcher, experiment.resources
    if launcher.kind == "process":
        return launcher
    theirs = resources.accelerator and resources.accelerator.model_copy(update={"count": 1})
    accelerator = launcher.accelerator or theirs
    return launcher.model_copy(
        update={
            "accelerator": accelerator,
            "cpu": launcher.cpu or resources.cpu,
            "memory": launcher.memory or resources.memory,
            "image": launcher.image or (resources.image("trainer-gpu") if accelerator else None),
        }
    )
