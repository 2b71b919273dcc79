"""What the train step depends on."""

from typing import Annotated, Self

from pydantic import Field

from nasflow.core.spec import ConstraintsSection, ExperimentSpec, Metric, Section, Task, TrainSection


class TrainSpec(Section):
    """The part of an ExperimentSpec that decides the final training."""

    task: Task
    """As in the experiment."""
    metric: Metric
    """The objective, which compares candidates and seeds on validation."""
    constraints: ConstraintsSection = ConstraintsSection()
    """Checked again on the final model."""
    train: TrainSection = TrainSection()
    """Seeds, candidates, epochs."""
    search_epochs: Annotated[int, Field(ge=1)] = 10
    """`search.budget.epochs`, which the default number of epochs is derived from."""
    seed: Annotated[int, Field(ge=0)] = 0
    """The experiment's seed; seed run k uses seed + k."""

    @classmethod
    def of(cls, experiment: ExperimentSpec) -> Self:
        """The parts of an experiment that matter here."""
        return cls(
            task=experiment.task,
            metric=experiment.metric,
            constraints=experiment.constraints,
            train=experiment.train,
            search_epochs=experiment.search.budget.epochs,
            seed=experiment.seed,
        )

    @property
    def epochs(self) -> int:
        """Epochs of every training here."""
        return self.train.epochs or max(1, round(1.5 * self.search_epochs))

    @property
    def compares(self) -> bool:
        """Whether anything is trained on the train split alone before the refit: one candidate with one seed is not."""
        return self.train.candidates > 1 or self.train.seeds > 1
