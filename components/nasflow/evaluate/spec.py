"""What the evaluate step depends on."""

from typing import Annotated, Self

from pydantic import Field

from nasflow.core.spec import EvaluateSection, ExperimentSpec, Metric, Section, Task


class EvaluateSpec(Section):
    """The part of an ExperimentSpec that decides the evaluation."""

    task: Task
    """As in the experiment."""
    metric: Metric
    """The objective, which the decision is about."""
    evaluate: EvaluateSection = EvaluateSection()
    """Baseline, least gain, resamples."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seeds the baselines and the bootstrap."""

    @classmethod
    def of(cls, experiment: ExperimentSpec) -> Self:
        """The parts of an experiment that matter here."""
        return cls(task=experiment.task, metric=experiment.metric, evaluate=experiment.evaluate, seed=experiment.seed)
