"""What is committed is what compiles, compared as parsed YAML. `make goldens` writes it again."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from kfp import compiler, components

from nasflow.core.spec import ExperimentSpec
from nasflow_pipelines import goldens
from nasflow_pipelines.automl import build

ROOT = Path(__file__).parents[2]
STEPS = ("preprocess", "search", "train", "evaluate", "register", "deploy")


def parsed(path):
    return list(yaml.safe_load_all(path.read_text()))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    root = tmp_path_factory.mktemp("goldens")
    return {path.relative_to(root): parsed(path) for path in goldens.write(root)}


def test_all_committed_yaml_is_compared(compiled):
    committed = {p.relative_to(ROOT) for p in (ROOT / "components").rglob("component.yaml")}
    committed |= {p.relative_to(ROOT) for p in (ROOT / "tests/contract/goldens").glob("*.yaml")}
    assert committed == set(compiled)
    assert (
        len(committed) == len(STEPS) + 2 * len(goldens.EXPERIMENTS) + 4
    )  # Kubeflow, Argo; one retraining of each, one on a schedule, one Job


def test_committed_yaml_is_what_compiles(compiled):
    for path, documents in compiled.items():
        assert parsed(ROOT / path) == documents, f"{path} is out of date: make goldens"


@pytest.mark.parametrize("step", STEPS)
def test_component_yaml_loads_as_a_component(step):
    loaded = components.load_component_from_file(str(ROOT / "components/nasflow" / step / "component.yaml"))
    assert loaded.name == step
    assert {"spec", "work_dir", "run_id"} <= set(loaded.component_spec.inputs)


def test_gpu_pipeline_asks_for_what_the_spec_says(compiled):
    pipeline, platform = compiled[Path("tests/contract/goldens/gpu_spot.yaml")]
    executors = pipeline["deploymentSpec"]["executors"]
    kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == {f"exec-{name}" for name in (*STEPS, "hold")}
    for name in ("search", "train", "evaluate"):
        container = executors[f"exec-{name}"]["container"]
        assert container["image"].startswith("europe-docker.pkg.dev/project/nasflow/trainer-gpu:")
        accelerator = container["resources"]["accelerator"]
        assert (accelerator["resourceType"], accelerator["resourceCount"]) == ("nvidia.com/gpu", "2")  # a string
        assert container["resources"]["resourceMemoryLimit"] == "32G"
        placed = kubernetes[f"exec-{name}"]
        assert placed["nodeSelector"]["labels"] == {
            "cloud.google.com/gke-nodepool": "a100",
            "cloud.google.com/gke-spot": "true",
        }
        tolerated = {each["key"]: each["operator"] for each in placed["tolerations"]}
        assert tolerated == {"nvidia.com/gpu": "Exists", "cloud.google.com/gke-spot": "Equal"}
        assert placed["emptyDirMounts"][0]["mountPath"] == "/dev/shm"
    for name in ("preprocess", "register", "deploy", "hold"):
        assert "accelerator" not in executors[f"exec-{name}"]["container"]["resources"]
        assert "nodeSelector" not in kubernetes[f"exec-{name}"]
    for placed in kubernetes.values():
        assert placed["securityContext"] == {"runAsUser": "65532", "runAsGroup": "65532", "runAsNonRoot": True}
        assert placed["activeDeadlineSeconds"] == str(12 * 3600)
    tasks = [
        task for dag in dags(pipeline) for task in dag["tasks"].values() if "dag" not in implementation(pipeline, task)
    ]
    assert len(tasks) == 7
    for task in tasks:
        assert task["retryPolicy"]["maxRetryCount"] == 3
        assert task["cachingOptions"] == {}  # disabled
        assert task["inputs"]["parameters"]["run_id"]["runtimeValue"]["constant"] == "{{$.pipeline_job_uuid}}"


def test_a_search_with_workers_in_pods_takes_no_accelerator_itself(compiled):
    pipeline, platform = compiled[Path("tests/contract/goldens/search_in_pods.yaml")]
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    container = pipeline["deploymentSpec"]["executors"]["exec-search"]["container"]
    assert container["image"].startswith("europe-docker.pkg.dev/project/nasflow/trainer:")  # not trainer-gpu
    assert "accelerator" not in container["resources"]
    assert "nodeSelector" not in placed["exec-search"]
    assert placed["exec-search"]["podMetadata"]["labels"] == {"nasflow.dev/role": "search"}
    assert "accelerator" in pipeline["deploymentSpec"]["executors"]["exec-train"]["container"]["resources"]
    (workflow,) = compiled[Path("tests/contract/goldens/argo_search_in_pods.yaml")]
    (search,) = [each for each in workflow["spec"]["templates"] if each["name"] == "search"]
    assert search["metadata"]["labels"] == {"nasflow.dev/role": "search"}
    assert "nvidia.com/gpu" not in search["container"]["resources"]["limits"]
    assert "nodeSelector" not in search


def test_the_job_of_the_workers_fits_kubernetes_schema(compiled):
    (job,) = compiled[Path("tests/contract/goldens/search_workers.yaml")]
    kubernetes_validate.validate(job, "1.32", strict=True)
    limits = job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"
    assert job["spec"]["parallelism"] == 8


def test_a_local_run_ignores_accelerators(tmp_path):
    experiment = ExperimentSpec.model_validate(goldens.EXPERIMENTS["gpu_spot"])
    compiler.Compiler().compile(build(experiment, cluster=False), str(tmp_path / "p.yaml"))
    (pipeline,) = parsed(tmp_path / "p.yaml")
    containers = [each["container"] for each in pipeline["deploymentSpec"]["executors"].values()]
    used = {each["image"].rsplit("/")[-1].split(":")[0] for each in containers}
    assert used == {"beam", "trainer", "ops", "server-tf"}  # deploy to `local` serves by whichever engine it takes
    assert not any("resources" in each for each in containers)


def test_no_component_installs_packages_at_run_time(compiled):
    for documents in compiled.values():
        assert "pip install" not in yaml.safe_dump_all(documents)


def test_deployment_depends_on_the_decision_and_has_an_else(compiled):
    pipeline = compiled[Path("tests/contract/goldens/cpu.yaml")][0]
    conditions = {
        task["taskInfo"]["name"]: task["triggerPolicy"]["condition"]
        for dag in dags(pipeline)
        for task in dag["tasks"].values()
        if "triggerPolicy" in task
    }
    promoted = "inputs.parameter_values['pipelinechannel--evaluate-promoted'] == true"
    assert conditions == {"promoted": promoted, "not-promoted": f"!({promoted})"}


def dags(pipeline):
    return [pipeline["root"]["dag"], *(c["dag"] for c in pipeline["components"].values() if "dag" in c)]


def implementation(pipeline, task):
    return pipeline["components"][task["componentRef"]["name"]]
