"""The few calls that nasflow makes to a Kubernetes cluster, behind a narrow interface."""

import json
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from nasflow.core.kubernetes_api import KubernetesApi
from nasflow.serving.probe import PROBE

FIELD_MANAGER = "nasflow"
VERBS = ("create", "get", "patch")
"""What `KubernetesCluster` asks for on inferenceservices; ``manifests/base/rbac.yaml`` grants these. Server-side
apply is a patch, and a create where the object is new."""

_HEADERS = {"Content-Type": "application/json", PROBE: "deploy"}
_GROUP = "/apis/serving.kserve.io/v1beta1"
_ADVICE = {
    403: "manifests/base/rbac.yaml has the rights that nasflow needs",
    404: "is KServe installed (CRD inferenceservices.serving.kserve.io), and the namespace there?",
    409: "somebody else set these fields: let one tool manage this object",
}
ACCOUNT = Path("/var/run/secrets/nasflow/deploy")
"""Where a pipeline mounts the token of an account that may do this, if the pod's own may not."""


class Cluster(Protocol):
    """InferenceServices of one namespace. Raises what `KubernetesCluster` raises."""

    namespace: str
    inside: bool
    """Whether this process runs in the cluster."""

    def get(self, name: str) -> dict[str, Any] | None:
        """The object as it is now, or None."""

    def apply(self, service: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Server-side apply: fields that we applied before and leave out now are removed; others' stay.

        Raises:
            ChangedError: `service` has a ``metadata.resourceVersion``, and the object another one by now.
        """

    def request(self, method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Calls a service by the URL that its status names, marked as a probe; returns status and body.

        Raises:
            OSError: no answer.
        """


class KubernetesCluster:
    """The real one, on the official client.

    Raises:
        UserError: no cluster is configured, or this account may not do it.
        TryAgainError: the API server does not answer, or is busy.
        ChangedError: the object has changed since it was read.
        NasflowError: the API server refuses the object; with its reason.
    """

    def __init__(self, client: Any, namespace: str, *, inside: bool) -> None:
        self.namespace, self.inside = namespace, inside
        self._api = KubernetesApi(client, namespace, inside=inside, step="deploy")

    @classmethod
    def connect(cls, namespace: str | None) -> Self:
        """In a cluster as the account whose token is mounted for it, or as the pod's; else as kubectl is configured."""
        api = KubernetesApi.connect(namespace, step="deploy", wanted="deploy.target: kserve", account=ACCOUNT)
        return cls(api.client, api.namespace, inside=api.inside)

    def get(self, name: str) -> dict[str, Any] | None:
        return self._api.call("GET", self._path(name), what=_what("get", name), missing_ok=True, advice=_ADVICE)

    def apply(self, service: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        query = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
        if dry_run:
            query.append(("dryRun", "All"))
        name, path = service["metadata"]["name"], self._path(service["metadata"]["name"])
        kind, what = "apply-patch+yaml", _what("patch", name)
        made = self._api.call("PATCH", path, dict(service), kind=kind, query=query, what=what, advice=_ADVICE)
        assert made is not None
        return made

    def request(self, method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
        """From outside the cluster, a service's own address goes through the API server's proxy."""
        import urllib.error
        import urllib.request

        parts = urllib.parse.urlsplit(url)
        if not self.inside and ".svc" in (parts.hostname or ""):
            return self._proxied(method, parts, body)
        request = urllib.request.Request(url, data=body, method=method, headers=_HEADERS)  # noqa: S310  # from the status
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({})) if self.inside else None
        try:
            with (opener.open if opener else urllib.request.urlopen)(request, timeout=60) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def _proxied(self, method: str, parts: urllib.parse.SplitResult, body: bytes | None) -> tuple[int, bytes]:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        service, namespace = (parts.hostname or "").split(".")[:2]
        path = f"/api/v1/namespaces/{namespace}/services/http:{service}:{parts.port or 80}/proxy{parts.path}"
        try:
            response = self._api.client.call_api(
                path,
                method,
                header_params=_HEADERS,
                body=json.loads(body) if body else None,  # the client makes JSON of it again
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=60,
            )
        except ApiException as error:
            said = error.body or error.reason  # bytes, where the answer was not to be read yet
            return error.status, said if isinstance(said, bytes) else str(said).encode()
        except HTTPError as error:
            raise OSError(str(error)) from error
        return response.status, response.data

    def _path(self, name: str) -> str:
        return f"{_GROUP}/namespaces/{self.namespace}/inferenceservices/{name}"


def _what(verb: str, name: str) -> str:
    return f"{verb} inferenceservice {name}"
