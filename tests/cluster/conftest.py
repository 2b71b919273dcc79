"""Tests against a real cluster: `make test-cluster`. Whatever it lacks is named, and skips what needs it.

Needs kubectl's configuration (KUBECONFIG, or a pod's account) for a cluster with KServe 0.20 or later. Rollouts need
two bundles that its pods can read and an image of the server that its nodes can pull:

    NASFLOW_TEST_NAMESPACE=nasflow-test NASFLOW_TEST_IMAGE=REGISTRY/server:VERSION \
    NASFLOW_TEST_BUNDLES='gs://BUCKET/a gs://BUCKET/b' make test-cluster

A search with workers in pods needs a work dir that pods read and write, and an image of the trainer:

    NASFLOW_TEST_TRAINER=REGISTRY/trainer:VERSION NASFLOW_TEST_WORK_DIR=gs://BUCKET/test NASFLOW_TEST_ACCOUNT=ACCOUNT \
    NASFLOW_TEST_DATASET=gs://BUCKET/DATASET     # preprocess's document of sample:digits, its shards in the bucket

Nothing is created outside the namespace; InferenceServices that the tests made are deleted with the tester's rights.
Who may do everything (a cluster made for tests) has more tests: what manifests/ allow and refuse, in a namespace
`nasflow-test-…` that is made and deleted. `make local-cluster` makes such a cluster on this machine.
"""

import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from nasflow.core.errors import NasflowError


@pytest.fixture(scope="session")
def cluster():
    """A connection, with KServe's types known to the API server."""
    from nasflow.deploy.cluster import KubernetesCluster

    try:
        connected = KubernetesCluster.connect(os.environ.get("NASFLOW_TEST_NAMESPACE"))
        connected.get("nasflow-test-does-not-exist")
    except NasflowError as error:
        pytest.skip(f"no cluster: {error}")
    return connected


@pytest.fixture(scope="session")
def kubectl(cluster):
    """`kubectl(*arguments)` → its output; the cluster's own validation has the last word."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not here")

    def call(*arguments, **more):
        try:
            return subprocess.run(
                ["kubectl", *arguments], capture_output=True, text=True, check=True, timeout=120, **more
            )
        except subprocess.CalledProcessError as error:
            error.add_note(error.stderr)
            raise

    return call


@pytest.fixture(scope="session")
def administrator(kubectl):
    """Skips unless the tester may do everything."""
    asked = subprocess.run(["kubectl", "auth", "can-i", "*", "*", "--all-namespaces"], capture_output=True, check=False)
    if asked.returncode:
        pytest.skip("needs a cluster in which the tester may do everything")


@pytest.fixture(scope="module")
def installed(administrator, kubectl, tmp_path_factory):
    """A namespace of the module's own with manifests/ applied: the overlay `dev` with search workers in pods."""
    root = Path(__file__).resolve().parents[2] / "manifests"
    namespace, folder = f"nasflow-test-{uuid.uuid4().hex[:6]}", tmp_path_factory.mktemp("overlay")
    to_manifests = os.path.relpath(root, folder)
    keys = {
        "namespace": namespace,
        "resources": [f"{to_manifests}/overlays/dev"],
        "components": [f"{to_manifests}/components/search-workers"],
    }
    (folder / "kustomization.yaml").write_text(json.dumps(keys))
    kubectl("apply", "--server-side", "--kustomize", str(folder))
    kubectl("wait", "--for=jsonpath={.status.hard.pods}", "resourcequota/nasflow", "-n", namespace, "--timeout=60s")
    yield Installed(namespace, folder)
    kubectl("delete", "namespace", namespace, "--wait=false")


class Installed:
    """Where manifests/ were applied, and from where."""

    def __init__(self, namespace, folder):
        self.namespace, self.folder = namespace, folder


@pytest.fixture(scope="session")
def bundles():
    """Two bundles that the cluster reads."""
    found = os.environ.get("NASFLOW_TEST_BUNDLES", "").split()
    if len(found) != 2 or "NASFLOW_TEST_IMAGE" not in os.environ:
        pytest.skip("NASFLOW_TEST_BUNDLES (two gs:// URIs) and NASFLOW_TEST_IMAGE are not set")
    return found


@pytest.fixture
def name(cluster, kubectl):
    """A name for one test's InferenceService, deleted afterwards."""
    made = f"t{uuid.uuid4().hex[:8]}"
    yield made
    kubectl("delete", "inferenceservice", made, "--namespace", cluster.namespace, "--ignore-not-found", "--wait=false")
