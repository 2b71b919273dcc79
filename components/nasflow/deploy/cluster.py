"""The few calls that nasflow makes to a Kubernetes cluster, behind a narrow interface."""

import json
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from nasflow.core.errors import NasflowError, TryAgainError, UserError
from nasflow.serving.probe import PROBE

FIELD_MANAGER = "nasflow"
VERBS = ("create", "get", "patch")
"""What `KubernetesCluster` asks for on inferenceservices; ``manifests/base/rbac.yaml`` grants these. Server-side
apply is a patch, and a create where the object is new."""

_HEADERS = {"Content-Type": "application/json", PROBE: "deploy"}
_GROUP = "/apis/serving.kserve.io/v1beta1"
_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_BUSY = (429, 500, 502, 503, 504)


class Cluster(Protocol):
    """InferenceServices of one namespace. Raises what `KubernetesCluster` raises."""

    namespace: str
    inside: bool
    """Whether this process runs in the cluster."""

    def get(self, name: str) -> dict[str, Any] | None:
        """The object as it is now, or None."""

    def apply(self, service: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Server-side apply: fields that we applied before and leave out now are removed; others' stay."""

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
        NasflowError: the API server refuses the object; with its reason.
    """

    def __init__(self, client: Any, namespace: str, *, inside: bool) -> None:
        self.namespace = namespace
        self._client = client
        self.inside = inside

    @classmethod
    def connect(cls, namespace: str | None) -> Self:
        """As a pod's account in a cluster, else by kubectl's configuration."""
        from kubernetes import client, config
        from kubernetes.config.config_exception import ConfigException

        if _POD.exists():
            config.load_incluster_config()
            return cls(client.ApiClient(), namespace or _POD.read_text(encoding="utf-8").strip(), inside=True)
        try:
            config.load_kube_config()
            _, context = config.list_kube_config_contexts()
        except ConfigException as error:
            raise UserError(
                f"deploy.target: kserve: no cluster is configured: {error}; run it in a cluster, or set KUBECONFIG"
            ) from error
        return cls(client.ApiClient(), namespace or context["context"].get("namespace", "default"), inside=False)

    def get(self, name: str) -> dict[str, Any] | None:
        return self._call("GET", self._path(name), missing_ok=True)

    def apply(self, service: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        query = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]
        if dry_run:
            query.append(("dryRun", "All"))
        made = self._call("PATCH", self._path(service["metadata"]["name"]), dict(service), "apply-patch+yaml", query)
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
            response = self._client.call_api(
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
            return error.status, str(error.body or error.reason).encode()
        except HTTPError as error:
            raise OSError(str(error)) from error
        return response.status, response.data

    def _path(self, name: str) -> str:
        return f"{_GROUP}/namespaces/{self.namespace}/inferenceservices/{name}"

    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        kind: str = "json",
        query: list[tuple[str, str]] | None = None,
        *,
        missing_ok: bool = False,
    ) -> dict[str, Any] | None:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            made: dict[str, Any] | None = self._client.call_api(
                path,
                method,
                query_params=query or [],
                header_params={"Content-Type": f"application/{kind}", "Accept": "application/json"},
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=60,
            )
        except ApiException as error:
            if error.status == 404 and missing_ok:
                return None
            raise _named(
                error, f"{method.lower()} inferenceservice {path.rpartition('/')[2]}", self.namespace
            ) from error
        except HTTPError as error:
            raise TryAgainError(f"deploy: the Kubernetes API server does not answer: {error}") from error
        return made


def _named(error: Any, what: str, namespace: str) -> NasflowError:
    try:
        message = str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        message = f"{error.status} {error.reason}"
    where = f"deploy: {what} in namespace {namespace}: {message}"
    if error.status in _BUSY:
        return TryAgainError(where)
    if error.status in (401, 403):
        return UserError(f"{where}; manifests/base/rbac.yaml has the rights that nasflow needs")
    if error.status == 404:
        return UserError(
            f"{where}; is KServe installed (CRD inferenceservices.serving.kserve.io), and the namespace there?"
        )
    if error.status == 409:
        return NasflowError(f"{where}; somebody else set these fields: let one tool manage this object")
    return NasflowError(where)
