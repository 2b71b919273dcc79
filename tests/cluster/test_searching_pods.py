"""A search whose workers are the pods of a real Indexed Job, on a real node; preempted on the way.

Besides an administrator's cluster with a node on this machine it needs NASFLOW_TEST_TRAINER (the trainer's image, on
the node) and NASFLOW_TEST_HOST_PATH (a folder for the claim; pods see it under the same path).
"""

import json
import os
import subprocess
import sys

import pytest
from tests.cluster.pods import Shelf, shelf_of, wait_for

from nasflow.core.artifacts import Search

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

SPEC = {
    "name": "digits",
    "task": "image_classification",
    "data": {"train": "sample:digits", "label": "target"},
    "search": {
        "strategy": "random",
        "workers": 2,
        "budget": {"trials": 5, "epochs": 12},
        "launcher": {"kind": "kubernetes", "cpu": "400m", "memory": "2Gi"},
    },
}


@pytest.fixture(scope="module")
def shelf(kubectl, installed):
    with shelf_of(kubectl, installed.namespace, "searching") as made:
        yield made


@pytest.fixture(scope="module")
def dataset(shelf):
    """Of sample:digits, at a path that is the pods' own, too."""
    if "NASFLOW_TEST_TRAINER" not in os.environ:
        pytest.skip("NASFLOW_TEST_TRAINER is not set")
    spec = shelf.path / "e.yaml"
    spec.write_text(json.dumps(SPEC))
    output = shelf.path / "dataset"
    module = [sys.executable, "-m", "nasflow.preprocess", "--spec", spec, "--work-dir", shelf.path / "data"]
    subprocess.run([*module, "--output", output], check=True, timeout=900)
    return output


def test_two_workers_in_pods_one_of_which_is_evicted(kubectl, installed, shelf, dataset):
    space, work_dir, output = ("--namespace", installed.namespace), shelf.path / "work", shelf.path / "search"
    for folder in (work_dir, output.parent / "out"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    output = output.parent / "out/search"
    command = ["python", "-m", "nasflow.search", "--spec", shelf.path / "e.yaml", "--work-dir", work_dir,
               "--dataset", dataset, "--output", output]  # fmt: skip
    amounts = {"cpu": "300m", "memory": "1500Mi"}
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
               "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}  # fmt: skip
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "search", "labels": {"nasflow.dev/role": "search"}},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "nasflow-runner-search",
            "containers": [
                {
                    "name": "main",
                    "image": os.environ["NASFLOW_TEST_TRAINER"],
                    "command": [str(each) for each in command],
                    "resources": {"requests": amounts, "limits": amounts},
                    "securityContext": context,
                    "volumeMounts": [{"name": "shelf", "mountPath": str(shelf.path)}],
                }
            ],
            "volumes": [{"name": "shelf", "persistentVolumeClaim": {"claimName": Shelf.claim}}],
        },
    }
    kubectl("create", "-f", "-", *space, input=json.dumps(pod))
    log = lambda: kubectl("logs", "search", *space).stdout  # noqa: E731
    phase = lambda: kubectl("get", "pod", "search", "-o", "jsonpath={.status.phase}", *space).stdout  # noqa: E731
    ended = lambda: phase() in ("Succeeded", "Failed")  # noqa: E731
    workers = ("get", "pods", "-l", "nasflow.dev/role=search-worker", "-o", "name", *space)
    running = (*workers, "--field-selector", "status.phase=Running")
    wait_for(lambda: ended() or len(kubectl(*running).stdout.split()) == 2, 900, log)
    assert not ended(), log()
    wait_for(lambda: ended() or "trial 1" in log(), 900, log)
    victim = kubectl(*running).stdout.split()[0].removeprefix("pod/")
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": victim, "namespace": installed.namespace},
    }  # as a node that is drained, or a spot node that goes
    kubectl("create", "--raw", f"/api/v1/namespaces/{installed.namespace}/pods/{victim}/eviction", "-f", "-",
            input=json.dumps(eviction))  # fmt: skip
    wait_for(ended, 1500, log)
    assert phase() == "Succeeded", log()
    search = Search.read(str(output))
    assert search.trials.completed + search.trials.failed + search.trials.infeasible >= 5
    wait_for(lambda: not kubectl(*workers).stdout.split(), 120)
    assert not kubectl("get", "jobs", "-o", "name", *space).stdout
