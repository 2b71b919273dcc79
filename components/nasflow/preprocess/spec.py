"""What preprocess depends on, and nothing else: a change of `search:` leaves the Dataset as it is."""

from typing import Self

from pydantic import Field

from nasflow.core.spec import DataSection, ExperimentSpec, PreprocessSection, Section, Task


class PreprocessSpec(Section):
    """The parts of an experiment that make its Dataset."""

    task: Task
    """Decides how labels are read and which sources fit."""
    data: DataSection
    """Data, label, split and limits."""
    preprocess: PreprocessSection = Field(default=PreprocessSection(), exclude=True)
    """The engine. Left out of the digest that names finished work, since it changes no byte of the Dataset."""

    keep_original: bool = False
    """Whether the data is also kept without the remedies of `data.optimise` (from `evaluate.compare_optimised`)."""

    @classmethod
    def of(cls, experiment: ExperimentSpec) -> Self:
        """Takes what it needs from the experiment. The split has its own salt, so the seed is not among it."""
        return cls(
            task=experiment.task,
            data=experiment.data,
            preprocess=experiment.preprocess,
            keep_original=experiment.evaluate.compare_optimised,
        )
