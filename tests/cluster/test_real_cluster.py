"""What only a real API server and a real KServe controller can say; see conftest.py for what it takes."""

import json
import os
import time
from pathlib import Path

import pytest
import yaml

from nasflow.core.artifacts import External, bundle_digest
from nasflow.core.errors import NasflowError
from nasflow.core.storage import storage_for
from nasflow.deploy import isvc, smoke
from nasflow.deploy.isvc import Release, rollout_of
from nasflow.deploy.rollout import Deployment
from nasflow.deploy.spec import DeploySpec

pytestmark = pytest.mark.cluster

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"


def spec(**keys):
    image = os.environ.get("NASFLOW_TEST_IMAGE")
    return DeploySpec(target="kserve", **{"image": image, "watch_minutes": 0.5, "min_requests": 4, **keys})


def release(name, version, uri):
    files = {each.removeprefix(uri).strip("/"): External.of(each) for each in storage_for(uri).list(uri)}
    return Release(name=name, version=version, bundle_uri=uri, bundle_digest=bundle_digest(files))


@pytest.mark.parametrize("overlay", ["dev", "prod"])
def test_the_api_server_accepts_the_manifests(kubectl, overlay):
    """Server-side, which runs admission; the namespace itself may be new, so it comes first and alone."""
    rendered = kubectl("kustomize", str(MANIFESTS / "overlays" / overlay)).stdout
    namespace = [each for each in yaml.safe_load_all(rendered) if each["kind"] == "Namespace"]
    kubectl("apply", "--dry-run=server", "-f", "-", input=yaml.safe_dump_all(namespace))
    kubectl("apply", "--dry-run=client", "--validate=strict", "-f", "-", input=rendered)


@pytest.mark.parametrize("mode", ["standard", "knative"])
def test_kserves_webhooks_accept_what_is_rendered(cluster, mode):
    made = Release(name="nasflow-dry-run", version=1, bundle_uri="gs://bucket/iris/1", bundle_digest="abc")
    rendered = isvc.service(
        spec(mode=mode), made.name, cluster.namespace, serving=isvc.predictor(spec(mode=mode), made)
    )
    assert cluster.apply(rendered, dry_run=True)["metadata"]["name"] == "nasflow-dry-run"
    assert cluster.get("nasflow-dry-run") is None


def test_the_api_server_accepts_the_job_of_a_searchs_workers(kubectl, cluster):
    """Server-side: podFailurePolicy and backoffLimitPerIndex are checked there, beyond any schema."""
    golden = Path(__file__).resolve().parents[1] / "contract/goldens/search_workers.yaml"
    job = yaml.safe_load(golden.read_text())
    del job["metadata"]["ownerReferences"]  # that pod does not exist
    given = ("--dry-run=server", "--namespace", cluster.namespace, "-o", "yaml", "-f", "-")
    made = yaml.safe_load(kubectl("create", *given, input=yaml.safe_dump(job)).stdout)
    assert made["spec"]["backoffLimitPerIndex"] == job["spec"]["backoffLimitPerIndex"]
    assert made["spec"]["podFailurePolicy"] == job["spec"]["podFailurePolicy"]


def test_a_search_whose_workers_are_pods(kubectl, cluster, name):
    """The search step in a pod, two workers in pods of its Job, one of which is deleted on the way; nothing is left."""
    needed = ("NASFLOW_TEST_TRAINER", "NASFLOW_TEST_WORK_DIR", "NASFLOW_TEST_ACCOUNT", "NASFLOW_TEST_DATASET")
    if missing := [each for each in needed if each not in os.environ]:
        pytest.skip(f"{', '.join(missing)} not set")
    image, work_dir, account, dataset = (os.environ[each] for each in needed)
    work_dir = f"{work_dir.rstrip('/')}/{name}"
    keys = {
        "search": {
            "strategy": "random",
            "workers": 2,
            "budget": {"trials": 6, "epochs": 20},
            "launcher": {"kind": "kubernetes", "cpu": "1", "memory": "3G"},
        },
        "task": "image_classification",
        "data": {"train": "sample:digits", "label": "target"},
    }
    command = f"python -m nasflow.search --spec /tmp/e.yaml --work-dir {work_dir} --dataset {dataset}"
    script = f"echo '{json.dumps(keys)}' > /tmp/e.yaml\n{command} --output {work_dir}/output"
    overrides = {
        "spec": {
            "serviceAccountName": account,
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "command": ["sh", "-ec", script],
                    "resources": {"requests": {"cpu": "1", "memory": "3G"}},
                }
            ],
        }
    }
    space = ("--namespace", cluster.namespace)
    kubectl("run", name, "--image", image, "--restart=Never", "--labels=nasflow.dev/role=search",
            "--overrides", json.dumps(overrides), *space)  # fmt: skip
    try:
        workers = ("get", "pods", "-l", "nasflow.dev/role=search-worker", "-o", "name", *space)
        wait_for(lambda: len(kubectl(*workers).stdout.split()) >= 2)
        wait_for(lambda: "trial 1:" in kubectl("logs", name, *space).stdout)
        kubectl("delete", kubectl(*workers).stdout.split()[0], "--wait=false", *space)  # as a preemption does
        phase = ("get", "pod", name, "-o", "jsonpath={.status.phase}", *space)
        wait_for(lambda: kubectl(*phase).stdout in ("Succeeded", "Failed"))
        assert kubectl(*phase).stdout == "Succeeded", kubectl("logs", name, *space).stdout
        wait_for(lambda: not kubectl(*workers).stdout.split())
        assert not kubectl("get", "jobs", "-l", "nasflow.dev/role=search-worker", "-o", "name", *space).stdout
    finally:
        kubectl("delete", "pod", name, "--ignore-not-found", "--wait=false", *space)


def wait_for(condition, seconds=1800):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(2)


def test_first_canary_promotion_and_rollback(cluster, bundles, name):
    """The whole way: version 1 serves, 2 is promoted, 3 (which is 1 under 2's golden rows) is rolled back."""
    one, two = (release(name, version, uri) for version, uri in enumerate(bundles, start=1))

    def deploy(which, golden_of):
        answered = smoke.bundle_rows(golden_of)
        check = lambda server: smoke.compare(server, which.bundle_uri, answered)  # noqa: E731
        return Deployment(spec(), which, cluster, check).run()

    assert deploy(one, bundles[0]).difference < 1e-3
    assert deploy(two, bundles[1]).reason.startswith("canary at 10 %")
    three = Release(name=name, version=3, bundle_uri=one.bundle_uri, bundle_digest=one.bundle_digest)
    with pytest.raises(NasflowError, match="version 3 was rolled back, version 2 serves"):
        deploy(three, bundles[1])
    assert rollout_of(cluster.get(name)).stable.version == 2
