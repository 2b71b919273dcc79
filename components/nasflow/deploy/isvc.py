"""The InferenceService that nasflow asks KServe for: one predictor a version, and how far its rollout is.

What was checked against: the CRD of KServe v0.20.0 (`nasflow.deploy.crd`), and that version's validating webhook and
controller, read, not run. They ask for three things that are easy to miss: a Standard canary needs the annotation
``deploymentMode: Standard``, a ``STORAGE_URI`` that changes with the predictor's name, and no autoscaling of its own.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from nasflow.core.errors import NasflowError, UserError
from nasflow.core.node_pool import node_pool
from nasflow.core.storage import join
from nasflow.deploy.spec import DeploySpec
from nasflow.serving.engines import EngineName

API_VERSION = "serving.kserve.io/v1beta1"
KIND = "InferenceService"
STATE = "nasflow.dev/rollout"
"""The annotation that holds the `Rollout`: the cluster's object is the only place where it is kept."""

_KSERVE = "serving.kserve.io"
_MOUNT = "/mnt/models"  # where KServe's storage initialiser puts STORAGE_URI
_PORT = 8080
_DRAIN_SECONDS = 10
"""A pod that is to end still answers so long: endpoints are taken out while it ends, not before. Within Kubernetes'
default grace period of 30 s, with uvicorn's own 10 s for requests in hand."""
_REMOTE = ("gs://", "s3://", "pvc://")
_SCALE = {"standard": ("cpu", 80), "knative": ("concurrency", 10)}
_LONGEST_NAME = 63  # of a Kubernetes service


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A registered version that is to be served."""

    name: str
    version: int
    bundle_uri: str
    bundle_digest: str
    engine: EngineName = "onnx"
    """What the bundle needs (`nasflow.serving.engines.needed`): chooses the image."""

    @property
    def predictor(self) -> str:
        """The predictor's name, which names its Deployment and Service."""
        return f"v{self.version}"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Serving(_Frozen):
    """A version and the predictor that serves it."""

    version: int
    predictor: dict[str, Any]
    digest: str = ""
    """Of its bundle; empty where an earlier nasflow wrote it."""


class Rollout(_Frozen):
    """How far a version's way into production is."""

    phase: Literal["first", "canary", "promoted", "rolled_back"]
    """`first`: no earlier version serves; `canary`: one does; then one of the two ends."""
    version: int
    digest: str
    """Of the version's bundle."""
    stable: Serving | None = None
    """What serves everybody else; None where nothing did before."""
    leaving: Serving | None = None
    """Standard: what served before a promotion. It stays, without a share, until the service's address is the new
    one's: KServe 0.20 would delete its Service first, and who asks in between would be told that there is none."""
    revision: str = ""
    """Knative: the last revision made before this version's own."""
    watched_since: float | None = None
    """Unix seconds."""
    reason: str = ""
    """Why it was promoted or rolled back."""


def predictor(spec: DeploySpec, release: Release) -> dict[str, Any]:
    """The ``spec.predictor`` of one version.

    Raises:
        UserError: the cluster cannot reach the bundle, or the name is too long for a Kubernetes service.
    """
    service = f"{release.name}-{release.predictor}-predictor"
    if not release.name[0].isalpha() or len(service) > _LONGEST_NAME:
        raise UserError(
            f"register.name: {release.name!r} cannot name a Kubernetes service ({service}, at most {_LONGEST_NAME} "
            "characters, a letter first); choose another"
        )
    metric, target = _SCALE[spec.mode]
    made: dict[str, Any] = {
        "minReplicas": spec.min_replicas,
        "maxReplicas": spec.max_replicas,
        "scaleMetric": metric,
        "scaleTarget": spec.scale_target or target,
        # KServe hands the service's annotations on to its pods, where the predictor's own come first. Without this one
        # each step of a rollout would change all pods' template: new pods (Standard), or another revision (Knative).
        "annotations": {STATE: "of the InferenceService"},
        **(_tensorflow(spec, release) if spec.runtime == "tensorflow" else {"containers": [_server(spec, release)]}),
    }
    if spec.mode == "standard":
        made["name"] = release.predictor
    if spec.runtime == "nasflow":
        made["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    if spec.service_account:
        made["serviceAccountName"] = spec.service_account
    if spec.accelerator:
        made |= node_pool(spec.accelerator)
    return made


def service(
    spec: DeploySpec,
    name: str,
    namespace: str | None,
    *,
    serving: Mapping[str, Any],
    candidate: Mapping[str, Any] | None = None,
    percent: int | None = None,
    rollout: Rollout | None = None,
    stop: bool = False,
) -> dict[str, Any]:
    """The whole object, as it is applied.

    Args:
        spec: mode and runtime.
        name: the model's.
        namespace: left out of the object where None.
        serving: the predictor of the version that serves.
        candidate: the predictor of a canary.
        percent: its share of the requests.
        rollout: kept in the annotation `STATE`.
        stop: ask KServe to stop all pods: nothing that can be trusted is there to serve.
    """
    body: dict[str, Any] = {"predictor": dict(serving)}
    if candidate is not None and spec.mode == "standard":
        share = {"trafficPercent": percent or 0, "predictor": _unscaled(candidate)}
        body["canary"] = [share]
    elif candidate is not None:
        body["predictor"] = {**candidate, "canaryTrafficPercent": percent or 0}
    annotations = {
        f"{_KSERVE}/deploymentMode": spec.mode.capitalize(),
        f"{_KSERVE}/enable-prometheus-scraping": "true",
    }
    if spec.mode == "standard":
        annotations[f"{_KSERVE}/autoscalerClass"] = "hpa"
    else:
        annotations[f"{_KSERVE}/enable-tag-routing"] = "true"  # a canary gets a URL of its own
    if stop:
        annotations[f"{_KSERVE}/stop"] = "true"
    if rollout is not None:
        annotations[STATE] = rollout.model_dump_json(exclude_none=True)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": name,
            **({"namespace": namespace} if namespace else {}),
            "labels": {"app.kubernetes.io/managed-by": "nasflow", "app.kubernetes.io/name": name},
            "annotations": annotations,
        },
        "spec": body,
    }


def rollout_of(live: Mapping[str, Any]) -> Rollout:
    """Reads the state back from a cluster's object.

    Raises:
        UserError: nasflow did not make this object.
        NasflowError: the annotation is not what nasflow wrote.
    """
    metadata = live["metadata"]
    text = (metadata.get("annotations") or {}).get(STATE)
    where = f"InferenceService {metadata.get('namespace', '')}/{metadata['name']}"
    if text is None:
        raise UserError(
            f"{where}: exists, but not by nasflow (no annotation {STATE}); delete it, or set register.name or "
            "deploy.namespace to another"
        )
    try:
        return Rollout.model_validate_json(text)
    except ValidationError as error:
        raise NasflowError(
            f"{where}: annotation {STATE} is damaged: {error}; delete the object to start again"
        ) from error


def storage_uri(spec: DeploySpec, release: Release) -> str:
    """Where the cluster finds the bundle.

    Raises:
        UserError: a path of this machine.
    """
    uri = spec.storage_uri or release.bundle_uri
    filled_in = {"{name}": release.name, "{version}": str(release.version), "{digest}": release.bundle_digest}
    for key, value in filled_in.items():
        uri = uri.replace(key, value)
    if not uri.startswith(_REMOTE):
        raise UserError(
            f"deploy.storage_uri: a cluster cannot read {uri!r}; set register.uri to a gs:// prefix, or name where the "
            "cluster finds the bundle (gs://…, pvc://CLAIM/path; {name}, {version} and {digest} are filled in)"
        )
    return uri


def _server(spec: DeploySpec, release: Release) -> dict[str, Any]:
    probe: dict[str, Any] = {
        "httpGet": {"path": f"/v2/models/{release.name}/ready", "port": _PORT},
        "timeoutSeconds": 5,
    }
    container: dict[str, Any] = {
        "name": "kserve-container",
        "image": spec.server_image(release.engine),
        "imagePullPolicy": "IfNotPresent",  # tags are versions and never move
        "command": ["python", "-m", "nasflow.serving"],
        "args": [
            *("--bundle", _MOUNT, "--digest", release.bundle_digest, "--name", release.name),
            *("--version", str(release.version), "--drain-seconds", str(_DRAIN_SECONDS)),
            *("--host", "0.0.0.0", "--port", str(_PORT)),  # noqa: S104  # the pod's own address
        ],
        "env": [
            {"name": "STORAGE_URI", "value": storage_uri(spec, release)},
            {"name": "PROTOCOL", "value": "v2"},
        ],
        "ports": [{"containerPort": _PORT, "protocol": "TCP"}],
        "resources": _resources(spec),
        "readinessProbe": {**probe, "periodSeconds": 5},
        "livenessProbe": {
            "httpGet": {"path": "/v2/health/live", "port": _PORT},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "initialDelaySeconds": 60,
        },
        "securityContext": {  # the Pod Security Standard `restricted`, on the container: Knative allows none on the pod
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  # the mount itself
    }
    if spec.mode == "standard":
        container["startupProbe"] = {**probe, "periodSeconds": 5, "failureThreshold": 60}
    return container


def _tensorflow(spec: DeploySpec, release: Release) -> dict[str, Any]:
    """TensorFlow Serving looks for numbered folders below /mnt/models."""
    return {
        "model": {
            "modelFormat": {"name": "tensorflow", "version": "2"},
            "protocolVersion": "v1",
            "resources": _resources(spec),
        },
        "storageUris": [{"uri": join(storage_uri(spec, release), "saved_model"), "mountPath": f"{_MOUNT}/1"}],
    }


def _resources(spec: DeploySpec) -> dict[str, Any]:
    amounts = {"cpu": spec.cpu, "memory": spec.memory}
    if spec.accelerator:
        amounts[spec.accelerator.type] = str(spec.accelerator.count)
    return {"requests": amounts, "limits": dict(amounts)}


def _unscaled(candidate: Mapping[str, Any]) -> dict[str, Any]:
    """A Standard canary has a fixed number of pods: KServe refuses autoscaling on it, and gives 0 % no pod."""
    refused = {"maxReplicas", "scaleMetric", "scaleTarget"}
    return {**{key: value for key, value in candidate.items() if key not in refused}, "minReplicas": 1}
