"""What the deploy step depends on."""

from typing import Self

from pydantic import Field

from nasflow.core.sections.resources import Digest
from nasflow.core.spec import DeploySection, ExperimentSpec, ResourcesSection
from nasflow.serving.engines import EngineName

SERVER_IMAGES: dict[EngineName, str] = {"onnx": "server", "saved_model": "server-tf"}
"""By the engine that a bundle needs, the image that serves it."""


class DeploySpec(DeploySection):
    """The deploy step's part of an experiment."""

    image_prefix: str = "nasflow"
    """As `resources.image_prefix`."""
    image_digests: dict[str, Digest] = Field(default_factory=dict)
    """As `resources.image_digests`, of the images that serve."""

    @classmethod
    def of(cls, experiment: ExperimentSpec) -> Self:
        """Takes the parts that matter."""
        resources = experiment.resources
        return cls(
            **dict(experiment.deploy),
            image_prefix=resources.image_prefix,
            image_digests={
                name: resources.image_digests[name]
                for name in SERVER_IMAGES.values()
                if name in resources.image_digests
            },
        )

    def server_image(self, engine: EngineName) -> str:
        """The image that serves a bundle; `deploy.image` goes before all."""
        images = ResourcesSection(image_prefix=self.image_prefix, image_digests=self.image_digests)
        return self.image or images.image(SERVER_IMAGES[engine])
