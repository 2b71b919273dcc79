"""A version's way into production, against a fake of KServe's controller."""

import itertools
import json

import pytest
from tests.unit.deploy.fake_kserve import FakeClock, FakeCluster, FakeServer

from nasflow.core.errors import NasflowError, TryAgainError, UserError
from nasflow.deploy import isvc
from nasflow.deploy.isvc import Release
from nasflow.deploy.rollout import Deployment
from nasflow.deploy.spec import DeploySpec

MODES = pytest.mark.parametrize("mode", ["standard", "knative"])


def spec(mode="standard", **changes):
    return DeploySpec(**{"target": "kserve", "mode": mode, "watch_minutes": 2, "min_requests": 20, **changes})


def release(version):
    return Release(name="iris", version=version, bundle_uri=f"gs://b/iris/{version}", bundle_digest=f"d{version}")


def check(server):
    """The model says 1.0, and nothing else is right."""
    answer = server.post(server.v1_url, {"instances": [{}]})["predictions"][0]
    if answer != 1.0:
        raise NasflowError(f"V1: golden row 1: the server says {answer}, evaluate said 1.0")
    return 0.0


def make(servers, mode, **changes):
    return FakeCluster(servers, knative=mode == "knative", **changes), FakeClock()


def deploy(cluster, clock, version, mode="standard", *, again=False, **changes):
    return Deployment(spec(mode, **changes), release(version), cluster, check, clock=clock).run(again=again)


def state(cluster):
    return isvc.rollout_of(cluster.get("iris"))


def serving(cluster):
    """The version that a user of the service meets."""
    live = cluster.get("iris")
    cluster.request("POST", live["status"]["address"]["url"] + "/v1/models/iris:predict", b"{}")
    return cluster.asked[-1][0]


def shares(cluster, mode):
    """The canary's share in every object that was applied; None without a canary."""
    if mode == "knative":
        return [each["spec"]["predictor"].get("canaryTrafficPercent") for each in cluster.applied]
    return [
        each["spec"]["canary"][0]["trafficPercent"] if "canary" in each["spec"] else None for each in cluster.applied
    ]


@MODES
def test_the_first_version_serves_after_its_golden_rows(mode):
    cluster, clock = make({1: FakeServer()}, mode)
    outcome = deploy(cluster, clock, 1, mode)
    assert state(cluster).phase == "promoted"
    assert state(cluster).stable.version == 1
    assert serving(cluster) == 1
    assert outcome.difference == 0.0
    assert shares(cluster, mode) == [None, None]
    expected = {"standard": "http://iris-v1-predictor.models", "knative": "http://iris-predictor.models"}[mode]
    assert outcome.server.url == f"{expected}.svc.cluster.local"


@MODES
def test_a_good_canary_gets_no_requests_then_its_share_then_all(mode):
    cluster, clock = make({1: FakeServer(), 2: FakeServer()}, mode)
    deploy(cluster, clock, 1, mode)
    cluster.applied.clear()
    began = clock.now
    outcome = deploy(cluster, clock, 2, mode)
    assert shares(cluster, mode) == ([0, 10, None] if mode == "knative" else [0, 10, 0, None])  # the other one leaves
    assert clock.now - began >= 120  # watch_minutes: 2
    assert (state(cluster).phase, state(cluster).stable.version, serving(cluster)) == ("promoted", 2, 2)
    # a probe every 5 s for 120 s: 25 of them, one smoke test before
    assert outcome.reason == "canary at 10 %: 26 requests, 0 failed, p95 5 ms"


def after_three_versions():
    """A cluster that has seen version 1, the promotion of 2, and 3 rolled back for its answers."""
    cluster, clock = make({1: FakeServer(), 2: FakeServer(), 3: FakeServer(7.0)}, "standard")
    deploy(cluster, clock, 1)
    deploy(cluster, clock, 2)
    with pytest.raises(NasflowError, match="rolled back"):
        deploy(cluster, clock, 3)
    return cluster


def test_what_served_before_a_step_is_there_after_it():
    """KServe 0.20 deletes a version's Service before the status names another one: whoever asks must find it."""
    cluster = after_three_versions()
    specs = [each["spec"] for each in cluster.applied]
    for before, after in itertools.pairwise(specs):
        there = [after["predictor"], *(each["predictor"] for each in after.get("canary", []))]
        assert before["predictor"]["name"] in {each["name"] for each in there}
    assert [each["predictor"]["name"] for each in specs] == ["v1", "v1", "v1", "v1", "v2", "v2", "v2", "v2"]


def test_a_promotion_that_was_interrupted_while_the_other_leaves_is_ended():
    cluster, clock = make({1: FakeServer(), 2: FakeServer()}, "standard")
    deploy(cluster, clock, 1)
    apply = cluster.apply

    def stopping(service, *, dry_run=False):
        made = apply(service, dry_run=dry_run)
        if state(cluster).leaving:
            cluster.apply = apply
            raise TryAgainError("stopped by SIGTERM")
        return made

    cluster.apply = stopping
    with pytest.raises(TryAgainError):
        deploy(cluster, clock, 2)
    assert [each["predictor"]["name"] for each in cluster.get("iris")["spec"]["canary"]] == ["v1"]
    deploy(cluster, clock, 2)
    assert "canary" not in cluster.get("iris")["spec"]
    assert (state(cluster).phase, state(cluster).leaving, serving(cluster)) == ("promoted", None, 2)


def test_no_step_of_a_rollout_changes_the_pods_of_a_version():
    """KServe makes annotations of the service the pods' own: a state that they could see would start them anew."""
    cluster = after_three_versions()
    assert {version: len(templates) for version, templates in cluster.templates.items()} == {1: 1, 2: 1, 3: 1}


@MODES
def test_version_1_of_another_registry_does_not_take_the_place_of_version_1(mode):
    """Each work dir has a registry of its own unless told otherwise, and each begins with version 1."""
    cluster, clock = make({1: FakeServer()}, mode)
    deploy(cluster, clock, 1, mode)
    cluster.applied.clear()
    other = Release(name="iris", version=1, bundle_uri="gs://other/iris/1", bundle_digest="e1")
    deployment = Deployment(spec(mode), other, cluster, check, clock=clock)
    with pytest.raises(UserError, match=r"version 1 serves, but it is another bundle \(d1…, yours is e1…\): two reg"):
        deployment.run()
    assert (cluster.applied, state(cluster).digest) == ([], "d1")
    deploy(cluster, clock, 1, mode)  # the one that serves goes on as ever


@MODES
def test_a_canary_that_fails_requests_is_rolled_back_and_the_old_version_serves_all_the_time(mode):
    cluster, clock = make({1: FakeServer(), 2: FakeServer(fails_after=15)}, mode)
    deploy(cluster, clock, 1, mode)
    seen = []
    clock.on_sleep = lambda: seen.append(serving(cluster))
    with pytest.raises(
        NasflowError, match=r"version 2 was rolled back, version 1 serves: 5 of 20 requests failed \(25"
    ):
        deploy(cluster, clock, 2, mode, max_error_rate=0.1)
    assert set(seen) == {1}
    assert serving(cluster) == 1
    assert (state(cluster).phase, state(cluster).stable.version) == ("rolled_back", 1)
    assert shares(cluster, mode)[-1] == (0 if mode == "knative" else None)


@MODES
def test_a_canary_with_other_answers_never_gets_a_request(mode):
    cluster, clock = make({1: FakeServer(), 2: FakeServer(3.0)}, mode)
    deploy(cluster, clock, 1, mode)
    with pytest.raises(NasflowError, match=r"rolled back, version 1 serves: V1: golden row 1: the server says 3\.0"):
        deploy(cluster, clock, 2, mode)
    assert 10 not in shares(cluster, mode)
    assert serving(cluster) == 1


def test_a_canary_whose_answers_change_while_it_is_watched_is_rolled_back():
    cluster, clock = make({1: FakeServer(), 2: FakeServer()}, "standard")
    deploy(cluster, clock, 1)
    clock.on_sleep = lambda: setattr(cluster.servers[2], "number", 2.0)
    with pytest.raises(NasflowError, match=r"rolled back, .*the server says 2\.0"):
        deploy(cluster, clock, 2)


def test_a_slow_canary_is_rolled_back():
    cluster, clock = make({1: FakeServer(), 2: FakeServer(seconds=0.3)}, "standard")
    deploy(cluster, clock, 1)
    # all requests between 50 and 500 ms: the 95th percentile is 50 + 0.95 × 450 = 478 ms
    with pytest.raises(NasflowError, match=r"95 % of requests within 478 ms > deploy\.max_latency_ms 100"):
        deploy(cluster, clock, 2, max_latency_ms=100)


@MODES
@pytest.mark.parametrize("drifts", [True, False])
def test_a_canary_that_predicts_otherwise_than_the_version_that_serves_is_rolled_back(mode, drifts):
    """Users' rows: version 1 said `no` to all of 10,000 before the watch and says it to half of them since; version 2
    says it to a quarter of them, or to half."""
    cluster, clock = make({1: FakeServer(), 2: FakeServer()}, mode)
    one, two = cluster.servers[1], cluster.servers[2]
    one.predicted = {"no": 10_000, "yes": 0}
    deploy(cluster, clock, 1, mode)

    def users():
        for server, no, yes in ((one, 500, 500), (two, 25 if drifts else 50, 75 if drifts else 50)):
            server.predicted["no"] = server.predicted.get("no", 0) + no
            server.predicted["yes"] = server.predicted.get("yes", 0) + yes

    clock.on_sleep = users
    if not drifts:
        assert "prediction drift 0.00" in deploy(cluster, clock, 2, mode).reason
        return
    # Σ (p − q) ln (p / q) = 0.25 · ln 3 = 0.27, less what chance makes of a few hundred rows
    with pytest.raises(
        NasflowError, match=r"version 1 serves: its predictions .* stability index 0\.2\d > .*_drift 0\.2"
    ):
        deploy(cluster, clock, 2, mode, max_prediction_drift=0.2)
    assert serving(cluster) == 1


@MODES
@pytest.mark.parametrize(("old", "new", "good"), [(0, 30, False), (30, 33, True)])
def test_a_canary_that_refuses_what_the_version_that_serves_answers_is_rolled_back(mode, old, new, good):
    """Its columns have other names: golden rows are its own, but of 100 users each 5 s it refuses 30, where version 1
    refuses none. A client who sends rubbish to both (30, and 33 of 100) is nobody's fault."""
    cluster, clock = make({1: FakeServer(), 2: FakeServer()}, mode)
    deploy(cluster, clock, 1, mode)

    def users():
        for server, refused in ((cluster.servers[1], old), (cluster.servers[2], new)):
            server.codes["422"] = server.codes.get("422", 0) + refused
            server.codes["200"] += 100 - refused

    clock.on_sleep = users
    if good:
        deploy(cluster, clock, 2, mode, max_error_rate=0.05)
        return
    with pytest.raises(NasflowError, match=r"serves: it refuses 2\d\.\d% of the requests, .* 0\.0% of the same ones"):
        deploy(cluster, clock, 2, mode)
    assert serving(cluster) == 1


def test_few_predictions_and_drift_that_does_not_decide():
    cluster, clock = make({1: FakeServer(), 2: FakeServer()}, "standard")
    cluster.servers[1].predicted = {"no": 0}
    deploy(cluster, clock, 1)
    clock.on_sleep = lambda: cluster.servers[1].predicted.update(no=cluster.servers[1].predicted["no"] + 100)
    cluster.servers[2].predicted = {"yes": 199}  # one row too few to say anything
    assert "drift" not in deploy(cluster, clock, 2).reason
    cluster.servers[3] = FakeServer()
    cluster.servers[3].predicted = {"no": 900}
    cluster.servers[2].predicted = {"yes": 0}
    clock.on_sleep = lambda: cluster.servers[2].predicted.update(yes=cluster.servers[2].predicted["yes"] + 100)
    deploy(cluster, clock, 3, max_prediction_drift=None)
    assert serving(cluster) == 3


@MODES
def test_a_canary_that_never_starts_is_rolled_back_with_the_condition(mode):
    cluster, clock = make({1: FakeServer(), 2: FakeServer()}, mode, broken={2: "Back-off pulling image"})
    deploy(cluster, clock, 1, mode)
    with pytest.raises(
        NasflowError,
        match=r"version 1 serves: not Ready after 1 min .*MinimumReplicasUnavailable\): Back-off pulling image",
    ):
        deploy(cluster, clock, 2, mode, ready_minutes=1)
    assert serving(cluster) == 1


def test_a_bad_first_version_is_stopped():
    cluster, clock = make({1: FakeServer(7.0)}, "standard")
    with pytest.raises(NasflowError, match="it is stopped, nothing serves: V1: golden row 1"):
        deploy(cluster, clock, 1)
    assert cluster.get("iris")["metadata"]["annotations"]["serving.kserve.io/stop"] == "true"
    cluster.servers[2] = FakeServer()
    deploy(cluster, clock, 2)  # the annotation was ours, and the next apply leaves it out
    assert "serving.kserve.io/stop" not in cluster.get("iris")["metadata"]["annotations"]
    assert serving(cluster) == 2


@MODES
def test_interrupted_at_any_point_the_same_command_goes_on(mode):
    """Every call to the cluster is the last one once; the result is the same, and version 1 serves until the end."""
    calls = 0
    stop_at = None

    class Stopping(FakeCluster):
        def _count(self):
            nonlocal calls
            calls += 1
            if calls == stop_at:
                raise TryAgainError("stopped by SIGTERM")

        def get(self, name):
            self._count()
            return super().get(name)

        def apply(self, service, *, dry_run=False):
            self._count()
            made = super().apply(service)
            self._count()
            return made

        def request(self, method, url, body=None):
            self._count()
            return super().request(method, url, body)

    def attempt(cluster, clock):
        deploy(cluster, clock, 2, mode, watch_minutes=0.5, min_requests=3)

    interrupted = 0
    for point in range(1, 200):
        clock = FakeClock()
        cluster = Stopping({1: FakeServer(), 2: FakeServer()}, knative=mode == "knative")
        stop_at = None
        deploy(cluster, clock, 1, mode)
        calls, stop_at = 0, point
        try:
            attempt(cluster, clock)
            break
        except TryAgainError:
            interrupted += 1
        stop_at = None
        attempt(cluster, clock)
        assert (state(cluster).phase, state(cluster).stable.version, serving(cluster)) == ("promoted", 2, 2), point
        asked = [version for version, path in cluster.asked if path != "/metrics"]
        assert set(asked) == {1, 2}
    assert interrupted > 20
    assert stop_at is not None


def test_an_interrupted_watch_keeps_its_clock():
    cluster, clock = make({1: FakeServer(), 2: FakeServer()}, "standard")
    deploy(cluster, clock, 1)
    began = clock.now

    def stop():
        if clock.now - began > 60:
            clock.on_sleep = None
            raise TryAgainError("stopped by SIGTERM")

    clock.on_sleep = stop
    with pytest.raises(TryAgainError):
        deploy(cluster, clock, 2)
    assert state(cluster).phase == "canary"
    deploy(cluster, clock, 2)
    assert 120 <= clock.now - began <= 130  # not 60 + 120


@MODES
def test_a_version_that_was_rolled_back_is_tried_again_only_on_request(mode):
    cluster, clock = make({1: FakeServer(), 2: FakeServer(3.0)}, mode)
    deploy(cluster, clock, 1, mode)
    with pytest.raises(NasflowError, match="was rolled back, version 1"):
        deploy(cluster, clock, 2, mode)
    with pytest.raises(NasflowError, match=r"was rolled back before: V1: golden row 1.*nasflow deploy --again"):
        deploy(cluster, clock, 2, mode)
    cluster.servers[2] = FakeServer()
    deploy(cluster, clock, 2, mode, again=True)
    assert serving(cluster) == 2


@MODES
def test_deploying_what_serves_already_changes_nothing(mode):
    cluster, clock = make({1: FakeServer()}, mode)
    deploy(cluster, clock, 1, mode)
    before = cluster.get("iris")
    deploy(cluster, clock, 1, mode)
    assert cluster.get("iris") == before


@MODES
def test_the_stable_version_again_ends_anothers_canary(mode):
    cluster, clock = make({1: FakeServer(), 2: FakeServer(3.0)}, mode)
    deploy(cluster, clock, 1, mode)
    with pytest.raises(NasflowError, match="rolled back"):
        deploy(cluster, clock, 2, mode)
    deploy(cluster, clock, 1, mode)
    assert (state(cluster).phase, state(cluster).version, serving(cluster)) == ("promoted", 1, 1)


def test_a_newer_version_takes_over_an_unfinished_canary():
    cluster, clock = make({1: FakeServer(), 2: FakeServer(), 3: FakeServer()}, "standard")
    deploy(cluster, clock, 1)
    clock.on_sleep = lambda: (_ for _ in ()).throw(TryAgainError("stopped"))
    with pytest.raises(TryAgainError):
        deploy(cluster, clock, 2)
    clock.on_sleep = None
    cluster.applied.clear()
    deploy(cluster, clock, 3)
    first = cluster.applied[0]["spec"]
    assert (first["predictor"]["name"], first["canary"][0]["predictor"]["name"]) == ("v1", "v3")
    assert serving(cluster) == 3


def test_of_two_deployments_at_once_the_later_one_goes_on_and_the_other_touches_nothing():
    cluster, clock = make({1: FakeServer(), 2: FakeServer(), 3: FakeServer()}, "standard")
    deploy(cluster, clock, 1)

    def another():
        clock.on_sleep = None
        deploy(cluster, FakeClock(), 3)
        cluster.applied.clear()

    clock.on_sleep = another  # version 2 is being watched
    with pytest.raises(UserError, match="another deployment has taken over: version 3, promoted; deploy one version"):
        deploy(cluster, clock, 2)
    assert cluster.applied == []
    assert (state(cluster).version, serving(cluster)) == (3, 3)


def test_the_same_version_deployed_twice_at_once_is_worth_trying_again():
    cluster, clock = make({1: FakeServer(), 2: FakeServer()}, "standard")
    deploy(cluster, clock, 1)

    def another():
        clock.on_sleep = None
        deploy(cluster, FakeClock(), 2)

    clock.on_sleep = another
    with pytest.raises(TryAgainError, match="version 2, promoted; run the same command again"):
        deploy(cluster, clock, 2)
    deploy(cluster, clock, 2)
    assert serving(cluster) == 2


def test_what_the_controller_writes_between_our_reading_and_writing_is_no_obstacle():
    class Busy(FakeCluster):
        left = 3

        def get(self, name):
            live = super().get(name)
            if live is not None and self.left:
                self.left -= 1
                self._written(self.objects[name])  # its status, say
            return live

    cluster, clock = Busy({1: FakeServer(), 2: FakeServer()}), FakeClock()
    deploy(cluster, clock, 1)
    cluster.left = 3
    deploy(cluster, clock, 2)
    assert serving(cluster) == 2
    cluster.left = 10_000
    with pytest.raises(TryAgainError, match="changes all the time"):
        deploy(cluster, clock, 1)


def test_somebody_elses_service_is_left_alone():
    cluster, clock = make({1: FakeServer()}, "standard")
    deploy(cluster, clock, 1)
    del cluster.objects["iris"]["metadata"]["annotations"][isvc.STATE]
    cluster.applied.clear()
    with pytest.raises(UserError, match=r"InferenceService models/iris: exists, but not by nasflow"):
        deploy(cluster, clock, 2)
    assert cluster.applied == []


def test_a_service_that_vanishes_is_said():
    cluster, clock = make({1: FakeServer(), 2: FakeServer()}, "standard", broken=(2,))
    deploy(cluster, clock, 1)
    clock.on_sleep = lambda: cluster.objects.pop("iris", None)
    with pytest.raises(UserError, match="somebody deleted the InferenceService"):
        deploy(cluster, clock, 2)


def test_without_our_metrics_the_golden_rows_decide():
    class Silent(FakeServer):
        def __call__(self, path, body):
            return (404, b"") if path == "/metrics" else super().__call__(path, body)

    cluster, clock = make({1: FakeServer(), 2: Silent(fails_after=10)}, "standard")
    deploy(cluster, clock, 1)
    # the smoke test is the first good answer and not counted: 9 good, then the 11th of 20 is the first failure
    with pytest.raises(NasflowError, match=r"11 of 20 requests failed"):
        deploy(cluster, clock, 2)


def test_the_state_is_one_annotation():
    cluster, clock = make({1: FakeServer()}, "standard")
    deploy(cluster, clock, 1)
    kept = json.loads(cluster.get("iris")["metadata"]["annotations"]["nasflow.dev/rollout"])
    assert (kept["phase"], kept["version"], kept["digest"], kept["stable"]["version"]) == ("promoted", 1, "d1", 1)
