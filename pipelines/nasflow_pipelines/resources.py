"""What Kubernetes gives each task: images, CPU, memory, GPU pools, retries; from the YAML to kfp-kubernetes calls."""

import dataclasses
import math
from typing import Any, Self

from nasflow.core.node_pool import SPOT_LABEL
from nasflow.core.spec import AcceleratorSection, DeploySection, ExperimentSpec, LauncherSection, ResourcesSection
from nasflow.deploy import cluster
from nasflow.search import cluster_jobs
from nasflow.search.worker_job import ROLE_LABEL

USER_ID = 65532
"""The images' user: numeric, so that Kubernetes can verify ``runAsNonRoot``."""

SHARED_MEMORY = "2Gi"  # TensorFlow and NCCL outgrow the container default of 64 MiB
CPU_TASK = ("1", "4G")


def deploy_image(section: DeploySection) -> str:
    """The deploy step's own image, which is chosen before there is a bundle: with target `local` the step serves the
    bundle itself, by whichever engine it needs; with the others it needs none."""
    return "server-tf" if section.target == "local" else "server"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Sets up tasks; each method returns the task it was given."""

    section: ResourcesSection
    cluster: bool

    @classmethod
    def of(cls, experiment: ExperimentSpec, *, cluster: bool) -> Self:
        """The experiment's; with ``cluster=False`` only images are set, for a local run."""
        return cls(section=experiment.resources, cluster=cluster)

    def cpu(self, task: Any, image: str) -> Any:
        """A task that needs no accelerator."""
        self._common(task, image)
        if self.cluster:
            _limit(task, *CPU_TASK)
        return task

    def accelerated(self, task: Any) -> Any:
        """A task that trains: the spec's CPU and memory and, if it names one, its accelerator and pool."""
        accelerator = self.section.accelerator
        self._common(task, "trainer-gpu" if accelerator and self.cluster else "trainer")
        if self.cluster:
            _limit(task, self.section.cpu, self.section.memory)
            _shared_memory(task)
            if accelerator:
                _accelerate(task, accelerator)
        return task

    def searching(self, task: Any, launcher: LauncherSection) -> Any:
        """A search: it trains itself, or (`kubernetes`) has pods of its own train, and needs no accelerator; with
        `account_per_step` it alone holds a token that may make them."""
        if launcher.kind == "process" or not self.cluster:
            return self.accelerated(task)
        from kfp import kubernetes

        self._common(task, "trainer")
        _limit(task, self.section.cpu, self.section.memory)
        _shared_memory(task)
        kubernetes.add_pod_label(task, ROLE_LABEL, "search")  # NetworkPolicies go by it
        return self._as_account(task, "search", str(cluster_jobs.ACCOUNT))

    def deploying(self, task: Any, section: DeploySection) -> Any:
        """The deploy step; with `account_per_step` it alone holds a token that may apply InferenceServices."""
        self.cpu(task, deploy_image(section))
        return self._as_account(task, "deploy", str(cluster.ACCOUNT))

    def _as_account(self, task: Any, step: str, place: str) -> Any:
        """Kubeflow runs all tasks of a run as one account, and its platform spec knows neither a task's account nor a
        projected token: the only way to other rights is the token of another account, in a Secret."""
        if self.cluster and self.section.account_per_step:
            from kfp import kubernetes

            secret = f"{self.section.account_of(step)}-token"
            kubernetes.use_secret_as_volume(task, secret_name=secret, mount_path=place)
        return task

    def _common(self, task: Any, image: str) -> None:
        task.set_container_image(self.section.image(image))
        # No kfp cache: it keys on parameters and artifact names and cannot see a file change behind data.train.
        # Steps find their finished work under work_dir by the digests of all that they depend on.
        task.set_caching_options(enable_caching=False)
        if not self.cluster:
            return
        from kfp import kubernetes

        if self.section.retries:
            task.set_retry(
                num_retries=self.section.retries,
                backoff_duration="30s",
                backoff_factor=2.0,
                backoff_max_duration="600s",
            )
        kubernetes.set_timeout(task, seconds=math.ceil(self.section.timeout_hours * 3600))
        kubernetes.set_security_context(task, run_as_user=USER_ID, run_as_group=USER_ID, run_as_non_root=True)
        kubernetes.set_image_pull_policy(task, "IfNotPresent")  # tags are versions and never move


def _limit(task: Any, cpu: str, memory: str) -> None:
    task.set_cpu_request(cpu).set_cpu_limit(cpu).set_memory_request(memory).set_memory_limit(memory)


def _shared_memory(task: Any) -> None:
    from kfp import kubernetes

    kubernetes.empty_dir_mount(
        task,
        volume_name="dshm",
        mount_path="/dev/shm",  # noqa: S108  # the mount itself
        medium="Memory",
        size_limit=SHARED_MEMORY,
    )


def _accelerate(task: Any, accelerator: AcceleratorSection) -> None:
    from kfp import kubernetes

    task.set_accelerator_type(accelerator.type)
    task.set_accelerator_limit(str(accelerator.count))  # a string: the driver drops a number in silence
    kubernetes.add_toleration(task, key=accelerator.type, operator="Exists", effect="NoSchedule")
    if accelerator.pool:
        kubernetes.add_node_selector(task, label_key=accelerator.pool_label, label_value=accelerator.pool)
    if accelerator.spot:
        kubernetes.add_node_selector(task, label_key=SPOT_LABEL, label_value="true")
        kubernetes.add_toleration(task, key=SPOT_LABEL, operator="Equal", value="true", effect="NoSchedule")
