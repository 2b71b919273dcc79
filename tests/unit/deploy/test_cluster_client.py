"""The real client over HTTP, to an API server made of the fake cluster."""

import http.server
import json
import threading
import urllib.parse

import pytest
from kubernetes import client
from tests.unit.deploy.fake_kserve import FakeClock, FakeCluster, FakeServer

from nasflow.core.errors import ChangedError, NasflowError, TryAgainError, UserError
from nasflow.deploy.cluster import VERBS, KubernetesCluster
from nasflow.deploy.isvc import Release
from nasflow.deploy.rollout import Deployment
from nasflow.deploy.spec import DeploySpec

ROOT = "/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices/"


class ApiServer(http.server.ThreadingHTTPServer):
    def __init__(self, cluster):
        super().__init__(("127.0.0.1", 0), Handler)
        self.cluster = cluster
        self.calls = []
        self.error = None


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def _do(self):
        parts = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.calls.append((self.command, parts.path, parts.query, self.headers.get("Content-Type")))
        if self.server.error:
            code, message, *causes = self.server.error
            details = {"details": {"causes": causes[0]}} if causes else {}
            return self._send(code, {"kind": "Status", "message": message, "code": code, **details})
        cluster, name = self.server.cluster, parts.path.removeprefix(ROOT)
        if "/proxy/" in parts.path:
            service, _, path = parts.path.removeprefix("/api/v1/namespaces/models/services/").partition("/proxy")
            status, data = cluster.request(self.command, f"http://{service.split(':')[1]}.models.svc{path}", body)
            return self._send(status, json.loads(data) if path != "/metrics" else None, data)
        if self.command == "PATCH":
            assert self.headers["Content-Type"] == "application/apply-patch+yaml"
            return self._send(200, cluster.apply(json.loads(body), dry_run="dryRun=All" in parts.query))
        found = cluster.get(name)
        if found is None:
            return self._send(404, {"kind": "Status", "message": "not found", "code": 404})
        return self._send(200, found)

    do_GET = do_PATCH = do_DELETE = do_POST = _do

    def _send(self, code, content, data=None):
        data = data if content is None else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def api():
    server = ApiServer(FakeCluster({1: FakeServer(), 2: FakeServer()}, namespace="models"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def cluster(api):
    configuration = client.Configuration(host=f"http://127.0.0.1:{api.server_address[1]}")
    configuration.proxy = None
    configuration.retries = False
    return KubernetesCluster(client.ApiClient(configuration), "models", inside=False)


def check(server):
    assert server.post(server.v1_url, {"instances": [{}]}) == {"predictions": [1.0]}
    return 0.0


def test_a_rollout_from_a_laptop_through_the_api_servers_proxy(api, cluster):
    clock, spec = FakeClock(), DeploySpec(target="kserve", watch_minutes=1, min_requests=5)
    for version in (1, 2):
        release = Release(name="iris", version=version, bundle_uri=f"gs://b/{version}", bundle_digest=f"d{version}")
        outcome = Deployment(spec, release, cluster, check, clock=clock).run()
    assert outcome.reason.startswith("canary at 10 %: 14 requests, 0 failed")  # the server's own count, proxied
    applies = [(path, query) for command, path, query, _ in api.calls if command == "PATCH"]
    assert set(applies) == {(f"{ROOT}iris", "fieldManager=nasflow&fieldValidation=Strict")}
    proxied = {path for _, path, _, _ in api.calls if "/proxy/" in path}
    assert "/api/v1/namespaces/models/services/http:iris-v2-predictor:80/proxy/v1/models/iris:predict" in proxied


def test_what_is_not_there_is_none(cluster):
    assert cluster.get("iris") is None


def test_these_are_all_the_verbs_that_a_rollout_uses(api, cluster):
    """A first version, a canary that is promoted and one that is rolled back, as the API server sees them."""
    api.cluster.servers[3] = FakeServer(fails_after=0)
    for version in (1, 2, 3):
        release = Release(name="iris", version=version, bundle_uri=f"gs://b/iris/{version}", bundle_digest="d")
        spec = DeploySpec(target="kserve", watch_minutes=0, min_requests=1)
        deployment = Deployment(spec, release, cluster, check, clock=FakeClock())
        if version == 3:
            with pytest.raises(NasflowError, match="rolled back"):
                deployment.run()
        else:
            deployment.run()
    verbs = {"GET": {"get"}, "PATCH": {"patch", "create"}, "DELETE": {"delete"}}  # server-side apply also creates
    used = set().union(*(verbs[method] for method, path, _, _ in api.calls if path.startswith(ROOT)))
    assert used == set(VERBS)


def test_a_dry_run_changes_nothing(api, cluster):
    release = Release(name="iris", version=1, bundle_uri="gs://b/1", bundle_digest="d")
    _, service = Deployment(DeploySpec(target="kserve"), release, cluster, check).plan(None)
    assert cluster.apply(service, dry_run=True) == service
    assert api.cluster.objects == {}


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (403, UserError, r"get inferenceservice iris in namespace models: forbidden: .*; manifests/base/rbac\.yaml"),
        (422, NasflowError, "forbidden: no"),
        (429, TryAgainError, "forbidden: no"),
        (503, TryAgainError, "forbidden: no"),
    ],
)
def test_refusals_are_named_and_have_their_exit_code(api, cluster, code, kind, message):
    api.error = (code, "forbidden: no")
    with pytest.raises(NasflowError, match=message) as caught:
        cluster.get("iris")
    assert type(caught.value) is kind


def test_the_two_conflicts_are_told_apart(api, cluster):
    """As Kubernetes 1.34 words them (tests/cluster/test_api_server.py has the real ones)."""
    api.error = (409, "the object has been modified; please apply your changes to the latest version and try again")
    with pytest.raises(ChangedError, match="has been modified"):
        cluster.get("iris")
    message = 'Apply failed with 1 conflict: conflict with "kubectl": .spec.predictor.minReplicas'
    api.error = (409, message, [{"reason": "FieldManagerConflict", "field": ".spec.predictor.minReplicas"}])
    with pytest.raises(NasflowError, match=r"kubectl.*minReplicas; somebody else set these fields") as caught:
        cluster.get("iris")
    assert type(caught.value) is NasflowError


def test_a_cluster_without_kserve(api, cluster):
    api.error = (404, "the server could not find the requested resource")
    release = Release(name="iris", version=1, bundle_uri="gs://b/1", bundle_digest="d")
    with pytest.raises(UserError, match="is KServe installed"):
        Deployment(DeploySpec(target="kserve"), release, cluster, check).run()


def test_an_api_server_that_is_gone_is_worth_trying_again(cluster, api):
    api.shutdown()
    api.server_close()
    with pytest.raises(TryAgainError, match="does not answer"):
        cluster.get("iris")


def test_no_cluster_configured(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    with pytest.raises(UserError, match="no cluster is configured"):
        KubernetesCluster.connect(None)


def test_in_a_pipeline_it_is_the_account_whose_token_is_mounted_for_it(tmp_path, monkeypatch):
    """Not the pod's own, which may do nothing here."""
    from nasflow.deploy import cluster

    (tmp_path / "token").write_text("deploys-token")
    (tmp_path / "ca.crt").write_text("certificate")
    (tmp_path / "namespace").write_text("models\n")
    monkeypatch.setattr(cluster, "ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(client.Configuration, "_default", None)  # what it sets; put back afterwards
    monkeypatch.setattr(client, "ApiClient", client.Configuration.get_default_copy)
    connected = KubernetesCluster.connect(None)
    assert (connected.namespace, connected.inside) == ("models", True)
    made = connected._api.client
    assert made.host == "https://10.0.0.1:443"
    assert made.get_api_key_with_prefix("authorization") == "bearer deploys-token"
    assert made.ssl_ca_cert == str(tmp_path / "ca.crt")
