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
    model_name: str | None = None
    """The model's name in the registry, whose champion is to be beaten; null: there is none."""
    registry_uri: str | None = None
    """The registry's folder or `gs://` prefix; left out: `WORK_DIR/registry`."""

    @classmethod
    def of(cls, experiment: ExperimentSpec) -> Self:
        """The parts of an experiment that matter here."""
        return cls(
            task=experiment.task,
            metric=experiment.metric,
            evaluate=experiment.evaluate,
            seed=experiment.seed,
            model_name=experiment.model_name,
            registry_uri=experiment.register_.uri,
        )
