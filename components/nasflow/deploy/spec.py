"""What the deploy step depends on."""

from typing import Self

from nasflow.core.spec import DeploySection, ExperimentSpec
from nasflow.core.version import VERSION


class DeploySpec(DeploySection):
    """The deploy step's part of an experiment."""

    image_prefix: str = "nasflow"
    """As `resources.image_prefix`."""

    @classmethod
    def of(cls, experiment: ExperimentSpec) -> Self:
        """Takes the parts that matter."""
        return cls(**dict(experiment.deploy), image_prefix=experiment.resources.image_prefix)

    @property
    def server_image(self) -> str:
        """The image that serves."""
        return self.image or f"{self.image_prefix}/server:{VERSION}"
