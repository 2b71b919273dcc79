"""manifests/ in a real API server: applied for good, and what they then allow and refuse."""

import json
import subprocess

import pytest

pytestmark = pytest.mark.cluster


def dry(kubectl, namespace, pod):
    """The pod as the API server would keep it.

    Raises:
        subprocess.CalledProcessError: refused; `stderr` has why.
    """
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "t", "namespace": namespace}, "spec": pod}
    made = kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=json.dumps(manifest))
    return json.loads(made.stdout)


def pod(**container):
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
               "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}  # fmt: skip
    return {
        "serviceAccountName": "nasflow-runner-train",
        "containers": [{"name": "main", "image": "i", "securityContext": context, **container}],
    }


def test_applied_twice_nothing_changes(kubectl, installed):
    kinds = "serviceaccounts,roles,rolebindings,resourcequotas,limitranges,networkpolicies"

    def versions():
        items = json.loads(kubectl("get", kinds, "-n", installed.namespace, "-o", "json").stdout)["items"]
        mine = [
            each for each in items if each["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") == "nasflow"
        ]
        return {
            (each["kind"], each["metadata"]["name"]): each["metadata"]["resourceVersion"]
            for each in mine
            if each["kind"] != "ResourceQuota"  # its status counts what other tests do
        }

    before = versions()
    assert {kind for kind, _ in before} == {"ServiceAccount", "Role", "RoleBinding", "LimitRange", "NetworkPolicy"}
    kubectl("apply", "--server-side", "--kustomize", str(installed.folder))
    assert versions() == before


def test_a_container_that_names_no_resources_gets_the_limit_ranges(kubectl, installed):
    (container,) = dry(kubectl, installed.namespace, pod())["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": "1", "memory": "1Gi"},
    }


@pytest.mark.parametrize(
    ("resources", "named"),
    [
        ({"requests": {"cpu": "17", "memory": "1Gi"}, "limits": {"cpu": "17", "memory": "1Gi"}}, "requests.cpu"),
        ({"requests": {"cpu": "1", "memory": "65Gi"}, "limits": {"cpu": "1", "memory": "65Gi"}}, "requests.memory"),
        ({"limits": {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "1"}}, "requests.nvidia.com/gpu"),
    ],
)
def test_what_the_quota_of_dev_does_not_hold_is_refused(kubectl, installed, resources, named):
    """16 CPUs, 64 GiB, no GPU."""
    with pytest.raises(subprocess.CalledProcessError) as refused:
        dry(kubectl, installed.namespace, pod(resources=resources))
    assert "exceeded quota: nasflow" in refused.value.stderr
    assert named in refused.value.stderr


def test_a_pod_that_baseline_refuses_is_refused_and_one_that_restricted_refuses_is_warned_of(kubectl, installed):
    """Kubeflow's own driver pods are the reason why restricted is not enforced."""
    privileged = pod()
    privileged["hostNetwork"] = True
    with pytest.raises(subprocess.CalledProcessError) as refused:
        dry(kubectl, installed.namespace, privileged)
    assert 'violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)' in refused.value.stderr
    root = pod()
    del root["containers"][0]["securityContext"]["runAsNonRoot"]
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "t"}, "spec": root}
    warned = kubectl("create", "--dry-run=server", "-n", installed.namespace, "-f", "-", input=json.dumps(manifest))
    assert 'would violate PodSecurity "restricted:latest": runAsNonRoot != true' in warned.stderr


def test_the_deploy_tasks_secret_is_filled_in_with_a_token(kubectl, installed):
    """By Kubernetes' own controller; what it may do is test_rights_enforced.py's."""
    kubectl("wait", "--for=jsonpath={.data.token}", "secret/nasflow-runner-deploy-token", "-n", installed.namespace,
            "--timeout=30s")  # fmt: skip
