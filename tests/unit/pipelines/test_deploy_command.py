"""`nasflow deploy` on a registry in a folder; clusters are fakes."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from tests.unit.deploy.fake_kserve import FakeCluster

from nasflow.core.artifacts import External
from nasflow.core.version import VERSION
from nasflow.deploy import crd
from nasflow.deploy.cluster import KubernetesCluster
from nasflow.registry._base import Draft
from nasflow.registry.file import FileRegistry
from nasflow_pipelines import cli

STORED = "storage_uri=gs://b/{name}/{version}"


@pytest.fixture
def registry(tmp_path):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "golden.json").write_text(json.dumps({"rows": [{"x": 1}], "labels": [1], "predictions": [1.0]}))
    store = FileRegistry(str(tmp_path / "registry"))
    draft = Draft(bundle_uri=str(bundle), files={"golden.json": External.of(str(bundle / "golden.json"))})
    store.register("iris", draft)
    store.promote("iris", "champion", 1, expected=None)
    return store


def call(registry, *arguments):
    return CliRunner().invoke(cli.main, ["deploy", *arguments, "--registry", registry.uri])


def test_no_manifest_of_a_version_that_was_changed(registry, tmp_path):
    entry = registry.get("iris").files["golden.json"]
    Path(entry.uri).write_text(Path(entry.uri).read_text() + " ")
    done = call(registry, "iris", "--target", "manifest", "--set", STORED, "-o", str(tmp_path / "made.yaml"))
    assert done.exit_code == 2
    assert entry.uri in done.output
    assert not (tmp_path / "made.yaml").exists()


@pytest.mark.parametrize("model", ["iris", "iris@champion", "iris@1"])
def test_a_manifest_is_printed(registry, model):
    done = call(registry, model, "--target", "manifest", "--set", STORED, "--namespace", "prod")
    assert done.exit_code == 0, done.output
    service = yaml.safe_load(done.stdout)
    crd.validate(service)
    assert service["metadata"]["namespace"] == "prod"
    (container,) = service["spec"]["predictor"]["containers"]
    assert container["env"][0] == {"name": "STORAGE_URI", "value": "gs://b/iris/1"}
    assert registry.get("iris").bundle_digest in container["args"]


@pytest.mark.parametrize(
    ("files", "image"), [(("golden.json",), "server-tf"), (("golden.json", "network.onnx"), "server")]
)
def test_the_image_is_chosen_by_what_the_bundle_needs(tmp_path, files, image):
    """`server` has ONNX Runtime alone; without network.onnx the SavedModel serves, which takes TensorFlow."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "golden.json").write_text(json.dumps({"rows": [{"x": 1}], "labels": [1], "predictions": [1.0]}))
    (bundle / "network.onnx").write_bytes(b"a network")
    store = FileRegistry(str(tmp_path / "registry"))
    store.register("iris", Draft(bundle_uri=str(bundle), files={n: External.of(str(bundle / n)) for n in files}))
    for more, expected in (((), f"nasflow/{image}:{VERSION}"), (("--set", "image=mine/server:7"), "mine/server:7")):
        done = call(store, "iris@1", "--target", "manifest", "--set", STORED, *more)
        assert done.exit_code == 0, done.output
        (container,) = yaml.safe_load(done.stdout)["spec"]["predictor"]["containers"]
        assert container["image"] == expected


def test_a_manifest_is_written_with_the_files_settings(registry, tmp_path):
    file = tmp_path / "e.yaml"
    deploy = "{mode: knative, min_replicas: 0, storage_uri: 'pvc://m/{version}'}"
    file.write_text(f"{{task: tabular_regression, data: {{train: a.csv, label: y}}, deploy: {deploy}}}")
    out = tmp_path / "gitops" / "iris.yaml"
    done = call(registry, "iris", "--file", str(file), "--target", "manifest", "--canary", "20", "-o", str(out))
    assert done.exit_code == 0, done.output
    predictor = yaml.safe_load(out.read_text())["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["canaryTrafficPercent"]) == (0, 20)
    assert predictor["containers"][0]["env"][0]["value"] == "pvc://m/1"


def test_a_dry_run_shows_the_canary_and_changes_nothing(registry, monkeypatch):
    cluster = FakeCluster({})
    monkeypatch.setattr(KubernetesCluster, "connect", lambda namespace: cluster)
    monkeypatch.setattr("nasflow_pipelines.deploying.dry_run.__kwdefaults__", {"connect": lambda _namespace: cluster})
    done = call(registry, "iris", "--target", "kserve", "--dry-run", "--set", STORED)
    assert done.exit_code == 0, done.output
    assert yaml.safe_load(done.stdout)["spec"]["predictor"]["name"] == "v1"
    assert cluster.applied == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "manifest"], "deploy.storage_uri: a cluster cannot read"),
        (["--target", "manifest", "--set", "canary=3"], "deploy.canary: Extra inputs are not permitted, got 3"),
        (["--target", "manifest", "--set", "min_replicas=0"], "only mode knative scales to zero"),
        (["--target", "manifest", "--set", "x"], "expected KEY=VALUE"),
        (["--dry-run"], "--dry-run: needs --target kserve, got local"),
    ],
)
def test_wrong_input_ends_with_2_and_one_line(registry, arguments, message):
    done = call(registry, "iris", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_unknown_model(registry):
    done = call(registry, "rose", "--target", "manifest")
    assert done.exit_code == 2
    assert "rose" in done.stderr
