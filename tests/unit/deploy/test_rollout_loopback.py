"""A canary that is the real server on loopback, behind the fake controller."""

import contextlib
import urllib.error
import urllib.request

import pytest
from tests.unit.deploy.fake_kserve import FakeClock, FakeCluster, FakeServer

from nasflow.core.artifacts import External, bundle_digest
from nasflow.core.errors import NasflowError
from nasflow.deploy import smoke
from nasflow.deploy.isvc import Release, rollout_of
from nasflow.deploy.local_server import local_server
from nasflow.deploy.rollout import Deployment
from nasflow.deploy.spec import DeploySpec
from nasflow.deploy.watch import parse

pytestmark = pytest.mark.slow  # starts a real model server

NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
SPEC = DeploySpec(target="kserve", watch_minutes=2, min_requests=20, max_error_rate=0.1)


def digest(bundle):
    paths = [path for path in bundle.rglob("*") if path.is_file()]
    return bundle_digest({path.relative_to(bundle).as_posix(): External.of(str(path)) for path in paths})


class Forward:
    """A pod: passes requests on to a server's process; `kill` is what the kernel does to one that eats its memory."""

    def __init__(self, url):
        self.url, self.dead = url, False

    def __call__(self, path, body):
        if self.dead:
            raise OSError("connection refused")
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=body, headers=headers)
        try:
            with NO_PROXY.open(request, timeout=20) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@pytest.fixture(scope="module")
def served(handmade_bundle):
    bundle = handmade_bundle("regression")
    with local_server(str(bundle), "iris", digest=digest(bundle), timeout_seconds=120) as server:
        yield bundle, server.url


def deploy(cluster, clock, version, bundle, answered):
    release = Release(name="iris", version=version, bundle_uri=f"gs://b/{version}", bundle_digest="d")
    check = lambda server: smoke.compare(server, str(bundle), answered)  # noqa: E731
    return Deployment(SPEC, release, cluster, check, clock=clock).run()


def test_good_then_dying_then_wrong(served):
    bundle, url = served
    answered = smoke.bundle_rows(str(bundle))
    cluster, clock = FakeCluster({version: Forward(url) for version in (1, 2, 3, 4)}), FakeClock()
    assert deploy(cluster, clock, 1, bundle, answered).difference < 1e-6

    outcome = deploy(cluster, clock, 2, bundle, answered)
    # 2 requests for the first smoke test, 2 after its promotion, 2 for the canary's own; then one V1 and one V2
    # every 5 s for 2 min: all as the server's process counted them
    assert outcome.reason.startswith("canary at 10 %: 56 requests, 0 failed, p95 ")

    began = clock.now
    clock.on_sleep = lambda: clock.now - began > 60 and setattr(cluster.servers[3], "dead", True)
    with pytest.raises(NasflowError, match=r"version 3 was rolled back, version 2 serves: \d+ of \d+ requests failed"):
        deploy(cluster, clock, 3, bundle, answered)
    clock.on_sleep = None
    assert cluster.get("iris")["spec"]["predictor"]["name"] == "v2"

    wrong = answered.model_copy(update={"predictions": tuple(value + 0.5 for value in answered.predictions)})
    with pytest.raises(NasflowError, match=r"version 4 was rolled back, version 2 serves: deploy: V1: golden row 1"):
        deploy(cluster, clock, 4, bundle, wrong)
    assert rollout_of(cluster.get("iris")).stable.version == 2


def test_the_server_counts_what_it_answers(served):
    _, url = served

    def counts():
        with NO_PROXY.open(f"{url}/metrics", timeout=20) as response:
            page = response.read().decode()
        _, sample = parse(page)
        return sample.requests, sample.failures, page

    before, _, _ = counts()
    for path in ("/v1/models/iris:predict", "/v2/models/iris/infer", "/v1/models/other:predict"):
        with contextlib.suppress(urllib.error.HTTPError):
            NO_PROXY.open(urllib.request.Request(url + path, data=b"{}"), timeout=20)
    NO_PROXY.open(f"{url}/v2/health/live", timeout=20).close()  # no prediction
    after, failures, page = counts()
    assert (after - before, failures) == (3, 0)
    assert 'nasflow_requests_total{code="400"}' in page
    assert 'nasflow_requests_total{code="404"}' in page


def test_a_fake_pages_numbers_are_read():
    server = FakeServer(fails_after=1)
    server("/v1/models/iris:predict", b"{}")
    server("/v1/models/iris:predict", b"{}")
    started, sample = parse(server("/metrics", None)[1].decode())
    assert (started, sample.requests, sample.failures) == (5.0, 2, 1)
    assert parse("<html>") is None
    assert parse("process_start_time_seconds 5.0\n") is None
