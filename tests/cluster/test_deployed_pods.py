"""`nasflow deploy` to pods that run: KServe's own controller, our image, two versions of a registry on a claim.

Besides an administrator's cluster with a node on this machine it needs NASFLOW_TEST_IMAGE (the server's, on the node)
and NASFLOW_TEST_HOST_PATH (a folder for the claim).
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.cluster.pods import Shelf, shelf_of, wait_for

from nasflow.core.artifacts import External
from nasflow.deploy import isvc
from nasflow.deploy.cluster import KubernetesCluster
from nasflow.registry._base import Draft
from nasflow.registry.file import FileRegistry

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

PROGRAM = Path(sys.executable).with_name("nasflow")
NAME = "cells"
EXPERIMENT = {
    "name": NAME,
    "task": "tabular_classification",
    "data": {"train": "sample:breast_cancer", "label": "target"},
    "search": {"strategy": "random", "budget": {"trials": 1, "epochs": 2}},
    "train": {"seeds": 1, "epochs": 3},
    "evaluate": {"min_gain": -1.0},
}


@pytest.fixture(scope="module")
def shelf(kubectl, installed):
    with shelf_of(kubectl, installed.namespace, "deploying") as made:
        yield made


@pytest.fixture(scope="module")
def registry(shelf):
    """Versions 1 to 3 of one model: 2 has a golden row less, of 3 they are not what it answers."""
    if "NASFLOW_TEST_IMAGE" not in os.environ:
        pytest.skip("NASFLOW_TEST_IMAGE is not set")
    spec = shelf.path / "e.yaml"
    spec.write_text(json.dumps(EXPERIMENT))
    run = [PROGRAM, "run", spec, "--output", shelf.path / "run"]  # a second time it finds what it did
    subprocess.run(run, check=True, capture_output=True, timeout=900)
    original = FileRegistry(str(shelf.path / "run/work/registry")).get(NAME, version=1)
    target = shelf.path / "registry"
    shutil.rmtree(target, ignore_errors=True)
    registered = FileRegistry(str(target))
    for version in (1, 2, 3):
        bundle = shelf.path / f"bundle-{version}"
        shutil.rmtree(bundle, ignore_errors=True)
        shutil.copytree(original.bundle_uri, bundle)
        golden = json.loads((bundle / "golden.json").read_text())
        for key in ("rows", "predictions", "labels"):
            golden[key] = golden[key][: len(golden[key]) - version + 1]
        if version == 3:
            golden["predictions"] = golden["predictions"][::-1]
        (bundle / "golden.json").write_text(json.dumps(golden))
        files = {
            path.relative_to(bundle).as_posix(): External.of(str(path)) for path in bundle.rglob("*") if path.is_file()
        }
        draft = Draft(bundle_uri=str(bundle), files=files, signature=original.signature, features=original.features)
        assert registered.register(NAME, draft).version == version
    return target


def command(installed, registry, version, *more):
    sets = {
        "image": os.environ["NASFLOW_TEST_IMAGE"],
        "storage_uri": f"pvc://{Shelf.claim}/registry/{{name}}/bundles/{{digest}}",
        "service_account": "nasflow-server",
        "watch_minutes": 0.3,
        "min_requests": 4,
        "ready_minutes": 2,
        "cpu": "300m",
        "memory": "1Gi",
        "max_replicas": 1,
    }
    flags = [flag for key, value in sets.items() for flag in ("--set", f"{key}={value}")]
    return [PROGRAM, "deploy", f"{NAME}@{version}", "--target", "kserve", "--namespace", installed.namespace,
            "--registry", registry, *flags, *more]  # fmt: skip


def deploy(installed, registry, version, *more):
    asked = command(installed, registry, version, *more)
    return subprocess.run(asked, capture_output=True, text=True, check=False, timeout=900)


def state(cluster):
    return isvc.rollout_of(cluster.get(NAME))


class Asking:
    """A user who asks the service all the time, at the address that its status names.

    Nothing may fail: nasflow keeps the former version's Service until the status names the new one's.
    """

    def __init__(self, cluster, body):
        self._cluster, self._body, self._end = cluster, body, threading.Event()
        self.answers, self.failures = 0, []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _run(self):
        while not self._end.wait(0.2):
            said = self._ask()
            if said is None:
                self.answers += 1
            else:
                self.failures.append(said)

    def _ask(self):
        """None where it is answered."""
        url = self._cluster.get(NAME)["status"]["address"]["url"]
        try:
            status, data = self._cluster.request("POST", f"{url}/v1/models/{NAME}:predict", self._body)
        except OSError as error:
            return 0, str(error).encode()
        return None if status == 200 else (status, data[:300])


def test_deploy_canary_rollback_and_interruption(kubectl, installed, registry):
    """In one go, since pods take their time: 1 serves; 2 is promoted while users ask; 3 is rolled back; 1 again, which
    is stopped on the way and gone on with."""
    cluster = KubernetesCluster.connect(installed.namespace)
    dry = deploy(installed, registry, 1, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert cluster.get(NAME) is None
    first = deploy(installed, registry, 1)
    assert first.returncode == 0, first.stderr
    assert f"{NAME} version 1 serves at http://{NAME}-v1-predictor.{installed.namespace}." in first.stdout
    rows = json.loads(Path(FileRegistry(str(registry)).get(NAME, version=1).bundle_uri, "golden.json").read_text())[
        "rows"
    ]
    body = json.dumps({"instances": rows[:1]}).encode()

    with Asking(cluster, body) as user:
        second = deploy(installed, registry, 2)
    assert second.returncode == 0, second.stderr
    assert (state(cluster).phase, state(cluster).stable.version) == ("promoted", 2)
    assert replica_sets(kubectl, installed)["v2"] == 1  # from canary to champion the same pods
    assert user.failures == []
    assert user.answers > 20

    with Asking(cluster, body) as user:
        third = deploy(installed, registry, 3)
    assert third.returncode == 1
    assert "version 3 was rolled back, version 2 serves" in third.stderr
    assert state(cluster).stable.version == 2
    assert user.failures == []
    assert replica_sets(kubectl, installed)["v2"] == 1

    interrupted = subprocess.Popen(command(installed, registry, 1), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: state(cluster).phase == "canary", said=lambda: state(cluster))
    interrupted.terminate()
    assert interrupted.wait(60) == 75
    assert state(cluster).stable.version == 2
    again = deploy(installed, registry, 1)
    assert again.returncode == 0, again.stderr
    assert (state(cluster).phase, state(cluster).stable.version) == ("promoted", 1)
    left = f"deployments -n {installed.namespace} -l serving.kserve.io/inferenceservice={NAME} -o name".split()
    wait_for(lambda: kubectl("get", *left).stdout.split() == [f"deployment.apps/{NAME}-v1-predictor"])


def replica_sets(kubectl, installed):
    """Version → how many pod templates its Deployment has had."""
    asked = ("replicasets", "-n", installed.namespace, "-o", "jsonpath={.items[*].metadata.name}")
    names = [each.split("-")[1] for each in kubectl("get", *asked).stdout.split()]
    return {name: names.count(name) for name in names}


def test_the_pods_satisfy_restricted_as_kserve_makes_them(kubectl, installed, registry):
    """The API server says which pods of a namespace would be refused, if it were enforced."""
    asked = ("namespace", installed.namespace, "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    assert "violates" not in kubectl("label", "--dry-run=server", *asked).stderr
