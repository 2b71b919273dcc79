"""Who may talk to whom, by the policies of manifests/ and the pods that nasflow renders.

No network plug-in enforces policies where these tests run. `allowed` says what Kubernetes' rules for
networking.k8s.io/v1 make of them: a pod that no policy selects may do all; one that some select may do what any of them
allows; a connection needs both ends. Services are no part of it: policies see the pods' own ports.
"""

import ipaddress
from pathlib import Path

import pytest
import yaml

from nasflow.core.spec import ExperimentSpec, LauncherSection
from nasflow.deploy import isvc
from nasflow.deploy.spec import DeploySpec
from nasflow_pipelines import argo

ROOT = Path(__file__).resolve().parents[2]
HERE = "nasflow"


def policies(*files):
    found = [each for file in files for each in yaml.safe_load_all((ROOT / "manifests" / file).read_text()) if each]
    return [each for each in found if each["kind"] == "NetworkPolicy"]


BASE = policies("base/network.yaml", "base/serving.yaml")
ALL = [*BASE, *policies("components/search-workers/network.yaml")]


class Pod:
    def __init__(self, labels=(), namespace=HERE, address=None):
        self.labels, self.namespace, self.address = dict(labels), namespace, address


def matches(selector, labels):
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for each in selector.get("matchExpressions", []):
        held = labels.get(each["key"])
        if each["operator"] == "Exists":
            fits = held is not None
        else:
            assert each["operator"] == "In"
            fits = held in each["values"]
        if not fits:
            return False
    return True


def is_peer(peer, pod):
    if "ipBlock" in peer:
        return pod.address is not None and ipaddress.ip_address(pod.address) in ipaddress.ip_network(
            peer["ipBlock"]["cidr"]
        )
    if pod.address is not None:
        return False
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": pod.namespace}):
            return False
    elif pod.namespace != HERE:
        return False
    return matches(peer.get("podSelector", {}), pod.labels)


def side(rules, pod, other, port, protocol, direction, peers):
    """Whether one end may: `direction` is the policy's type, `peers` the key of a rule's."""
    if pod.namespace != HERE or pod.address is not None:
        return True  # no policy of ours
    selecting = [
        each["spec"]
        for each in rules
        if direction in each["spec"]["policyTypes"] and matches(each["spec"]["podSelector"], pod.labels)
    ]
    return not selecting or any(
        (peers not in rule or any(is_peer(peer, other) for peer in rule[peers]))
        and ("ports" not in rule or {"protocol": protocol, "port": port} in rule["ports"])
        for spec in selecting
        for rule in spec.get(direction.lower(), [])
    )


def allowed(rules, source, target, port, protocol="TCP"):
    return side(rules, source, target, port, protocol, "Egress", "to") and side(
        rules, target, source, port, protocol, "Ingress", "from"
    )


# ---- our pods, as they are rendered ----------------------------------------------------------------------------------
SPEC = {
    "name": "m", "task": "tabular_regression", "data": {"train": "gs://b/t.csv", "label": "y"},
    "search": {"workers": 4, "launcher": {"kind": "kubernetes"}},
}  # fmt: skip


def tasks():
    """Step → its pod, in an Argo Workflow."""
    made = argo.workflow(ExperimentSpec.model_validate(SPEC), work_dir="gs://b/w")
    templates = [each for each in made["spec"]["templates"] if "container" in each]
    return {each["name"]: Pod(each.get("metadata", {}).get("labels", {})) for each in templates}


def worker():
    golden = ROOT / "tests/contract/goldens/search_workers.yaml"  # another test holds it to what the search makes
    return Pod(yaml.safe_load(golden.read_text())["spec"]["template"]["metadata"]["labels"])


PREDICTOR = Pod({"serving.kserve.io/inferenceservice": "m"})  # KServe's label on each of its pods
OUTSIDE, GATEWAY = Pod(namespace="elsewhere"), Pod(namespace="istio-system")
INTERNET, METADATA, LOCAL_DNS = (Pod(address=each) for each in ("142.250.1.95", "169.254.169.254", "169.254.20.10"))
DNS, KUBEFLOW = Pod(namespace="kube-system"), Pod(namespace="kubeflow")


def predictors_port():
    release = isvc.Release(name="m", version=1, bundle_uri="gs://b/m", bundle_digest="d")
    (container,) = isvc.predictor(DeploySpec(target="kserve"), release)["containers"]
    (port,) = container["ports"]
    assert container["readinessProbe"]["httpGet"]["port"] == port["containerPort"]
    return port["containerPort"]


def test_every_task_reaches_what_it_needs_and_nobody_reaches_a_task():
    steps = tasks()
    assert {"preprocess", "search", "train", "evaluate", "register", "deploy"} <= set(steps)
    for task in [*steps.values(), worker()]:
        for target, port, protocol in (
            (DNS, 53, "UDP"), (LOCAL_DNS, 53, "UDP"), (LOCAL_DNS, 53, "TCP"), (KUBEFLOW, 8887, "TCP"),
            (KUBEFLOW, 9000, "TCP"), (INTERNET, 443, "TCP"), (INTERNET, 6443, "TCP"), (METADATA, 80, "TCP"),
        ):  # fmt: skip
            assert allowed(ALL, task, target, port, protocol), (task.labels, target.namespace, target.address, port)
        for target, port in ((INTERNET, 80), (INTERNET, 22), (OUTSIDE, 8080), (DNS, 10250), (LOCAL_DNS, 80)):
            assert not allowed(ALL, task, target, port), (task.labels, target.namespace, target.address, port)
        for source in (OUTSIDE, KUBEFLOW, INTERNET, PREDICTOR, Pod()):
            assert not allowed(ALL, source, task, LauncherSection().port)
            assert not allowed(ALL, source, task, 8080)


def test_predictors_are_asked_at_their_port_by_anybody_and_read_their_bundle():
    port = predictors_port()
    for source in (OUTSIDE, GATEWAY, INTERNET, tasks()["deploy"]):
        assert allowed(BASE, source, PREDICTOR, port)
        assert not allowed(BASE, source, PREDICTOR, port + 1)
    assert allowed(BASE, Pod(namespace="knative-serving"), PREDICTOR, 8012)  # Knative's activator to its queue proxy
    assert allowed(BASE, tasks()["deploy"], GATEWAY, 80)
    for target, number in ((INTERNET, 443), (METADATA, 80), (METADATA, 988)):
        assert allowed(BASE, PREDICTOR, target, number)
    assert not allowed(BASE, PREDICTOR, OUTSIDE, 5432)


def test_workers_dial_their_search_and_nobody_else_does():
    search, port = tasks()["search"], LauncherSection().port
    assert allowed(ALL, worker(), search, port)
    assert not allowed(ALL, worker(), search, port + 1)
    assert not allowed(ALL, search, worker(), port)
    assert not allowed(ALL, worker(), tasks()["train"], port)
    for other in (tasks()["train"], PREDICTOR, OUTSIDE):
        assert not allowed(ALL, other, search, port)
    assert not allowed(BASE, worker(), search, port)  # without the component


@pytest.mark.parametrize("broken", ["base/serving.yaml", "components/search-workers/network.yaml"])
def test_a_port_that_changed_is_noticed(broken):
    """The tests above can fail: the same policies with the ports moved by one."""
    moved = yaml.safe_load(yaml.safe_dump(ALL))
    for each in moved:
        for rules in (each["spec"].get("ingress", []), each["spec"].get("egress", [])):
            for rule in rules:
                for port in rule.get("ports", []):
                    port["port"] += port["port"] in (8080, 7077)
    if broken == "base/serving.yaml":
        assert not allowed(moved, OUTSIDE, PREDICTOR, predictors_port())
    else:
        assert not allowed(moved, worker(), tasks()["search"], LauncherSection().port)
