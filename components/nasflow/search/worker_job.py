"""The Indexed Job of a search's workers, as Kubernetes reads it."""

import dataclasses
import signal
from collections.abc import Mapping
from typing import Any

from nasflow.core.errors import EXIT_USER, UserError
from nasflow.core.node_pool import node_pool
from nasflow.core.spec import LauncherSection
from nasflow.core.storage import is_local, local_path

STUDY_LABEL = "nasflow.dev/study"
ROLE_LABEL = "nasflow.dev/role"
"""``search-worker``; NetworkPolicies go by it, and by ``search`` on the search's own pod."""
INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
CONTAINER = "worker"

_RETRIES = 6
"""Pods of one index that may fail by themselves; preempted ones are not counted."""
_KEPT_SECONDS = 600
_GRACE_SECONDS = 25  # what GKE leaves a pod of a spot node


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """What workers take over from the search's own pod."""

    name: str
    uid: str
    image: str
    address: str
    pull_secrets: tuple[Mapping[str, Any], ...]
    service_account: str
    volumes: tuple[Mapping[str, Any], ...]
    mounts: tuple[Mapping[str, Any], ...]
    """Those of PersistentVolumeClaims."""

    @classmethod
    def of(cls, pod: Mapping[str, Any]) -> "Home":
        """Reads the pod; of several containers, ``main`` (as Argo and Kubeflow call it), else the first."""
        spec, containers = pod["spec"], pod["spec"]["containers"]
        main = next((each for each in containers if each["name"] == "main"), containers[0])
        claims = {each["name"]: each for each in spec.get("volumes", ()) if "persistentVolumeClaim" in each}
        mounts = tuple(each for each in main.get("volumeMounts", ()) if each["name"] in claims)
        return cls(
            name=pod["metadata"]["name"],
            uid=pod["metadata"]["uid"],
            image=main["image"],
            address=pod["status"]["podIP"],
            pull_secrets=tuple(spec.get("imagePullSecrets", ())),
            service_account=spec.get("serviceAccountName", "default"),
            volumes=tuple(claims[name] for name in sorted({each["name"] for each in mounts})),
            mounts=mounts,
        )

    def assert_shares(self, uri: str) -> None:
        """Workers read the data there, and keep their epochs.

        Raises:
            UserError: it is on no disk that they see.
        """
        if is_local(uri) and not any(local_path(uri).is_relative_to(each["mountPath"]) for each in self.mounts):
            raise UserError(
                f"search.launcher.kind: kubernetes: workers in other pods cannot see {uri}; set --work-dir to a gs:// "
                "prefix, or to a folder of a PersistentVolumeClaim that the search's pod mounts (ReadWriteMany)"
            )


def worker_job(section: LauncherSection, home: Home, *, study: str, size: int, meeting_uri: str) -> dict[str, Any]:
    """The Job.

    Args:
        section: With `cpu` and `memory` filled in.
        home: The search's pod; the Job goes when it goes.
        study: Sixteen hex digits that name the search.
        size: Workers.
        meeting_uri: See `nasflow.search.meeting`.
    """
    labels = {
        "app.kubernetes.io/managed-by": "nasflow",
        "app.kubernetes.io/component": "search-worker",
        ROLE_LABEL: "search-worker",
        STUDY_LABEL: study,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"nasflow-search-{study[:10]}-{home.uid[:8]}",
            "labels": labels,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": home.name, "uid": home.uid}],
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": size,
            "parallelism": size,
            "backoffLimitPerIndex": _RETRIES,
            "backoffLimit": _RETRIES * size,  # for servers that do not know the line above
            "maxFailedIndexes": size,
            "podFailurePolicy": {
                "rules": [
                    # The search has heard what is wrong with the user's input; it would be so again.
                    {"action": "FailJob", "onExitCodes": {"containerName": CONTAINER, "operator": "In",
                                                          "values": [EXIT_USER]}},
                    # Preempted, evicted, its node drained or gone.
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "Ignore", "onExitCodes": {"containerName": CONTAINER, "operator": "In",
                                                         "values": [128 + signal.SIGTERM]}},
                ]
            },
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": {
                "metadata": {
                    "labels": {**labels, "sidecar.istio.io/inject": "false"},  # a Job with a sidecar never completes
                },
                "spec": _pod(section, home, meeting_uri),
            },
        },
    }  # fmt: skip


def _pod(section: LauncherSection, home: Home, meeting_uri: str) -> dict[str, Any]:
    accelerator = section.accelerator
    amounts = {"cpu": section.cpu, "memory": section.memory}
    limits = {**amounts, **({accelerator.type: str(accelerator.count)} if accelerator else {})}
    return {
        "restartPolicy": "Never",
        "serviceAccountName": section.service_account or home.service_account,
        "automountServiceAccountToken": False,  # workers do not talk to the API server
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        **({"imagePullSecrets": [dict(each) for each in home.pull_secrets]} if home.pull_secrets else {}),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": section.image or home.image,
                "imagePullPolicy": "IfNotPresent",  # tags are versions and never move
                "command": ["python", "-m", "nasflow.search.pod"],
                "args": ["--meeting", meeting_uri, "--index", "$(JOB_COMPLETION_INDEX)"],
                "resources": {"requests": dict(limits), "limits": limits},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "dshm", "mountPath": "/dev/shm"},  # noqa: S108  # the mount itself
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # the mount itself
                    *(dict(each) for each in home.mounts),
                ],
            }
        ],
        "volumes": [
            {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}},
            {"name": "tmp", "emptyDir": {}},
            *(dict(each) for each in home.volumes),
        ],
        **(node_pool(accelerator) if accelerator else {}),
    }
