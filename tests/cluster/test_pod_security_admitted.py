"""Every pod that nasflow renders, before the API server's own Pod Security admission with `restricted` enforced."""

import json
import subprocess
import uuid
from pathlib import Path

import pytest
import yaml
from tests.contract import test_pod_security
from tests.contract.test_pod_security import EXPERIMENT, kubeflows_pods, predictors, violations

from nasflow.core.spec import ExperimentSpec
from nasflow_pipelines import argo

pytestmark = pytest.mark.cluster

POD_FIELDS = ("containers", "volumes", "securityContext", "nodeSelector", "tolerations", "automountServiceAccountToken")
"""Of an InferenceService's predictor: those that KServe hands on to its pods."""


@pytest.fixture(scope="module")
def restricted(administrator, kubectl):
    """A namespace in which nothing but `restricted` pods are let in."""
    name = f"nasflow-test-{uuid.uuid4().hex[:6]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    kubectl("create", "-f", "-", input=json.dumps(namespace))
    kubectl("create", "serviceaccount", "tester", "-n", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def admit(kubectl, namespace, spec):
    """
    Raises:
        subprocess.CalledProcessError: refused.
    """
    spec = {key: value for key, value in spec.items() if value is not None} | {"serviceAccountName": "tester"}
    for container in spec["containers"]:
        container.setdefault("image", "i")
        container.setdefault("name", "main")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "t"}, "spec": spec}
    kubectl("create", "--dry-run=server", "-n", namespace, "-f", "-", input=json.dumps(pod))


def pods_of_predictors():
    return [{key: each[key] for key in POD_FIELDS if key in each} for each in predictors()]


def pods_of_argo(pipeline):
    spec = argo.workflow(ExperimentSpec.model_validate(EXPERIMENT), work_dir="gs://b/w", pipeline=pipeline)["spec"]
    return {
        each["name"]: {
            "securityContext": spec["securityContext"],
            "containers": [{"name": "main", **each["container"]}],
            "volumes": each.get("volumes", []),
            "tolerations": each.get("tolerations", []),
            "nodeSelector": each.get("nodeSelector", {}),
        }
        for each in spec["templates"]
        if "container" in each
    }


def test_predictors_are_let_in(kubectl, restricted):
    for pod in pods_of_predictors():
        admit(kubectl, restricted, pod)


@pytest.mark.parametrize("pipeline", ["automl", "retrain"])
def test_argos_tasks_are_let_in(kubectl, restricted, pipeline):
    pods = pods_of_argo(pipeline)
    assert pods.keys() == argo.PIPELINES[pipeline].keys()
    for pod in pods.values():
        admit(kubectl, restricted, pod)


@pytest.mark.parametrize("pipeline", ["automl", "retrain"])
def test_kubeflows_tasks_are_let_in(kubectl, restricted, pipeline, tmp_path):
    for pod in kubeflows_pods(EXPERIMENT, pipeline, tmp_path).values():
        for volume in pod["volumes"]:
            if "secret" in volume:
                volume["secret"] = {"secretName": volume["name"]}
        pod["containers"][0]["name"] = "main"
        admit(kubectl, restricted, pod)


def test_search_workers_are_let_in(kubectl, restricted):
    golden = Path(__file__).resolve().parents[1] / "contract/goldens/search_workers.yaml"
    pod = yaml.safe_load(golden.read_text())["spec"]["template"]["spec"]
    admit(kubectl, restricted, {key: value for key, value in pod.items() if key != "restartPolicy"})


BREAKAGES = next(
    mark.args[1]
    for mark in test_pod_security.test_the_rules_find_what_they_are_for.pytestmark
    if mark.name == "parametrize"
)


@pytest.mark.parametrize(("path", "value", "complaint"), BREAKAGES)
def test_what_our_own_check_refuses_is_refused(kubectl, restricted, path, value, complaint):
    """The check that runs without a cluster (tests/contract/test_pod_security.py) says what the server says."""
    pod = pods_of_predictors()[0]
    target = pod
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    if path == ("volumes",):
        pod["containers"][0]["volumeMounts"] = []
    if path[-1] == "privileged":
        pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True  # the API server's own rule
    if path[-1] == "seccompProfile":
        del target["seccompProfile"]
    assert any(complaint in each for each in violations(pod))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        admit(kubectl, restricted, pod)
    assert 'violates PodSecurity "restricted:latest"' in refused.value.stderr
