"""The manifests against Kubernetes' own schemas, and the few things in them that must agree with each other."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
KUBERNETES = "1.32"
OVERLAYS = {"dev": "nasflow-dev", "prod": "nasflow-prod"}

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl, which renders overlays, is not here"
)


def _objects(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def _files() -> list[Path]:
    return sorted(path for path in MANIFESTS.rglob("*.yaml") if path.name != "kustomization.yaml")


def _render(overlay: str) -> list[dict[str, Any]]:
    command = ["kubectl", "kustomize", str(MANIFESTS / "overlays" / overlay)]
    return _objects(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _only(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(MANIFESTS)))
def test_every_object_fits_kubernetes_schema(path: Path) -> None:
    objects = _objects(path.read_text())
    assert objects
    for each in objects:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_a_misspelt_field_is_caught() -> None:
    """The check above can fail: `podSelectr` is no field of a NetworkPolicy."""
    policy = _objects((MANIFESTS / "base/network.yaml").read_text())[0]
    policy["spec"]["podSelectr"] = policy["spec"].pop("podSelector")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(policy, KUBERNETES, strict=True)


@pytest.mark.parametrize("folder", ["base", "components/search-workers", *(f"overlays/{name}" for name in OVERLAYS)])
def test_every_file_is_used(folder: str) -> None:
    kustomization = yaml.safe_load((MANIFESTS / folder / "kustomization.yaml").read_text())
    named = {*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", []))} - {
        "../../base"
    }
    assert named == {path.name for path in (MANIFESTS / folder).glob("*.yaml")} - {"kustomization.yaml"}


@needs_kubectl
@pytest.mark.parametrize(("overlay", "namespace"), OVERLAYS.items())
def test_an_overlay_renders_valid_objects_in_its_own_namespace(overlay: str, namespace: str) -> None:
    objects = _render(overlay)
    for each in objects:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    assert _only(objects, "Namespace")["metadata"]["name"] == namespace
    assert {each["metadata"]["namespace"] for each in objects if each["kind"] != "Namespace"} == {namespace}
    accounts = {each["metadata"]["name"] for each in objects if each["kind"] == "ServiceAccount"}
    for binding in (each for each in objects if each["kind"] == "RoleBinding"):
        for subject in binding["subjects"]:
            assert subject["name"] in accounts
            assert (subject["kind"], subject["namespace"]) == ("ServiceAccount", namespace)


@needs_kubectl
def test_gpus_are_for_prod_only() -> None:
    hard = {overlay: _only(_render(overlay), "ResourceQuota")["spec"]["hard"] for overlay in OVERLAYS}
    assert hard["dev"]["requests.nvidia.com/gpu"] == "0"
    assert hard["prod"]["requests.nvidia.com/gpu"] == "4"


def test_no_role_has_a_wildcard_and_secrets_are_named() -> None:
    for role in _objects((MANIFESTS / "base/rbac.yaml").read_text()):
        for rule in role.get("rules", ()):
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
            if {"secrets", "configmaps"} & set(rule["resources"]):
                assert rule["verbs"] == ["get"]
                assert rule["resourceNames"]


@needs_kubectl
def test_every_runner_of_prod_is_a_google_account() -> None:
    accounts = [each["metadata"] for each in _render("prod") if each["kind"] == "ServiceAccount"]
    annotated = {each["name"] for each in accounts if "iam.gke.io/gcp-service-account" in each.get("annotations", {})}
    assert annotated == {each["name"] for each in accounts}  # predictors read their bundle, too
    assert "nasflow-runner-search" in annotated
    assert annotated > {"nasflow-server"}


def test_a_search_with_workers_in_pods_has_the_rights_that_it_uses_and_others_have_none_of_them() -> None:
    from nasflow.core.spec import LauncherSection
    from nasflow.search.cluster_jobs import JOB_VERBS, POD_VERBS

    folder = MANIFESTS / "components/search-workers"
    role, binding, secret = _objects((folder / "rbac.yaml").read_text())
    assert role["rules"] == [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": list(JOB_VERBS)},
        {"apiGroups": [""], "resources": ["pods"], "verbs": list(POD_VERBS)},
    ]
    accounts = {each["metadata"]["name"] for each in _objects((MANIFESTS / "base/service-account.yaml").read_text())}
    assert {each["name"] for each in binding["subjects"]} == {"nasflow-runner-search"} <= accounts
    assert secret["metadata"]["annotations"] == {"kubernetes.io/service-account.name": "nasflow-runner-search"}
    for base in _objects((MANIFESTS / "base/rbac.yaml").read_text()):
        assert not {"jobs", "pods"} & {kind for rule in base.get("rules", ()) for kind in rule["resources"]}
    incoming, outgoing = _objects((folder / "network.yaml").read_text())
    (into,), (out,) = incoming["spec"]["ingress"], outgoing["spec"]["egress"]
    assert into["ports"] == out["ports"] == [{"protocol": "TCP", "port": LauncherSection().port}]


def test_whatever_the_quota_counts_has_a_default() -> None:
    """Kubernetes refuses a container without a request or limit that a quota counts; the LimitRange fills them in."""
    quota, limits = _objects((MANIFESTS / "base/quota.yaml").read_text())
    (container,) = limits["spec"]["limits"]
    for kind, defaults in (("requests", container["defaultRequest"]), ("limits", container["default"])):
        counted = {
            key.removeprefix(f"{kind}.") for key in quota["spec"]["hard"] if key in {f"{kind}.cpu", f"{kind}.memory"}
        }
        assert counted == {"cpu", "memory"} == set(defaults)


def test_all_traffic_is_denied_first() -> None:
    deny, allow = _objects((MANIFESTS / "base/network.yaml").read_text())
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert allow["spec"]["policyTypes"] == ["Egress"]
