"""Which account may do what in a cluster, verb by verb; and which step runs as which, on Argo and on Kubeflow."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler
from kfp.kubernetes import kubernetes_executor_config_pb2

from nasflow.core.spec import ExperimentSpec
from nasflow.deploy import cluster
from nasflow.search import cluster_jobs
from nasflow_pipelines import argo
from nasflow_pipelines.kinds import kind_of

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "manifests/base"

RESULT = {("argoproj.io", "workflowtaskresults", "", verb) for verb in ("create", "patch")}
"""Argo's executor, for every task."""
LAUNCHER = {("", "configmaps", "kfp-launcher", "get"), ("", "secrets", "mlpipeline-minio-artifact", "get")}
"""Kubeflow's driver and launcher."""
SERVICES = {("serving.kserve.io", "inferenceservices", "", verb) for verb in cluster.VERBS}
"""Deploy, target `kserve`."""
USED = {
    "nasflow-runner": RESULT | LAUNCHER,
    "nasflow-runner-recall": RESULT,
    "nasflow-runner-preprocess": RESULT,
    "nasflow-runner-weigh": RESULT,
    "nasflow-runner-search": RESULT,
    "nasflow-runner-train": RESULT,
    "nasflow-runner-evaluate": RESULT,
    "nasflow-runner-register": RESULT,
    "nasflow-runner-deploy": RESULT | SERVICES,
    "nasflow-server": set(),
}
"""Account → (API group, resource, name or any, verb) that something of ours uses."""

EXPERIMENT = {
    "task": "tabular_regression",
    "name": "m",
    "data": {"train": "gs://b/x.csv", "label": "y"},
    "resources": {"service_account": "nasflow-runner", "account_per_step": True},
    "deploy": {"target": "kserve"},
}
EACH = ["automl", "retrain"]


def objects(name: str, folder: Path = BASE) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((folder / name).read_text()) if each]


SECRETS = [
    each
    for each in (*objects("service-account.yaml"), *objects("rbac.yaml", ROOT / "manifests/components/search-workers"))
    if each["kind"] == "Secret"
]


def granted() -> dict[str, set[tuple[str, str, str, str]]]:
    roles = {each["metadata"]["name"]: each["rules"] for each in objects("rbac.yaml") if each["kind"] == "Role"}
    files = ("service-account.yaml", "serving.yaml")
    accounts = [each for file in files for each in objects(file) if each["kind"] == "ServiceAccount"]
    found: dict[str, set[tuple[str, str, str, str]]] = {each["metadata"]["name"]: set() for each in accounts}
    for binding in (each for each in objects("rbac.yaml") if each["kind"] == "RoleBinding"):
        for subject in binding["subjects"]:
            for rule in roles[binding["roleRef"]["name"]]:
                found[subject["name"]] |= {
                    (group, resource, name, verb)
                    for group in rule["apiGroups"]
                    for resource in rule["resources"]
                    for name in rule.get("resourceNames", [""])
                    for verb in rule["verbs"]
                }
    return found


def test_every_account_may_do_what_its_step_does_and_nothing_else() -> None:
    assert granted() == USED
    kinds = {each["kind"] for each in objects("rbac.yaml")}
    assert kinds == {"Role", "RoleBinding"}  # nothing reaches beyond the namespace


def test_deploy_asks_for_nothing_but_what_it_is_granted() -> None:
    """Its one way to the API server is `call`: GET is get; an apply-patch is patch, and create where there is none."""
    source = Path(cluster.__file__).read_text()
    assert set(re.findall(r'self\._api\.call\(\s*"([A-Z]+)"', source)) == {"GET", "PATCH"}
    assert set(cluster.VERBS) == {"get", "patch", "create"}
    asks = re.compile(r"^\s*(?:import|from) kubernetes\b", re.MULTILINE)
    folders = ("components/nasflow", "pipelines/nasflow_pipelines")
    code = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if asks.search(path.read_text())]
    assert {path.name for path in code} <= {"kubernetes_api.py", "cluster.py"}
    callers = {path.name for path in (ROOT / folders[0]).rglob("*.py") if "KubernetesApi" in path.read_text()}
    # cluster_jobs.py is search's workers: rights of their own, see test_manifests.py
    assert callers == {"kubernetes_api.py", "cluster.py", "cluster_jobs.py"}


@pytest.mark.parametrize("pipeline", EACH)
def test_argos_tasks_run_as_their_own_accounts(pipeline: Any) -> None:
    workflow = argo.workflow(ExperimentSpec.model_validate(EXPERIMENT), pipeline=pipeline)
    accounts = {
        each["name"]: each["serviceAccountName"] for each in workflow["spec"]["templates"] if "container" in each
    }
    assert accounts == {name: f"nasflow-runner-{name}" for name in argo.PIPELINES[pipeline]}
    assert set(accounts.values()) <= set(USED)


@pytest.mark.parametrize("pipeline", EACH)
@pytest.mark.parametrize("launcher", ["process", "kubernetes"])
def test_on_kubeflow_a_step_with_rights_of_its_own_holds_the_token_and_no_other_does(
    pipeline: Any, launcher: str, tmp_path: Path
) -> None:
    file = tmp_path / "p.yaml"
    content = EXPERIMENT | {"search": {"workers": 2, "launcher": {"kind": launcher}}}
    compiler.Compiler().compile(kind_of(pipeline).build(ExperimentSpec.model_validate(content)), str(file))
    _, platform = yaml.safe_load_all(file.read_text())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    mounted = {name: each["secretAsVolume"] for name, each in executors.items() if "secretAsVolume" in each}
    wanted = {"exec-deploy": ("nasflow-runner-deploy", cluster.ACCOUNT)}
    if launcher == "kubernetes":
        wanted["exec-search"] = ("nasflow-runner-search", cluster_jobs.ACCOUNT)
    secrets = {each["metadata"]["name"]: each for each in SECRETS}
    assert set(mounted) == set(wanted)
    for name, (account, place) in wanted.items():
        (volume,) = mounted[name]
        assert volume["secretName"] == f"{account}-token"
        assert Path(volume["mountPath"]) == place
        secret = secrets[volume["secretName"]]
        assert secret["metadata"]["annotations"] == {"kubernetes.io/service-account.name": account}
        assert "data" not in secret  # Kubernetes fills it in


def test_what_kubeflow_cannot_do_is_still_so() -> None:
    """No account of a task, no projected token: once kfp-kubernetes has one, the Secrets can go."""
    fields = {field.name for field in kubernetes_executor_config_pb2.KubernetesExecutorConfig.DESCRIPTOR.fields}
    assert "security_context" in fields
    assert not {name for name in fields if "account" in name or "projected" in name or "token" in name}


def test_without_the_setting_nothing_is_split() -> None:
    content = EXPERIMENT | {"resources": {"service_account": "nasflow-runner"}}
    workflow = argo.workflow(ExperimentSpec.model_validate(content))
    assert not any("serviceAccountName" in each for each in workflow["spec"]["templates"])
    assert workflow["spec"]["serviceAccountName"] == "nasflow-runner"


def test_the_setting_needs_the_accounts_names() -> None:
    with pytest.raises(ValueError, match="account_per_step needs service_account"):
        ExperimentSpec.model_validate(EXPERIMENT | {"resources": {"account_per_step": True}})
