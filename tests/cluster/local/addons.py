"""KServe and Argo Workflows on a cluster of this machine's own: their types, settings and controllers, the real ones.

Both controllers run beside the API server rather than in pods of it, so that they need no image and no node.
"""

import base64
import json
import shutil
import time
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.local.control_plane import ControlPlane
from tests.cluster.local.processes import answers, run

HERE = Path(__file__).parent
KSERVE, ARGO = ("kserve", "github.com/kserve/kserve"), ("argo", "github.com/argoproj/argo-workflows/v4")
EXECUTOR = "nasflow.dev/argoexec:v4.0.5"
"""Beside every task; `node.py` makes it of the program that `build.sh` built."""
_WEBHOOK, _HEALTH = 9443, 9444


def up(plane: ControlPlane) -> None:
    _kserve(plane)
    _argo(plane)


def kserves_types(plane: ControlPlane) -> None:
    """The custom resource definitions, as KServe releases them; without those for LLMs and local models."""
    folder = _module(*KSERVE) / "config/crd/full"
    _define(plane, [*folder.glob("*.yaml"), *(folder / "clusterstoragecontainer").glob("*.yaml")])


def _module(part: str, path: str) -> Path:
    """Where Go keeps a module's files; it fetches them the first time."""
    environment = {"GOWORK": "off", "GOFLAGS": "-mod=readonly"}
    run("go", "mod", "download", path, folder=HERE / part, environment=environment)
    found = run("go", "list", "-m", "-f", "{{.Dir}}", path, folder=HERE / part, environment=environment)
    return Path(found.stdout.decode().strip())


def _define(plane: ControlPlane, files: list[Path]) -> None:
    made = [each for path in files for each in _objects(path.read_text()) if each["kind"] == "CustomResourceDefinition"]
    plane.apply(*made)
    deadline = time.monotonic() + 60
    while not plane.kubectl(
        "wait", "--for=condition=Established", "crd", "--all", check=False
    ):  # a new one has no status
        if time.monotonic() > deadline:
            raise SystemExit("the API server does not establish the custom resource definitions")


def _kserve(plane: ControlPlane) -> None:
    """In Standard mode, without an ingress; its webhooks are asked at this machine's loopback."""
    config = _module(*KSERVE) / "config"
    (settings,) = _objects((config / "configmap/inferenceservice.yaml").read_text())
    ingress = json.loads(settings["data"]["ingress"]) | {
        "disableIngressCreation": True,
        "disableIstioVirtualHost": True,
    }
    settings["data"] |= {"ingress": json.dumps(ingress), "deploy": '{"defaultDeploymentMode": "Standard"}'}
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}}, settings)
    served = plane.folder / "kserve/k8s-webhook-server/serving-certs"
    served.mkdir(parents=True, exist_ok=True)
    for kind, name in (("crt", "tls.crt"), ("key", "tls.key")):
        shutil.copy(plane.credentials.file(f"webhook.{kind}"), served / name)
    plane.processes.start(
        "kserve", plane.folder / "bin/kserve-controller", "--metrics-addr=0", f"--webhook-port={_WEBHOOK}",
        f"--health-probe-addr=127.0.0.1:{_HEALTH}",
        environment={
            "KUBECONFIG": str(plane.credentials.kubeconfig("kserve")),
            "TMPDIR": str(plane.folder / "kserve"),  # controller-runtime looks for its certificates there
            "POD_NAMESPACE": "kserve",
        },
    )  # fmt: skip
    plane.processes.wait("kserve", lambda: answers(f"http://127.0.0.1:{_HEALTH}/readyz"))
    authority = base64.b64encode(plane.credentials.file("ca.crt").read_bytes()).decode()
    hooks = _objects((config / "webhook/manifests.yaml").read_text())
    for each in hooks:
        each["metadata"].pop("creationTimestamp", None)
        for hook in each["webhooks"]:
            path = hook["clientConfig"].pop("service")["path"]
            hook["clientConfig"] = {"url": f"https://127.0.0.1:{_WEBHOOK}{path}", "caBundle": authority}
    plane.apply(*hooks)


def _argo(plane: ControlPlane) -> None:
    _define(plane, [*(_module(*ARGO) / "manifests/base/crds/full").glob("*.yaml")])
    settings = {"name": "workflow-controller-configmap", "namespace": "argo"}
    plane.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argo"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": settings},
    )
    plane.processes.start(
        "argo", plane.folder / "bin/workflow-controller", "--kubeconfig", plane.credentials.kubeconfig("argo"),
        "--namespace", "argo", "--configmap", settings["name"],
        "--executor-image", EXECUTOR, "--executor-image-pull-policy", "IfNotPresent",
        environment={"LEADER_ELECTION_DISABLE": "true"},
    )  # fmt: skip


def _objects(text: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(text) if each]
