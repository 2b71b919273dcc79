"""The few calls that a search makes to the cluster that it runs in: one Job, and the pods that are seen of it."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from nasflow.core.errors import NasflowError, UserError
from nasflow.core.kubernetes_api import KubernetesApi

JOB_VERBS = ("create", "delete", "get", "list")
"""What `KubernetesJobs` asks for on jobs; ``manifests/components/search-workers`` grants these."""
POD_VERBS = ("list",)
"""On pods."""

ACCOUNT = Path("/var/run/secrets/nasflow/search")
"""Where a pipeline mounts the token of an account that may do this, if the pod's own may not."""

_RBAC = "manifests/components/search-workers has the rights that a search with workers in pods needs"
_ADVICE = {403: _RBAC}


class Jobs(Protocol):
    """Jobs and pods of the search's own namespace. Raises what `KubernetesApi` raises."""

    def own_pod(self) -> dict[str, Any]:
        """The pod that this process runs in.

        Raises:
            UserError: in none.
        """

    def create(self, job: Mapping[str, Any]) -> None:
        """Makes a Job."""

    def get(self, name: str) -> dict[str, Any] | None:
        """A Job as it is now, or None."""

    def names(self, labels: str) -> list[str]:
        """Of the Jobs that have these labels, as in ``a=b,c=d``."""

    def pods(self, labels: str) -> list[dict[str, Any]]:
        """The pods that have these labels."""

    def delete(self, name: str) -> None:
        """Removes a Job and its pods; nothing happens where there is none."""


class KubernetesJobs:
    """The real one."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    @classmethod
    def connect(cls) -> Self:
        """As the account whose token is mounted for it, or as the pod's.

        Raises:
            UserError: the search does not run in a cluster.
        """
        if "KUBERNETES_SERVICE_HOST" not in os.environ:
            raise UserError(
                "search.launcher.kind: kubernetes: the search itself must run in the cluster, where its workers reach "
                "it; submit the pipeline, or set search.launcher.kind: process"
            )
        wanted = "search.launcher.kind: kubernetes"
        return cls(KubernetesApi.connect(None, step="search", wanted=wanted, account=ACCOUNT))

    def own_pod(self) -> dict[str, Any]:
        """By address: a pod's name is cut in its host name, and not every orchestrator tells it."""
        address = own_address()
        found = self._list(f"/api/v1/namespaces/{self._api.namespace}/pods",
                           "list pods", fieldSelector=f"status.podIP={address},status.phase=Running")  # fmt: skip
        if len(found) != 1:
            raise NasflowError(
                f"search.launcher.kind: kubernetes: {len(found)} running pods of namespace {self._api.namespace} have "
                f"this process's address, {address}; a search with hostNetwork cannot have workers in pods"
            )
        return found[0]

    def create(self, job: Mapping[str, Any]) -> None:
        # Warn: a server that is too old for a field (backoffLimitPerIndex: 1.28) leaves it out instead of refusing.
        self._api.call(
            "POST",
            self._jobs,
            dict(job),
            what=f"create job {job['metadata']['name']}",
            query=[("fieldValidation", "Warn")],
            advice=_ADVICE,
        )

    def get(self, name: str) -> dict[str, Any] | None:
        return self._api.call("GET", f"{self._jobs}/{name}", what=f"get job {name}", missing_ok=True, advice=_ADVICE)

    def names(self, labels: str) -> list[str]:
        return [each["metadata"]["name"] for each in self._list(self._jobs, "list jobs", labelSelector=labels)]

    def pods(self, labels: str) -> list[dict[str, Any]]:
        return self._list(f"/api/v1/namespaces/{self._api.namespace}/pods", "list pods", labelSelector=labels)

    def delete(self, name: str) -> None:
        self._api.call(
            "DELETE",
            f"{self._jobs}/{name}",
            what=f"delete job {name}",
            query=[("propagationPolicy", "Background")],  # else the pods of a Job stay
            missing_ok=True,
            advice=_ADVICE,
        )

    @property
    def _jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self._api.namespace}/jobs"

    def _list(self, path: str, what: str, **query: str) -> list[dict[str, Any]]:
        made = self._api.call("GET", path, what=what, query=list(query.items()), advice=_ADVICE)
        assert made is not None
        items: list[dict[str, Any]] = made["items"]
        return items


def own_address() -> str:
    """This machine's address towards the API server (no packet is sent)."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ.get("KUBERNETES_SERVICE_PORT", "443"))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        return str(probe.getsockname()[0])
