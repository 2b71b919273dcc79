"""What the deploy step depends on."""

from typing import Self

from nasflow.core.spec import DeploySection, ExperimentSpec, ResourcesSection


class DeploySpec(DeploySection):
    """The deploy step's part of an experiment."""

    image_prefix: str = "nasflow"
    """As `resources.image_prefix`."""
    image_digest: str | None = None
    """As `resources.image_digests` has it for `server`."""

    @classmethod
    def of(cls, experiment: ExperimentSpec) -> Self:
        """Takes the parts that matter."""
        resources = experiment.resources
        return cls(
            **dict(experiment.deploy),
            image_prefix=resources.image_prefix,
            image_digest=resources.image_digests.get("server"),
        )

    @property
    def server_image(self) -> str:
        """The image that serves."""
        digests = {"server": self.image_digest} if self.image_digest else {}
        return self.image or ResourcesSection(image_prefix=self.image_prefix, image_digests=digests).image("server")
