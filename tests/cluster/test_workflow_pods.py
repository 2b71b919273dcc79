"""The whole pipeline as an Argo Workflow, in pods: Argo's own controller and executor, our images, an account a step.

Besides an administrator's cluster with a node on this machine, Argo Workflows and our images on the node, it needs
NASFLOW_TEST_HOST_PATH (a folder for the claim; pods see it under the same path).
"""

import json

import pytest
from tests.cluster.pods import Shelf, shelf_of, wait_for

from nasflow.core.artifacts import Endpoint, Evaluation, RegisteredModel
from nasflow.core.spec import ExperimentSpec
from nasflow_pipelines import argo

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3000)]

EXPERIMENT = {
    "name": "digits",
    "task": "image_classification",
    "data": {"train": "sample:digits", "label": "target"},
    "constraints": {"parameters": 60_000},
    "search": {"strategy": "random", "budget": {"trials": 2, "epochs": 3}},
    "train": {"seeds": 1, "epochs": 4},
    "evaluate": {"min_gain": -1.0},
    "resources": {"service_account": "nasflow-runner", "account_per_step": True, "cpu": "1", "memory": "3Gi",
                  "retries": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def shelf(kubectl, installed):
    if "workflows.argoproj.io" not in kubectl("get", "crd", "-o", "name").stdout:
        pytest.skip("Argo Workflows is not installed")
    with shelf_of(kubectl, installed.namespace, f"workflow-{installed.namespace}") as made:
        yield made


def test_from_raw_data_to_a_served_model_in_pods(kubectl, installed, shelf):
    workflow = argo.workflow(ExperimentSpec.model_validate(EXPERIMENT), work_dir=str(shelf.path))
    mount = {"name": "shelf", "mountPath": str(shelf.path)}
    patch = {  # instead of a bucket
        "containers": [{"name": "main", "volumeMounts": [mount]}],
        "volumes": [{"name": "shelf", "persistentVolumeClaim": {"claimName": Shelf.claim}}],
    }
    workflow["spec"]["podSpecPatch"] = json.dumps(patch)
    space = ("--namespace", installed.namespace)
    made = json.loads(kubectl("create", "-o", "json", "-f", "-", *space, input=json.dumps(workflow)).stdout)
    name, uid = made["metadata"]["name"], made["metadata"]["uid"]

    def status():
        return json.loads(kubectl("get", "workflow", name, "-o", "json", *space).stdout).get("status", {})

    def said():
        nodes = [
            (each["displayName"], each["phase"], each.get("message")) for each in status().get("nodes", {}).values()
        ]
        pods = ("-l", f"workflows.argoproj.io/workflow={name}", "-c", "main", "--tail", "20", "--prefix")
        return f"{nodes}\n{kubectl('logs', *pods, *space).stdout}"

    wait_for(lambda: status().get("phase"), 120, lambda: "no controller has seen the workflow")
    wait_for(lambda: status()["phase"] in ("Succeeded", "Failed", "Error"), 2400, said)
    assert status()["phase"] == "Succeeded", said()
    pods = {
        each["displayName"]: each["phase"] for each in status()["nodes"].values() if each["type"] in ("Pod", "Retry")
    }
    assert {name for name in pods if "(" not in name} == set(argo.AUTOML)
    documents = shelf.path / "runs" / uid / "documents"
    assert Evaluation.read(str(documents / "evaluate")).decision.promoted
    assert RegisteredModel.read(str(documents / "register")).version == 1
    assert Endpoint.read(str(documents / "deploy")).golden_rows > 0
    accounts = kubectl("get", "pods", "-l", f"workflows.argoproj.io/workflow={name}", *space, "-o",
                       "jsonpath={.items[*].spec.serviceAccountName}").stdout.split()  # fmt: skip
    assert set(accounts) == {f"nasflow-runner-{step}" for step in argo.AUTOML}
