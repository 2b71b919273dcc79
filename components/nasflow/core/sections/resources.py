"""`resources`: what a task gets on Kubernetes."""

from typing import Annotated

from pydantic import Field

from nasflow.core.sections._base import Section


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
    service_account: str | None = None
    """Kubernetes service account of the run."""
