"""Calls to a Kubernetes API server, on the official client: who we are, one call, and errors with exit codes.

Which objects are touched, and with which verbs, is their user's business (`nasflow.deploy.cluster`,
`nasflow.search.cluster_jobs`): each says it in a constant that ``manifests/`` is compared with.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from nasflow.core.errors import ChangedError, NasflowError, TryAgainError, UserError

SECONDS = 60
"""Of one call."""

_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_BUSY = (429, 500, 502, 503, 504)
_USERS = (401, 403, 404)


class KubernetesApi:
    """One namespace of a cluster.

    Raises:
        UserError: no cluster is configured, this account may not do it, or what is named is not there.
        TryAgainError: the API server does not answer, or is busy.
        ChangedError: the object is not the ``metadata.resourceVersion`` that was sent.
        NasflowError: the API server refuses the object; with its reason.
    """

    def __init__(self, client: Any, namespace: str, *, inside: bool, step: str) -> None:
        """`inside`: this process runs in the cluster; `step`: who calls, for messages."""
        self.client, self.namespace, self.inside, self._step = client, namespace, inside, step

    @classmethod
    def connect(cls, namespace: str | None, *, step: str, wanted: str, account: Path | None = None) -> Self:
        """As a pod's account in a cluster, else by kubectl's configuration.

        Args:
            namespace: Left out: the pod's, or the configuration's.
            step: Who calls, for messages.
            wanted: The key that asks for it.
            account: Where another account's token may be mounted (``token``, ``ca.crt``, ``namespace``); if it is, we
                are that one.
        """
        from kubernetes import client, config
        from kubernetes.config.config_exception import ConfigException
        from kubernetes.config.incluster_config import InClusterConfigLoader

        if account is not None and (account / "token").exists():
            InClusterConfigLoader(str(account / "token"), str(account / "ca.crt")).load_and_set()
            here = (account / "namespace").read_text(encoding="utf-8").strip()
            return cls(client.ApiClient(), namespace or here, inside=True, step=step)
        if _POD.exists():
            config.load_incluster_config()
            here = _POD.read_text(encoding="utf-8").strip()
            return cls(client.ApiClient(), namespace or here, inside=True, step=step)
        try:
            config.load_kube_config()
            _, context = config.list_kube_config_contexts()
        except ConfigException as error:
            raise UserError(
                f"{wanted}: no cluster is configured: {error}; run it in a cluster, or set KUBECONFIG"
            ) from error
        default = context["context"].get("namespace", "default")
        return cls(client.ApiClient(), namespace or default, inside=False, step=step)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        what: str,
        kind: str = "json",
        query: Sequence[tuple[str, str]] = (),
        missing_ok: bool = False,
        advice: Mapping[int, str] | None = None,
    ) -> dict[str, Any] | None:
        """One call; None where the object is not there and `missing_ok`.

        Args:
            method: HTTP's.
            path: From ``/api`` or ``/apis``.
            body: As JSON; `kind` is its content type, without ``application/``.
            what: For messages, as in ``get job x``.
            kind: See `body`.
            query: Parameters.
            missing_ok: Whether 404 is an answer.
            advice: By HTTP status: what to do about it.
        """
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            made: dict[str, Any] | None = self.client.call_api(
                path,
                method,
                query_params=list(query),
                header_params={"Content-Type": f"application/{kind}", "Accept": "application/json"},
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=SECONDS,
            )
        except ApiException as error:
            if error.status == 404 and missing_ok:
                return None
            raise self._named(error, what, advice or {}) from error
        except HTTPError as error:
            raise TryAgainError(f"{self._step}: the Kubernetes API server does not answer: {error}") from error
        return made

    def _named(self, error: Any, what: str, advice: Mapping[int, str]) -> NasflowError:
        try:
            said = json.loads(error.body)
            message = str(said["message"])
        except (TypeError, ValueError, KeyError):
            said, message = {}, f"{error.status} {error.reason}"
        status = 403 if error.status == 401 else error.status
        where = f"{self._step}: {what} in namespace {self.namespace}: {message}"
        if error.status in _BUSY:
            return TryAgainError(where)
        if error.status == 409 and not (said.get("details") or {}).get("causes"):
            return ChangedError(where)  # a conflict of field managers has causes, one a field
        if status in advice:
            where = f"{where}; {advice[status]}"
        return UserError(where) if error.status in _USERS else NasflowError(where)
