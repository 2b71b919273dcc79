"""`resources`: what a task gets on Kubernetes."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from nasflow.core.sections._base import Section
from nasflow.core.version import VERSION

IMAGES = ("beam", "trainer", "trainer-gpu", "ops", "server", "server-tf")
"""Short names of the images that `containers/Dockerfile` makes."""

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


class AcceleratorSection(Section):
    """GPUs of the search and train tasks on Kubernetes."""

    type: str = "nvidia.com/gpu"
    """The Kubernetes resource name."""
    count: Annotated[int, Field(ge=1)] = 1
    """How many for a task."""
    pool: str | None = None
    """Value of `pool_label` on the nodes to use."""
    pool_label: str = "cloud.google.com/gke-nodepool"
    """The node label that names a pool."""
    spot: bool = False
    """Tolerate and select spot nodes."""


class ResourcesSection(Section):
    """What a task gets on Kubernetes. Local runs ignore it."""

    accelerator: AcceleratorSection | None = None
    """GPUs for search and train; left out, they run on CPUs."""
    cpu: str = "2"
    """CPU request and limit of the search and train tasks."""
    memory: str = "8G"
    """Memory request and limit of the search and train tasks."""
    retries: Annotated[int, Field(ge=0)] = 2
    """Times that a failed task is tried again; it goes on where it stopped."""
    timeout_hours: Annotated[float, Field(gt=0)] = 24.0
    """A task is ended after so long."""
    image_prefix: str = "nasflow"
    """Registry and folder of the images: `PREFIX/trainer:VERSION`."""
    image_digests: dict[str, Digest] = Field(default_factory=dict)
    """Pins images: by short name (`beam`, `trainer`, `trainer-gpu`, `ops`, `server`, `server-tf`) the registry's
    `sha256:…`. Those that are named run as `PREFIX/trainer@sha256:…`, whatever the tag points at by then."""
    service_account: str | None = None
    """Kubernetes service account of the run."""
    account_per_step: bool = False
    """Each task has only the rights that it uses (`manifests/base/rbac.yaml`). Argo: tasks run as
    `SERVICE_ACCOUNT-STEP`. Kubeflow Pipelines gives all tasks of a run one account: deploy, and a search that makes
    pods, are given another one's token, from the Secret `SERVICE_ACCOUNT-STEP-token`."""

    def image(self, name: str) -> str:
        """A container image by its short name.

        >>> ResourcesSection(image_prefix="r", image_digests={"ops": "sha256:" + 64 * "0"}).image("ops")[:16]
        'r/ops@sha256:000'
        """
        digest = self.image_digests.get(name)
        return f"{self.image_prefix}/{name}@{digest}" if digest else f"{self.image_prefix}/{name}:{VERSION}"

    def account_of(self, step: str) -> str | None:
        """The service account of a step's own; None where there is none.

        >>> ResourcesSection(service_account="nasflow-runner", account_per_step=True).account_of("deploy")
        'nasflow-runner-deploy'
        """
        return f"{self.service_account}-{step}" if self.account_per_step else None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.account_per_step and not self.service_account:
            raise ValueError("account_per_step needs service_account, the beginning of the accounts' names")
        return self

    @field_validator("image_digests")
    @classmethod
    def _known(cls, digests: dict[str, str]) -> dict[str, str]:
        if unknown := sorted(set(digests) - set(IMAGES)):
            raise ValueError(f"no image {unknown[0]!r}; there are {', '.join(IMAGES)}")
        return digests
