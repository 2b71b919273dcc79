"""What the train step depends on."""

from typing import Annotated, Self

from pydantic import Field

from nasflow.core.artifacts import Search
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
            seed=experiment.seed,
        )

    def epochs(self, search: Search) -> int:
        """Epochs of every training here: the user's, or half as many again as a trial of the search had."""
        return self.train.epochs or max(1, round(1.5 * search.epochs))

    @property
    def compares(self) -> bool:
        """Whether anything is trained on the train split alone before the refit: one candidate with one seed is not."""
        return self.train.candidates > 1 or self.train.seeds > 1
