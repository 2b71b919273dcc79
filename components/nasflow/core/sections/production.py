"""`register` and `deploy`: where the model goes."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from nasflow.core.sections._base import Name, Section
from nasflow.core.sections.resources import AcceleratorSection


class RegisterSection(Section):
    """Where the model's version goes."""

    name: Name | None = None
    """The model's name, of lower-case letters, digits and dashes; left out: the experiment's."""
    registry: Literal["file", "kubeflow", "mlflow"] = "file"
    """`file`: versions and aliases as objects in a folder or bucket. `kubeflow`, `mlflow`: the same, and a Kubeflow
    Model Registry or an MLflow server at `server` shows them. The bucket decides: neither can compare and swap."""
    uri: str | None = None
    """The registry's folder or `gs://` prefix; left out: `WORK_DIR/registry`."""
    server: str | None = None
    """`kubeflow`, `mlflow`: the server, `http(s)://HOST:PORT`. For `mlflow` also a database (`sqlite:///mlflow.db`),
    where the whole package `mlflow` is installed; images have its client only. Without user and password: this file is
    kept with every version. MLflow's client takes them from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."""

    @field_validator("server")
    @classmethod
    def _holds_no_password(cls, server: str | None) -> str | None:
        if server is not None and "@" in (authority := urlsplit(server).netloc):
            raise ValueError(
                f"must name no user or password, which would be read in pipelines, logs and the registry; name "
                f"{server.split('://')[0]}://{authority.rpartition('@')[2]} and set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD where the step runs"
            )
        return server

    @model_validator(mode="after")
    def _names_its_server(self) -> Self:
        if self.registry != "file" and self.server is None:
            raise ValueError(
                f"registry {self.registry} needs server: the address of the server that shows the versions"
            )
        if self.registry == "file" and self.server is not None:
            raise ValueError(f"server {self.server!r} needs registry: kubeflow or mlflow")
        return self


class DeploySection(Section):
    """Where the promoted model goes."""

    target: Literal["local", "docker", "manifest", "kserve"] = "local"
    """`local`: the KServe server on loopback answers the golden rows, then stops; `nasflow serve` runs it for good.
    `docker`: the server's image as a container on loopback, left running. `manifest`: the InferenceService as YAML, for
    GitOps. `kserve`: applied to a cluster; a canary where an earlier version serves, then promoted or rolled back."""
    timeout_seconds: Annotated[int, Field(ge=5)] = 120
    """Targets `local`, `docker`: the server must be ready by then."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Target `docker`: the port on loopback; 0 takes a free one."""
    storage_uri: str | None = None
    """Where the cluster finds the bundle: `gs://…`, `s3://…`, `pvc://CLAIM/path`; `{name}`, `{version}`, `{digest}` are
    filled in. Left out: the registry's copy, which must then be on `gs://`. A file registry on a claim:
    `pvc://CLAIM/FOLDER/{name}/bundles/{digest}`."""
    image: str | None = None
    """The server's image; left out, with `resources.image_prefix`: `PREFIX/server:VERSION` (ONNX Runtime alone) for a
    model that could be exported to ONNX, else `PREFIX/server-tf:VERSION` (TensorFlow for CPUs, too)."""
    namespace: Name | None = None
    """The InferenceService's namespace; left out: that of the pod, or of kubectl's context."""
    mode: Literal["standard", "knative"] = "standard"
    """How KServe runs it: plain Deployments (canaries need KServe 0.20 or later), or Knative (scales to zero)."""
    runtime: Literal["nasflow", "tensorflow"] = "nasflow"
    """`nasflow`: our server. `tensorflow`: KServe's TensorFlow Serving; with target `manifest` only."""
    canary_percent: Annotated[int, Field(ge=0, le=99)] = 10
    """Share of the requests that a new version gets while it is watched; 0: only golden rows."""
    watch_minutes: Annotated[float, Field(ge=0)] = 10.0
    """How long a canary is watched before it is promoted."""
    ready_minutes: Annotated[float, Field(gt=0)] = 15.0
    """Target `kserve`: a version must be Ready by then."""
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = 0.01
    """A canary is rolled back above this share of failed requests (HTTP 5xx, or no answer), or where it refuses (HTTP
    400, 422) so many more than the version that serves in the same time."""
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    """A canary is rolled back if its 95th percentile is above this; null: latency does not decide."""
    max_prediction_drift: Annotated[float, Field(gt=0)] | None = 0.25
    """A canary is rolled back if its predictions of users' rows are distributed otherwise than those of the version
    that serves: the population stability index, judged once both have predicted 200 rows; null: it does not decide."""
    min_requests: Annotated[int, Field(ge=1)] = 20
    """Requests, golden rows included, that a canary must have answered before it is judged."""
    min_replicas: Annotated[int, Field(ge=0)] = 1
    """Pods at least; 0 (Knative only) lets an idle service stop."""
    max_replicas: Annotated[int, Field(ge=1)] = 3
    """Pods at most."""
    scale_target: Annotated[int, Field(ge=1)] | None = None
    """Adds pods above it. Standard: percent of the requested CPU, 80 where left out; Knative: requests in hand of a
    pod, 10 where left out."""
    service_account: str | None = None
    """Kubernetes service account of the server's pods; it reads the bundle."""
    cpu: str = "1"
    """CPU request and limit of a pod."""
    memory: str = "2Gi"
    """Memory request and limit of a pod."""
    accelerator: AcceleratorSection | None = None
    """GPUs of a pod. Our servers' images compute on CPUs: name an `image` that has CUDA."""

    @model_validator(mode="after")
    def _can_be_deployed(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas must be <= max_replicas, got {self.min_replicas} > {self.max_replicas}")
        if self.mode == "standard" and self.min_replicas < 1:
            raise ValueError("min_replicas must be >= 1, got 0: only mode knative scales to zero")
        if self.runtime == "tensorflow" and self.target == "kserve":
            raise ValueError("runtime tensorflow needs target manifest: a canary is judged by our server's metrics")
        if self.accelerator and self.runtime == "nasflow" and self.image is None:
            raise ValueError("accelerator needs image: the servers' own images compute on CPUs only")
        return self
