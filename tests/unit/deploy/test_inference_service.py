"""What is rendered, and that KServe's own schema refuses what is wrong."""

import copy

import pytest
import yaml
from pydantic import ValidationError

from nasflow.core.errors import NasflowError, UserError
from nasflow.core.spec import ExperimentSpec
from nasflow.core.version import VERSION
from nasflow.deploy import crd, isvc
from nasflow.deploy.isvc import Release, Rollout
from nasflow.deploy.spec import DeploySpec

RELEASE = Release(name="iris", version=3, bundle_uri="gs://b/iris/3", bundle_digest="abc")
GPU = {"type": "nvidia.com/gpu", "count": 2, "pool": "a100", "spot": True}


def rendered(*, canary=False, **keys):
    spec = DeploySpec(target="manifest", **keys)
    old = isvc.predictor(spec, Release(name="iris", version=2, bundle_uri="gs://b/iris/2", bundle_digest="old"))
    new = isvc.predictor(spec, RELEASE)
    state = Rollout(phase="canary", version=3, digest="abc")
    more = {"candidate": new, "percent": 10, "rollout": state} if canary else {}
    return isvc.service(spec, "iris", "models", serving=old if canary else new, **more)


@pytest.mark.parametrize("canary", [False, True])
@pytest.mark.parametrize("mode", ["standard", "knative"])
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"service_account": "reader", "accelerator": GPU, "image": "r/s:1", "cpu": "500m", "max_replicas": 9},
        {"runtime": "tensorflow", "accelerator": GPU},
    ],
)
def test_everything_rendered_fits_the_crd(canary, mode, keys):
    if keys.get("runtime") == "tensorflow" and canary:
        pytest.skip("TensorFlow Serving has no canaries here")
    crd.validate(rendered(canary=canary, mode=mode, **keys))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("spec.predictor.maxReplica", 3, "'maxReplica' was unexpected"),
        ("spec.predictor.maxReplicas", "3", r"maxReplicas: '3' is not of type 'integer'"),
        ("spec.predictor.scaleMetric", "qps", "'qps' is not one of"),
        ("spec.canary.0.trafficPercent", 101, "canary.0.trafficPercent: 101 is greater than the maximum of 100"),
        ("spec.canary.0.predictor.containers.0.imagee", "x", "'imagee' was unexpected"),
        ("spec.predictor.containers.0.readinessProbe.httpGet.port", [8080], "port"),
        ("metadata.name", "Iris", "metadata.name: 'Iris' does not match"),
    ],
)
def test_a_wrong_field_is_named(path, value, message):
    service = copy.deepcopy(rendered(canary=True))
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
    target = service
    for part in parents:
        target = target[part]
    target[last] = value
    with pytest.raises(UserError, match=message):
        crd.validate(service)


def test_our_server_in_standard_mode():
    service = rendered(canary=True, min_replicas=2)
    assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    stable, (canary,) = service["spec"]["predictor"], service["spec"]["canary"]
    assert (stable["name"], stable["minReplicas"], stable["maxReplicas"]) == ("v2", 2, 3)
    assert (stable["scaleMetric"], stable["scaleTarget"]) == ("cpu", 80)
    assert canary["trafficPercent"] == 10
    inner = canary["predictor"]
    # KServe's webhook refuses autoscaling on a canary
    assert set(inner) == {"name", "minReplicas", "annotations", "containers", "volumes"}
    (container,) = inner["containers"]
    assert container["image"] == f"nasflow/server:{VERSION}"
    assert container["command"] == ["python", "-m", "nasflow.serving"]
    assert container["args"][:6] == ["--bundle", "/mnt/models", "--digest", "abc", "--name", "iris"]
    assert container["args"][6:10] == ["--version", "3", "--drain-seconds", "10"]
    assert {"name": "STORAGE_URI", "value": "gs://b/iris/3"} in container["env"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/models/iris/ready", "port": 8080}


def test_a_knative_canary_is_the_predictor_and_a_share():
    predictor = rendered(canary=True, mode="knative", min_replicas=0)["spec"]["predictor"]
    assert (predictor["canaryTrafficPercent"], predictor["minReplicas"], predictor["scaleMetric"]) == (
        10,
        0,
        "concurrency",
    )
    assert "name" not in predictor
    assert "startupProbe" not in predictor["containers"][0]
    assert "abc" in predictor["containers"][0]["args"]


@pytest.mark.parametrize("mode", ["standard", "knative"])
def test_pods_pass_the_restricted_pod_security_standard(mode):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards, on the container."""
    (container,) = rendered(mode=mode)["spec"]["predictor"]["containers"]
    context = container["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["readOnlyRootFilesystem"] is True
    assert container["resources"]["requests"] == container["resources"]["limits"] == {"cpu": "1", "memory": "2Gi"}


def test_gpus_and_spot_pools():
    predictor = rendered(accelerator=GPU, image="registry/server-gpu:1")["spec"]["predictor"]
    assert predictor["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert predictor["nodeSelector"] == {"cloud.google.com/gke-nodepool": "a100", "cloud.google.com/gke-spot": "true"}
    assert [each["key"] for each in predictor["tolerations"]] == ["nvidia.com/gpu", "cloud.google.com/gke-spot"]


def test_tensorflow_serving_finds_a_numbered_folder():
    predictor = rendered(runtime="tensorflow")["spec"]["predictor"]
    assert predictor["model"]["modelFormat"] == {"name": "tensorflow", "version": "2"}
    assert predictor["storageUris"] == [{"uri": "gs://b/iris/3/saved_model", "mountPath": "/mnt/models/1"}]


def test_a_bundle_on_this_machine_is_refused_or_named_otherwise():
    release = Release(name="iris", version=3, bundle_uri="/runs/iris/3", bundle_digest="abc")
    with pytest.raises(
        UserError, match=r"deploy\.storage_uri: a cluster cannot read '/runs/iris/3'; set register\.uri"
    ):
        isvc.predictor(DeploySpec(target="manifest"), release)
    spec = DeploySpec(target="manifest", storage_uri="pvc://models/{name}/{version}")
    assert isvc.storage_uri(spec, release) == "pvc://models/iris/3"
    spec = DeploySpec(target="manifest", storage_uri="pvc://shelf/registry/{name}/bundles/{digest}")  # a file registry
    assert isvc.storage_uri(spec, release) == f"pvc://shelf/registry/iris/bundles/{release.bundle_digest}"


@pytest.mark.parametrize("name", ["7up", "a" * 50])
def test_a_name_that_kubernetes_cannot_use(name):
    release = Release(name=name, version=1000, bundle_uri="gs://b/1", bundle_digest="abc")
    with pytest.raises(UserError, match=r"register\.name: .* cannot name a Kubernetes service"):
        isvc.predictor(DeploySpec(target="manifest"), release)


def test_the_state_survives_the_cluster_and_damage_is_said():
    service = rendered(canary=True)
    again = yaml.safe_load(yaml.safe_dump(service))
    assert isvc.rollout_of(again) == Rollout(phase="canary", version=3, digest="abc")
    again["metadata"]["annotations"][isvc.STATE] = "{}"
    with pytest.raises(NasflowError, match=r"models/iris: annotation nasflow\.dev/rollout is damaged"):
        isvc.rollout_of(again)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"min_replicas": 4}, "min_replicas must be <= max_replicas, got 4 > 3"),
        ({"min_replicas": 0}, "only mode knative scales to zero"),
        ({"target": "kserve", "runtime": "tensorflow"}, "needs target manifest"),
        ({"accelerator": {}}, "accelerator needs image"),
        ({"canary_percent": 100}, "less than or equal to 99"),
        ({"namespace": "Models"}, "should match pattern"),
    ],
)
def test_keys_that_do_not_go_together(keys, message):
    with pytest.raises(ValidationError, match=message):
        ExperimentSpec(task="tabular_regression", data={"train": "x.csv", "label": "y"}, deploy=keys)
