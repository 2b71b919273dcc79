"""Tests against a real cluster: `make test-cluster`. Whatever it lacks is named, and skips what needs it.

Needs kubectl's configuration (KUBECONFIG, or a pod's account) for a cluster with KServe 0.20 or later. Rollouts need
two bundles that its pods can read and an image of the server that its nodes can pull:

    NASFLOW_TEST_NAMESPACE=nasflow-test NASFLOW_TEST_IMAGE=REGISTRY/server:VERSION \
    NASFLOW_TEST_BUNDLES='gs://BUCKET/a gs://BUCKET/b' make test-cluster

A search with workers in pods needs a work dir that pods read and write, and an image of the trainer:

    NASFLOW_TEST_TRAINER=REGISTRY/trainer:VERSION NASFLOW_TEST_WORK_DIR=gs://BUCKET/test NASFLOW_TEST_ACCOUNT=ACCOUNT \
    NASFLOW_TEST_DATASET=gs://BUCKET/DATASET     # preprocess's document of sample:digits, its shards in the bucket

Nothing is created outside the namespace; InferenceServices that the tests made are deleted with the tester's rights.
"""

import os
import shutil
import subprocess
import uuid

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
        return subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=True, timeout=120, **more)

    return call


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
