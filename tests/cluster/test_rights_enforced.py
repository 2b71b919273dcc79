"""Least privilege by the API server's own word: each account may do what its step does, and is refused the rest."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.contract.test_rights import USED

from nasflow.core.errors import UserError
from nasflow.core.kubernetes_api import KubernetesApi
from nasflow.deploy import isvc
from nasflow.deploy.cluster import KubernetesCluster
from nasflow.deploy.isvc import Release
from nasflow.deploy.spec import DeploySpec
from nasflow.search.cluster_jobs import JOB_VERBS, POD_VERBS, KubernetesJobs

pytestmark = pytest.mark.cluster

SEARCH = {("batch", "jobs", "", verb) for verb in JOB_VERBS} | {("", "pods", "", verb) for verb in POD_VERBS}
"""What manifests/components/search-workers adds, for the search's account alone."""
SEARCHS = "nasflow-runner-search"


def rights(kubectl, namespace, account):
    """(API group, resource, name or any, verb) that the account may in the namespace, as the server lists it."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    who = f"system:serviceaccount:{namespace}:{account}"
    made = json.loads(
        kubectl("create", "--as", who, "--validate=false", "-o", "json", "-f", "-", input=json.dumps(review)).stdout
    )
    assert made["status"]["incomplete"] is False
    return {
        (group, resource, name, verb)
        for rule in made["status"]["resourceRules"]
        for group in rule.get("apiGroups", [""])
        for resource in rule.get("resources", [])
        for name in rule.get("resourceNames") or [""]
        for verb in rule["verbs"]
    }


def can(kubectl, who, verb, what, *where):
    asked = subprocess.run(
        ["kubectl", "auth", "can-i", verb, what, "--as", who, *where], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() == "yes"


def client_of(kubectl, token, folder):
    """A client of nobody but the one whose token it is, on the tester's cluster."""
    from kubernetes import config

    mine = yaml.safe_load(kubectl("config", "view", "--minify", "--raw", "--flatten").stdout)
    (user,) = mine["users"]
    user["user"] = {"token": token}
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(mine))
    return config.new_client_from_config(str(file))


@pytest.fixture
def as_account(kubectl, installed, tmp_path):
    """`as_account(NAME)` → a client with that account's own token."""

    def client(name):
        token = kubectl("create", "token", name, "-n", installed.namespace).stdout.strip()
        return client_of(kubectl, token, tmp_path)

    return client


@pytest.fixture(scope="module")
def everybodys(kubectl, installed):
    """What any account may do: ask who it is and what it may do."""
    kubectl("create", "serviceaccount", "bare", "-n", installed.namespace)
    found = rights(kubectl, installed.namespace, "bare")
    assert {resource for _, resource, _, _ in found} <= {
        "selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"
    }  # fmt: skip
    return found


@pytest.mark.parametrize("account", sorted(USED))
def test_an_account_may_do_what_its_step_does_and_nothing_else(kubectl, installed, everybodys, account):
    expected = USED[account] | (SEARCH if account == SEARCHS else set())
    assert rights(kubectl, installed.namespace, account) - everybodys == expected


@pytest.mark.parametrize("account", sorted(USED))
def test_no_account_may_do_anything_elsewhere(kubectl, installed, account):
    who = f"system:serviceaccount:{installed.namespace}:{account}"
    everywhere = ("--all-namespaces",)
    for verb, what, where in [
        ("get", "secrets", ("-n", "kube-system")),
        ("patch", "inferenceservices.serving.kserve.io", ("-n", "default")),
        ("create", "pods", everywhere),
        ("create", "jobs.batch", everywhere),
        ("list", "nodes", ()),
        ("impersonate", "serviceaccounts", everywhere),
        ("create", "serviceaccounts/token", ("-n", installed.namespace)),
        ("create", "pods/exec", ("-n", installed.namespace)),
        ("bind", "roles.rbac.authorization.k8s.io", ("-n", installed.namespace)),
    ]:
        assert not can(kubectl, who, verb, what, *where), (verb, what)


def service(namespace, name="nasflow-rights"):
    release, spec = Release(name=name, version=1, bundle_uri="gs://b/1", bundle_digest="d"), DeploySpec(target="kserve")
    return isvc.service(spec, name, namespace, serving=isvc.predictor(spec, release))


def test_deploys_own_token_deploys(installed, as_account):
    cluster = KubernetesCluster(as_account("nasflow-runner-deploy"), installed.namespace, inside=False)
    assert cluster.get("nasflow-rights") is None
    assert cluster.apply(service(installed.namespace), dry_run=True)["metadata"]["name"] == "nasflow-rights"


def test_kubeflows_deploy_task_deploys_with_the_secrets_token(kubectl, installed, tmp_path):
    secret = json.loads(
        kubectl("get", "secret", "nasflow-runner-deploy-token", "-n", installed.namespace, "-o", "json").stdout
    )
    client = client_of(kubectl, base64.b64decode(secret["data"]["token"]).decode(), tmp_path)
    cluster = KubernetesCluster(client, installed.namespace, inside=False)
    assert cluster.apply(service(installed.namespace), dry_run=True)["metadata"]["name"] == "nasflow-rights"


@pytest.mark.parametrize("account", ["nasflow-runner", "nasflow-runner-train", "nasflow-server"])
def test_anybody_elses_token_does_not_and_is_told_where_the_rights_are(installed, as_account, account):
    cluster = KubernetesCluster(as_account(account), installed.namespace, inside=False)
    for call in (lambda: cluster.get("nasflow-rights"), lambda: cluster.apply(service(installed.namespace))):
        with pytest.raises(UserError, match=rf"is forbidden: User .*{account}.* cannot .*; manifests/base/rbac\.yaml"):
            call()


def test_deploys_token_deploys_in_no_other_namespace(as_account):
    cluster = KubernetesCluster(as_account("nasflow-runner-deploy"), "default", inside=False)
    with pytest.raises(UserError, match="forbidden"):
        cluster.apply(service("default"))


def job(name):
    golden = yaml.safe_load((Path(__file__).resolve().parents[1] / "contract/goldens/search_workers.yaml").read_text())
    golden["metadata"] = {"name": name, "labels": golden["metadata"]["labels"]}  # its owner does not exist
    golden["spec"]["suspend"] = True
    golden["spec"]["template"]["spec"]["serviceAccountName"] = "nasflow-runner-search"
    return golden


@pytest.fixture(params=["Argo: the pod's own", "Kubeflow: the Secret's"])
def searchs(request, kubectl, installed, as_account, tmp_path):
    """A client with the token that the search's pod has."""
    if request.param.startswith("Argo"):
        return as_account(SEARCHS)
    secret = ("secret", f"{SEARCHS}-token", "-n", installed.namespace)
    kubectl("wait", "--for=jsonpath={.data.token}", *secret, "--timeout=60s")
    found = json.loads(kubectl("get", *secret, "-o", "json").stdout)
    return client_of(kubectl, base64.b64decode(found["data"]["token"]).decode(), tmp_path)


def test_a_searchs_token_makes_lists_and_deletes_its_workers_job(installed, searchs):
    api = KubernetesApi(searchs, installed.namespace, inside=False, step="search")
    jobs, made = KubernetesJobs(api), job("workers")
    study = made["metadata"]["labels"]["nasflow.dev/study"]
    jobs.create(made)
    assert jobs.names(f"nasflow.dev/study={study}") == [made["metadata"]["name"]]
    found = jobs.get(made["metadata"]["name"])
    for field in ("backoffLimitPerIndex", "maxFailedIndexes", "podFailurePolicy"):
        assert found["spec"][field]
    assert jobs.pods("job-name=none") == []
    jobs.delete(made["metadata"]["name"])
    jobs.delete(made["metadata"]["name"])  # gone already, or on its way
    with pytest.raises(UserError, match="forbidden"):
        api.call("GET", f"/api/v1/namespaces/{installed.namespace}/secrets", what="list secrets")


@pytest.mark.parametrize("account", ["nasflow-runner", "nasflow-runner-train", "nasflow-runner-deploy"])
def test_another_steps_token_makes_no_job(installed, as_account, account):
    jobs = KubernetesJobs(KubernetesApi(as_account(account), installed.namespace, inside=False, step="search"))
    with pytest.raises(UserError, match="manifests/components/search-workers has the rights"):
        jobs.create(job("never"))
