"""`nasflow deploy --target kserve` against a real API server: server-side apply, its conflicts, its races.

KServe's controller is a stand-in here (stand_in.py); pods are servers of this process, behind the API server's proxy.
Where the real controller runs, test_real_cluster.py has the whole way.
"""

import collections
import copy
import json
import threading
import time
import uuid

import pytest
from tests.cluster.stand_in import StandIn
from tests.unit.deploy.fake_kserve import FakeServer

from nasflow.core.errors import ChangedError, NasflowError, TryAgainError, UserError
from nasflow.core.kubernetes_api import KubernetesApi
from nasflow.deploy import crd, isvc
from nasflow.deploy.cluster import KubernetesCluster
from nasflow.deploy.isvc import Release
from nasflow.deploy.rollout import Deployment
from nasflow.deploy.spec import DeploySpec

pytestmark = pytest.mark.cluster

WEBHOOK = "inferenceservice.serving.kserve.io"


@pytest.fixture(scope="module")
def space(administrator, kubectl):
    """A namespace of the module's own, where no controller but ours reconciles."""
    if WEBHOOK in kubectl("get", "validatingwebhookconfigurations", "-o", "name").stdout:
        pytest.skip("KServe's own controller is here, and a stand-in would write what it writes")
    name = f"nasflow-test-{uuid.uuid4().hex[:6]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def connect(space):
    return KubernetesCluster.connect(space)


class Quick:
    """Real time, a hundred times faster."""

    def time(self):
        return time.time() * 100

    def sleep(self, seconds):
        time.sleep(seconds / 100)


def check(server):
    answer = server.post(server.v1_url, {"instances": [{}]})["predictions"][0]
    if answer != 1.0:
        raise NasflowError(f"V1: golden row 1: the server says {answer}, evaluate said 1.0")
    return 0.0


def release(name, version):
    return Release(name=name, version=version, bundle_uri=f"gs://b/{name}/{version}", bundle_digest=f"d{version}")


def deploy(cluster, name, version, *, again=False, check=check, **keys):
    spec = DeploySpec(**{"target": "kserve", "watch_minutes": 1, "min_requests": 3, **keys})
    return Deployment(spec, release(name, version), cluster, check, clock=Quick()).run(again=again)


@pytest.fixture
def name():
    return f"t{uuid.uuid4().hex[:6]}"


@pytest.fixture
def pods(space, kubectl):
    api = KubernetesApi(connect(space)._api.client, space, inside=False, step="test")
    with StandIn(api, {1: FakeServer(), 2: FakeServer(), 3: FakeServer(), 4: FakeServer()}) as running:
        yield running
    kubectl("delete", "inferenceservices,services,endpoints,pods,serviceaccounts", "--all", "-n", space)


def test_first_canary_promotion_and_rollback(space, pods, name):
    cluster = connect(space)
    assert deploy(cluster, name, 1).reason.startswith("the first version")
    assert deploy(cluster, name, 2).reason.startswith("canary at 10 %: ")
    pods.servers[3] = FakeServer(7.0)
    with pytest.raises(NasflowError, match=r"version 3 was rolled back, version 2 serves: V1: .* says 7\.0"):
        deploy(cluster, name, 3)
    live = cluster.get(name)
    assert (isvc.rollout_of(live).stable.version, live["spec"]["predictor"]["name"]) == (2, "v2")
    assert "canary" not in live["spec"]
    # one manager, by server-side apply; the controller has the status
    assert {
        (each["manager"], each["operation"]) for each in live["metadata"]["managedFields"] if "subresource" not in each
    } == {("nasflow", "Apply")}


def test_a_bad_first_version_is_stopped_and_the_annotation_goes_with_the_next(space, pods, name):
    cluster = connect(space)
    pods.servers[1] = FakeServer(7.0)
    with pytest.raises(NasflowError, match="it is stopped, nothing serves"):
        deploy(cluster, name, 1)
    assert cluster.get(name)["metadata"]["annotations"]["serving.kserve.io/stop"] == "true"
    deploy(cluster, name, 2)
    assert "serving.kserve.io/stop" not in cluster.get(name)["metadata"]["annotations"]


def test_stopped_after_each_of_its_writes_the_same_command_goes_on(space, pods, name):
    class Stopping(KubernetesCluster):
        left = 0

        def apply(self, service, *, dry_run=False):
            made = super().apply(service, dry_run=dry_run)
            self.left -= 1
            if not self.left:
                raise TryAgainError("stopped by SIGTERM")
            return made

    client = connect(space)._api.client
    deploy(connect(space), name, 1)
    for point in (1, 2, 3, 4):
        version = 2 + point % 2
        stopping = Stopping(client, space, inside=False)
        stopping.left = point
        if point < 4:  # a canary is three writes: 0 %, its share, promoted
            with pytest.raises(TryAgainError):
                deploy(stopping, name, version)
        deploy(connect(space), name, version)
        assert isvc.rollout_of(connect(space).get(name)).stable.version == version


def test_of_two_at_once_one_goes_on_and_the_other_is_told(space, pods, name):
    deploy(connect(space), name, 1)
    ended = {}

    def run(version):
        try:
            ended[version] = deploy(connect(space), name, version, watch_minutes=5).reason
        except NasflowError as error:
            ended[version] = error

    threads = [threading.Thread(target=run, args=(version,)) for version in (2, 3)]
    for each in threads:
        each.start()
        time.sleep(0.3)
    for each in threads:
        each.join(120)
    (won,) = [version for version, end in ended.items() if isinstance(end, str)]
    (lost,) = ended.keys() - {won}
    assert type(ended[lost]) is UserError
    assert f"another deployment has taken over: version {won}" in str(ended[lost])
    live = connect(space).get(name)
    assert (isvc.rollout_of(live).stable.version, live["spec"]["predictor"]["name"]) == (won, f"v{won}")


def test_what_was_read_and_has_changed_since_is_not_written_over(space, pods, name):
    cluster = connect(space)
    deploy(cluster, name, 1)
    live = cluster.get(name)
    _, service = Deployment(DeploySpec(target="kserve"), release(name, 2), cluster, check).plan(live)
    stale = copy.deepcopy(service)
    stale["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
    cluster.apply({**service, "metadata": {**service["metadata"], "labels": {"x": "y"}}})
    with pytest.raises(ChangedError, match="the object has been modified"):
        cluster.apply(stale)


def test_a_field_that_another_tool_has_taken_is_named_with_its_owner(space, pods, name, kubectl):
    cluster = connect(space)
    deploy(cluster, name, 1)
    theirs = {
        "apiVersion": isvc.API_VERSION,
        "kind": isvc.KIND,
        "metadata": {"name": name, "namespace": space},
        "spec": {"predictor": {"maxReplicas": 7}},
    }
    given = json.dumps(theirs)
    kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", "-", input=given)
    with pytest.raises(NasflowError, match=r'"gitops".*\.spec\.predictor\.maxReplicas.*let one tool manage') as refused:
        deploy(cluster, name, 2)
    assert refused.value.exit_code == 1
    assert connect(space).get(name)["spec"]["predictor"]["maxReplicas"] == 7


def test_what_others_add_stays(space, pods, name, kubectl):
    cluster = connect(space)
    deploy(cluster, name, 1)
    kubectl("annotate", "inferenceservice", name, "-n", space, "team=vision")
    kubectl("label", "inferenceservice", name, "-n", space, "cost-centre=12")
    deploy(cluster, name, 2)
    metadata = cluster.get(name)["metadata"]
    assert (metadata["annotations"]["team"], metadata["labels"]["cost-centre"]) == ("vision", "12")


def test_a_service_that_somebody_else_made_is_left_alone(space, pods, name, kubectl):
    cluster = connect(space)
    mine = isvc.service(
        DeploySpec(target="kserve"), name, space, serving=isvc.predictor(DeploySpec(target="kserve"), release(name, 1))
    )
    kubectl("create", "-f", "-", input=json.dumps(mine))
    before = cluster.get(name)["metadata"]["generation"]
    with pytest.raises(UserError, match="exists, but not by nasflow"):
        deploy(cluster, name, 1)
    assert cluster.get(name)["metadata"]["generation"] == before


def test_deleted_while_it_waits(space, pods, name, kubectl):
    pods.broken[2] = "ImagePullBackOff: no such image"
    deploy(connect(space), name, 1)
    later = threading.Timer(1.0, kubectl, ("delete", "inferenceservice", name, "-n", space))
    later.start()
    with pytest.raises(UserError, match="somebody deleted the InferenceService"):
        deploy(connect(space), name, 2, ready_minutes=30)
    later.join()
    del pods.broken[2]


def test_a_namespace_that_is_not_there(space):
    with pytest.raises(UserError, match=r'namespaces "nasflow-no-such" not found; is KServe installed'):
        deploy(connect("nasflow-no-such"), "iris", 1)


def mutations(service):
    """(what was changed, the object); the API server and our offline check must think alike of each."""

    def changed(*path, value):
        made = copy.deepcopy(service)
        target = made
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = value
        return ".".join(map(str, path)), made

    container = ("spec", "predictor", "containers", 0)
    yield "as it is", service
    yield changed("spec", "predictor", "minReplica", value=1)
    yield changed("spec", "predictor", "minReplicas", value="1")
    yield changed("spec", "predictor", "containerConcurency", value=1)
    yield changed("spec", "predictor", "containers", value={})
    yield changed(*container, "imagePullPolicy", value=3)
    yield changed(*container, "resources", "limits", "cpu", value=2)  # an int-or-string
    yield changed(*container, "resources", "limits", "cpu", value=[2])
    yield changed(*container, "env", 0, "valeu", value="x")
    yield changed(*container, "ports", 0, "containerPort", value="8080")
    yield changed(*container, "readinessProbe", "httpGet", "port", value="http")
    yield changed(*container, "securityContext", "runAsUser", value="root")
    yield changed("spec", "predictor", "volumes", value=[{"emptyDir": {}}])
    yield changed("spec", "canary", value=[{"predictor": {"name": "v2"}}])
    yield changed("spec", "canary", value=[{"predictor": service["spec"]["predictor"], "trafficPercent": 101}])
    yield changed("spec", value={})


def test_our_offline_check_and_the_api_server_think_alike(space, name):
    cluster, spec = connect(space), DeploySpec(target="kserve")
    service = isvc.service(spec, name, space, serving=isvc.predictor(spec, release(name, 1)))
    found = collections.Counter()
    for what, changed in mutations(service):
        verdicts = []
        for judge in (crd.validate, lambda each: cluster.apply(each, dry_run=True)):
            try:
                judge(changed)
                verdicts.append("accepted")
            except NasflowError:
                verdicts.append("refused")
        assert verdicts[0] == verdicts[1], (what, verdicts)
        found[verdicts[0]] += 1
    assert found == {"accepted": 3, "refused": 13}  # as it is, an integer of CPUs, a port by name
