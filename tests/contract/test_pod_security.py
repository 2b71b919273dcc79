"""Every pod that nasflow renders against the Pod Security Standards, rule by rule as the Kubernetes documentation lists
them (https://kubernetes.io/docs/concepts/security/pod-security-standards, version 1.32)."""

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from nasflow.core.spec import ExperimentSpec
from nasflow.deploy import isvc
from nasflow.deploy.isvc import Release
from nasflow.deploy.spec import DeploySpec

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def violations(pod: dict[str, Any], *, whose_pod: str = "ours") -> list[str]:
    """What the `restricted` standard would refuse; `pod` is a pod's spec."""
    found = [f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    outer = pod.get("securityContext") or {}
    for volume in pod.get("volumes", []):
        found += [f"volume {volume['name']}: {kind}" for kind in volume.keys() - {"name"} - VOLUMES]
    for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
        inner = container.get("securityContext") or {}
        both = {**outer, **inner}
        name = container.get("name", "?")
        if both.get("runAsNonRoot") is not True:
            found.append(f"{name}: runAsNonRoot is not true")
        if both.get("runAsUser") == 0:
            found.append(f"{name}: runAsUser is 0")
        if inner.get("allowPrivilegeEscalation") is not False:
            found.append(f"{name}: allowPrivilegeEscalation is not false")
        if inner.get("privileged"):
            found.append(f"{name}: privileged")
        capabilities = inner.get("capabilities") or {}
        if "ALL" not in capabilities.get("drop", []):
            found.append(f"{name}: capabilities are not dropped")
        found += [f"{name}: adds {each}" for each in set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}]
        if (both.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
            found.append(f"{name}: no seccompProfile")
        found += [f"{name}: hostPort {port['hostPort']}" for port in container.get("ports", []) if port.get("hostPort")]
    return found


def predictors() -> list[dict[str, Any]]:
    release = Release(name="iris", version=3, bundle_uri="gs://b/iris/3", bundle_digest="abc")
    gpu = {"accelerator": {"count": 1}, "image": "r/s@sha256:" + "0" * 64}
    made = []
    for mode, more in itertools.product(("standard", "knative"), ({}, gpu)):
        spec = DeploySpec(target="manifest", mode=mode, **more)
        mine = isvc.predictor(spec, release)
        service = isvc.service(spec, "iris", "models", serving=mine, candidate=mine, percent=10)["spec"]
        made += [service["predictor"], *(canary["predictor"] for canary in service.get("canary", []))]
    return made


def test_predictors_pass_restricted() -> None:
    for pod in predictors():
        assert violations(pod) == []
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("hostNetwork",), True, "hostNetwork is set"),
        (("volumes",), [{"name": "host", "hostPath": {"path": "/"}}], "volume host: hostPath"),
        (("containers", 0, "securityContext", "runAsNonRoot"), False, "kserve-container: runAsNonRoot is not true"),
        (("containers", 0, "securityContext", "runAsUser"), 0, "kserve-container: runAsUser is 0"),
        (("containers", 0, "securityContext", "privileged"), True, "kserve-container: privileged"),
        (("containers", 0, "securityContext", "capabilities"), {"add": ["X"], "drop": ["ALL"]}, "adds X"),
        (("containers", 0, "securityContext", "capabilities"), {}, "capabilities are not dropped"),
        (("containers", 0, "securityContext", "seccompProfile"), None, "no seccompProfile"),
        (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True, "allowPrivilegeEscalation is"),
    ],
)  # fmt: skip
def test_the_rules_find_what_they_are_for(path: tuple[Any, ...], value: Any, complaint: str) -> None:
    pod = copy.deepcopy(predictors()[0])
    target: Any = pod
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    assert any(complaint in each for each in violations(pod)), violations(pod)


EXPERIMENT = {
    "task": "tabular_regression",
    "data": {"train": "gs://b/x.csv", "label": "y"},
    "name": "m",
    "resources": {"service_account": "nasflow-runner", "account_per_step": True, "accelerator": {"count": 1}},
    "deploy": {"target": "kserve"},
}


@pytest.mark.parametrize("pipeline", ["automl", "retrain"])
def test_the_plain_argo_workflows_tasks_pass_restricted(pipeline: Any) -> None:
    from nasflow_pipelines import argo

    workflow = argo.workflow(ExperimentSpec.model_validate(EXPERIMENT), work_dir="gs://b/w", pipeline=pipeline)
    spec = workflow["spec"]
    pods = [
        {
            "securityContext": spec.get("securityContext"),
            "containers": [template["container"]],
            "volumes": [*spec.get("volumes", []), *template.get("volumes", [])],
        }
        for template in spec["templates"]
        if "container" in template
    ]
    assert len(pods) == len(argo.PIPELINES[pipeline])
    assert [violations(pod) for pod in pods] == [[]] * len(pods)


def test_search_workers_pass_restricted() -> None:
    job = yaml.safe_load((Path(__file__).parent / "goldens/search_workers.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    assert violations(pod) == []
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["automountServiceAccountToken"] is False


KUBEFLOWS_OWN = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What Kubeflow Pipelines' driver gives an executor's container (backend/src/v2/driver, read at 7b70c7b9); the user and
runAsNonRoot are the pipeline's to say."""


def kubeflows_pods(experiment: dict[str, Any], pipeline: Any, folder: Path) -> dict[str, dict[str, Any]]:
    """The pod that each executor's settings ask for; as far as they are in the compiled pipeline."""
    from kfp import compiler

    from nasflow_pipelines.kinds import kind_of

    file = folder / "p.yaml"
    compiler.Compiler().compile(kind_of(pipeline).build(ExperimentSpec.model_validate(experiment)), str(file))
    compiled, platform = yaml.safe_load_all(file.read_text())
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    pods = {}
    for name in compiled["deploymentSpec"]["executors"]:
        mine = placed[name]
        # not looked at below: where it runs, how long, what it is called
        known = {"securityContext", "emptyDirMounts", "secretAsVolume", "nodeSelector", "tolerations", "podMetadata"}
        assert mine.keys() <= known | {"activeDeadlineSeconds", "imagePullPolicy"}, mine.keys()
        context = dict(mine["securityContext"])
        context.update({key: int(context[key]) for key in ("runAsUser", "runAsGroup") if key in context})
        volumes = [{"name": each["volumeName"], "emptyDir": {}} for each in mine.get("emptyDirMounts", [])]
        volumes += [{"name": each["secretName"], "secret": {}} for each in mine.get("secretAsVolume", [])]
        container = {"name": name, "securityContext": {**KUBEFLOWS_OWN, **context}}
        pods[name] = {"containers": [container], "volumes": volumes}
    return pods


@pytest.mark.parametrize("pipeline", ["automl", "retrain"])
def test_kubeflows_tasks_pass_restricted(pipeline: Any, tmp_path: Path) -> None:
    pods = kubeflows_pods(EXPERIMENT, pipeline, tmp_path)
    assert {"exec-search", "exec-deploy", "exec-hold"} <= pods.keys()
    assert {name: found for name, pod in pods.items() if (found := violations(pod))} == {}
    for pod in pods.values():
        assert pod["containers"][0]["securityContext"]["runAsUser"] == 65532
    bare = {"containers": [{"name": "x", "securityContext": KUBEFLOWS_OWN}]}
    assert violations(bare) == ["x: runAsNonRoot is not true"]  # which is what ours adds


def test_the_namespace_enforces_what_kubeflows_own_pods_satisfy_and_warns_of_the_rest() -> None:
    labels = yaml.safe_load((MANIFESTS / "base/namespace.yaml").read_text())["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "baseline"
    assert labels["pod-security.kubernetes.io/warn"] == "restricted"
