"""Puts the registered model where it serves, and proves that it answers there as it was evaluated.

| target     | what happens                                                                       | left running |
| ---------- | ---------------------------------------------------------------------------------- | ------------ |
| `local`    | the model server on loopback, for as long as the golden rows take                  | no           |
| `docker`   | the server's image as a container on loopback, behind a health check               | yes          |
| `manifest` | an InferenceService, checked against the CRD's schema, as `inferenceservice.yaml`  | no           |
| `kserve`   | the same, applied: canary, watch, promote or roll back (`nasflow.deploy.rollout`)  | yes          |

What serves is the bundle's choice: the image `server` where it has the network as ONNX, else `server-tf`.
"""

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from nasflow.core.artifacts import Endpoint, Evaluation, External, RegisteredModel
from nasflow.core.workspace import Place, run_once
from nasflow.deploy import crd, isvc, smoke
from nasflow.deploy.cluster import Cluster, KubernetesCluster
from nasflow.deploy.isvc import Release, Rollout, Serving
from nasflow.deploy.local_server import local_server
from nasflow.deploy.rollout import Deployment
from nasflow.deploy.spec import DeploySpec
from nasflow.serving import engines
from nasflow.serving.signature import AnsweredRows

logger = logging.getLogger(__name__)

MANIFEST_FILE = "inferenceservice.yaml"

Made = tuple[Endpoint, Mapping[str, bytes]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be deployed."""

    spec: DeploySpec
    registered: RegisteredModel
    answered: AnsweredRows
    """Rows that the served model must answer so."""
    again: bool = False
    """Try a version once more that was rolled back."""

    @property
    def release(self) -> Release:
        """The version, as manifests need it."""
        return Release(
            name=self.registered.name,
            version=self.registered.version,
            bundle_uri=self.registered.model_uri,
            bundle_digest=self.registered.model_digest,
            engine=engines.needed(self.registered.model_uri),
        )

    def endpoint(self, url: str, difference: float, *, running: bool) -> Endpoint:
        """The document."""
        return Endpoint(
            target=self.spec.target,
            url=url,
            name=self.registered.name,
            version=self.registered.version,
            golden_rows=len(self.answered.rows),
            max_difference=difference,
            running=running,
        )


def run(
    spec: DeploySpec, *, registered: RegisteredModel, evaluation: Evaluation, work_dir: str, output: str
) -> Endpoint:
    """Serves the registry's own copy of the model, digests verified, and compares its answers with evaluate's.

    The document's ``prediction.json`` shows one request and its answer, and the commands to have it again.

    Raises:
        NasflowError: the server did not start, or a golden row is answered otherwise than evaluate saw it; with target
            `kserve`, also: the canary was rolled back.
        DocumentError: a file of the registered model is missing or changed.
    """

    def produce(_place: Place) -> Made:
        verify(registered)
        return deploy(Order(spec=spec, registered=registered, answered=smoke.evaluated_rows(evaluation)))

    return run_once(
        "deploy",
        Endpoint,
        produce,
        spec=spec,
        inputs={"registered": registered, "evaluation": evaluation},
        work_dir=work_dir,
        output=output,
    )


def deploy(order: Order, *, cluster: Callable[[str | None], Cluster] = KubernetesCluster.connect) -> Made:
    """Does what `spec.target` says; returns the document and its files."""
    match order.spec.target:
        case "local":
            return _local(order)
        case "docker":
            return _docker(order)
        case "manifest":
            return _manifest(order)
        case "kserve":
            return _kserve(order, cluster(order.spec.namespace))


def render(order: Order) -> dict[str, Any]:
    """The InferenceService of this version alone, valid by the CRD's schema; for GitOps and dry runs.

    It carries the state that `kserve` would leave, so that both can follow each other. On Knative, which keeps the
    revision before by itself, it asks for `deploy.canary_percent` of the requests.

    Raises:
        UserError: not valid, or the cluster cannot reach the bundle.
    """
    release, spec = order.release, order.spec
    mine = isvc.predictor(spec, release)
    canary = spec.mode == "knative" and spec.canary_percent > 0
    service = isvc.service(
        spec,
        release.name,
        spec.namespace,
        serving=mine,
        candidate=mine if canary else None,
        percent=spec.canary_percent if canary else None,
        rollout=Rollout(
            phase="promoted",
            version=release.version,
            digest=release.bundle_digest,
            stable=Serving(version=release.version, predictor=mine, digest=release.bundle_digest),
            reason="written as a manifest",
        ),
    )
    crd.validate(service)
    return service


def to_yaml(service: Mapping[str, Any]) -> bytes:
    """As committed to a repository."""
    text: str = yaml.safe_dump(dict(service), sort_keys=False, width=120)
    return text.encode()


def verify(registered: RegisteredModel) -> None:
    """The server checks one digest over all files before it loads them; this names the file that is wrong.

    Raises:
        DocumentError: a file is missing or changed.
    """
    for entry in registered.json("version.json")["files"].values():
        External.model_validate(entry).check()


def _local(order: Order) -> Made:
    registered, answered = order.registered, order.answered
    engines.require(order.release.engine, registered.model_uri)  # before a server is started that would end with it
    with local_server(
        registered.model_uri,
        registered.name,
        digest=registered.model_digest,
        timeout_seconds=order.spec.timeout_seconds,
    ) as server:
        difference = smoke.compare(server, registered.model_uri, answered)
        example = smoke.example(server, registered, answered)
    _log(order, difference)
    return order.endpoint(server.v1_url, difference, running=False), {"prediction.json": _json(example)}


def _docker(order: Order) -> Made:
    from nasflow.deploy.container import container_server

    registered, answered = order.registered, order.answered
    with container_server(order.spec, order.release) as server:
        difference = smoke.compare(server, registered.model_uri, answered)
    example = smoke.example(server, registered, answered)  # at its final port
    _log(order, difference)
    return order.endpoint(server.v1_url, difference, running=True), {"prediction.json": _json(example)}


def _manifest(order: Order) -> Made:
    service = render(order)
    name, namespace = order.release.name, order.spec.namespace or "NAMESPACE"
    url = f"http://{name}-{order.release.predictor}-predictor.{namespace}.svc.cluster.local/v1/models/{name}:predict"
    if order.spec.mode == "knative":
        url = f"http://{name}-predictor.{namespace}.svc.cluster.local/v1/models/{name}:predict"
    logger.info("deploy: wrote %s for %s version %d", MANIFEST_FILE, name, order.release.version)
    made = order.endpoint(url, 0.0, running=False).model_copy(update={"golden_rows": 0})  # nobody was asked
    return made, {MANIFEST_FILE: to_yaml(service)}


def _kserve(order: Order, cluster: Cluster) -> Made:
    registered, answered = order.registered, order.answered
    deployment = Deployment(
        order.spec,
        order.release,
        cluster,
        lambda server: smoke.compare(server, registered.model_uri, answered),
    )
    _, service = deployment.plan(cluster.get(order.release.name), again=order.again)
    crd.validate(service)
    outcome = deployment.run(again=order.again)
    example = smoke.example(outcome.server, registered, answered)
    _log(order, outcome.difference)
    files = {
        "prediction.json": _json(example),
        MANIFEST_FILE: to_yaml(outcome.service),
        "rollout.json": _json({"reason": outcome.reason, "namespace": cluster.namespace}),
    }
    return order.endpoint(outcome.server.v1_url, outcome.difference, running=True), files


def _log(order: Order, difference: float) -> None:
    logger.info(
        "deploy: %s version %d answered %d golden rows over V1 and V2, largest difference %.2g",
        order.release.name,
        order.release.version,
        len(order.answered.rows),
        difference,
        extra={"model": order.release.name, "version": order.release.version, "max_difference": difference},
    )


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()
