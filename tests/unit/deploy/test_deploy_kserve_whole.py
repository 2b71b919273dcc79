"""Target `kserve` whole: the command's order and the step's, against the fake controller in front of real servers.

Two versions of a model that differ (2x + 1 and 4x + 1) are registered, served by two processes, and rolled out; then
one that is registered as what it is not, which must not come through.
"""

import json

import pytest
import yaml
from tests.unit.deploy.fake_kserve import FakeClock, FakeCluster
from tests.unit.deploy.test_deploy_step import evaluated, golden
from tests.unit.deploy.test_rollout_loopback import Forward

from nasflow.core.artifacts import External, RegisteredModel
from nasflow.core.errors import NasflowError
from nasflow.deploy import rollout, smoke, step
from nasflow.deploy.isvc import rollout_of
from nasflow.deploy.local_server import local_server
from nasflow.deploy.spec import DeploySpec
from nasflow.registry._base import Draft
from nasflow.registry.file import FileRegistry
from nasflow_pipelines import deploying

pytestmark = pytest.mark.slow  # two real servers

STORED = "gs://bucket/{name}/{version}"
SPEC = DeploySpec(target="kserve", storage_uri=STORED, watch_minutes=1, min_requests=10)


@pytest.fixture(scope="module")
def cluster(handmade_bundle, tmp_path_factory):
    """A registry with versions 1 and 2, their servers, and the cluster that routes to them; version 3 is 2 again."""
    registry = FileRegistry(str(tmp_path_factory.mktemp("registry")))
    versions = []
    for scale in (1.0, 2.0):
        bundle = handmade_bundle("regression", scale)
        paths = [path for path in bundle.rglob("*") if path.is_file()]
        files = {path.relative_to(bundle).as_posix(): External.of(str(path)) for path in paths}
        versions.append(registry.register("iris", Draft(bundle_uri=str(bundle), files=files)))
    one, two = versions
    with (
        local_server(one.bundle_uri, "iris", digest=one.bundle_digest, timeout_seconds=120) as first,
        local_server(two.bundle_uri, "iris", digest=two.bundle_digest, timeout_seconds=120) as second,
    ):
        made = FakeCluster({1: Forward(first.url), 2: Forward(second.url), 3: Forward(second.url)})
        made.registry = registry
        yield made


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The step's own clock: a minute of watching takes none."""
    fake = FakeClock()
    monkeypatch.setitem(rollout.Deployment.__init__.__kwdefaults__, "clock", fake)
    return fake


def document(registry, version):
    """As `register` leaves it."""
    found = registry.get("iris", version=version)
    return RegisteredModel(
        registry=registry.uri,
        name="iris",
        version=version,
        model_uri=found.bundle_uri,
        model_digest=found.bundle_digest,
        aliases=("champion",),
    )


def order(cluster, version, **more):
    registered = document(cluster.registry, version)
    answered = more.pop("answered", None) or smoke.bundle_rows(registered.model_uri)
    return step.Order(spec=SPEC, registered=registered, answered=answered, **more)


def test_a_dry_run_shows_what_would_be_applied_and_applies_nothing(cluster):
    shown = deploying.dry_run(order(cluster, 1), connect=lambda _namespace: cluster)
    assert shown["spec"]["predictor"]["name"] == "v1"
    assert (cluster.applied, cluster.objects) == ([], {})


def test_the_step_deploys_a_first_version_then_a_canary_and_says_so(cluster, monkeypatch, tmp_path, handmade_bundle):
    monkeypatch.setitem(step.deploy.__kwdefaults__, "cluster", lambda _namespace: cluster)
    for version, scale in ((1, 1.0), (2, 2.0)):
        folder = tmp_path / str(version)
        found = cluster.registry.get("iris", version=version)
        registered = document(cluster.registry, version).publish(
            str(folder / "registered"), {"version.json": found.model_dump_json().encode()}
        )
        answers = golden(handmade_bundle("regression", scale))
        if scale == 2.0:  # the handmade bundle's golden file is that of scale 1
            answers = {**answers, "predictions": [15.0, 1.0], "labels": [15.0, 1.0]}
        endpoint = step.run(
            SPEC,
            registered=registered,
            evaluation=evaluated(folder, answers),
            work_dir=str(folder / "work"),
            output=str(folder / "out"),
        )
        assert (endpoint.target, endpoint.version, endpoint.running) == ("kserve", version, True)
        assert endpoint.url == f"http://iris-v{version}-predictor.models.svc.cluster.local/v1/models/iris:predict"
        assert endpoint.max_difference < 1e-6
        example = endpoint.json("prediction.json")
        assert example["response"]["predictions"] == answers["predictions"][:1]
        manifest = yaml.safe_load((folder / "out/inferenceservice.yaml").read_bytes())
        assert rollout_of(manifest).stable.version == version
        reason = json.loads((folder / "out/rollout.json").read_text())["reason"]
        assert reason.startswith("the first version" if version == 1 else "canary at 10 %: ")
    assert [each["spec"].get("canary", [{}])[0].get("trafficPercent") for each in cluster.applied][-4:] == [
        0,
        10,
        0,
        None,
    ]


def test_a_version_that_answers_otherwise_than_it_was_evaluated_is_rolled_back(cluster):
    """Version 3's pods serve version 2's bundle, which says 15 where version 1's golden rows say 8."""
    wrong = smoke.bundle_rows(document(cluster.registry, 1).model_uri)
    bad = order(cluster, 2, answered=wrong)
    bad = step.Order(spec=bad.spec, registered=bad.registered.model_copy(update={"version": 3}), answered=wrong)
    with pytest.raises(NasflowError, match=r"version 3 was rolled back, version 2 serves: .*golden row 1"):
        step.deploy(bad, cluster=lambda _namespace: cluster)
    live = cluster.get("iris")
    assert (rollout_of(live).phase, live["spec"]["predictor"]["name"]) == ("rolled_back", "v2")
    status, data = cluster.request("POST", live["status"]["address"]["url"] + "/v1/models/iris:predict",
                                   b'{"instances": [{"x": 3.5}]}')  # fmt: skip
    assert (status, json.loads(data)) == (200, {"predictions": [15.0]})
