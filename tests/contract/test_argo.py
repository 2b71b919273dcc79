"""The plain Argo Workflow: what refers to something finds it, and every command line is one that its step takes."""

import importlib
import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from nasflow.core import spec_file
from nasflow.core.errors import UserError
from nasflow.core.spec import ExperimentSpec
from nasflow.core.version import VERSION
from nasflow_pipelines import argo, cli, compiling, goldens

GOLDENS = Path(__file__).parent / "goldens"
STEPS = ("preprocess", "search", "train", "evaluate", "register", "deploy")
COMMITTED = dict.fromkeys(goldens.EXPERIMENTS, argo.AUTOML) | {"retrain_gpu_spot": argo.RETRAIN}


def committed(name):
    return yaml.safe_load((GOLDENS / f"argo_{name}.yaml").read_text())


def templates(workflow):
    return {each["name"]: each for each in workflow["spec"]["templates"]}


def tasks(workflow):
    return {each["name"]: each for each in templates(workflow)["nasflow"]["dag"]["tasks"]}


def needs(task):
    """The tasks that must have succeeded."""
    found = task.get("depends", "").split(" && ")
    return {each.removesuffix(".Succeeded") for each in found if each}


@pytest.mark.parametrize(("name", "steps"), COMMITTED.items())
def test_every_reference_is_met(name, steps):
    workflow = committed(name)
    assert set(tasks(workflow)) == set(steps)
    outputs = {
        name: {each["name"] for each in template.get("outputs", {}).get("parameters", ())}
        for name, template in templates(workflow).items()
    }
    earlier = {}
    for name, task in tasks(workflow).items():
        template = templates(workflow)[task["template"]]
        assert needs(task) <= set(earlier)
        earlier[name] = needs(task).union(*(earlier[each] for each in needs(task)))
        used = re.findall(r"tasks\.(\w+)\.outputs\.parameters\.(\w+)", json.dumps(task))
        assert all(fact in outputs[maker] and maker in earlier[name] for maker, fact in used), name
        read = {value.rpartition("/")[2] for value in template["container"]["args"] if "/documents/" in value} - {name}
        assert read <= earlier[name]
        volumes = {each["name"] for each in template.get("volumes", ())}
        assert {each["name"] for each in template["container"].get("volumeMounts", ())} == volumes


@pytest.mark.parametrize(
    ("name", "step"), [(name, step) for name in ("cpu", "retrain_gpu_spot") for step in COMMITTED[name]]
)
def test_every_step_takes_its_command_line(name, step):
    """Parsed by the step's own command; it stops at documents that are not there, not at an unknown option."""
    container = templates(committed(name))[step]["container"]
    python, dash_m, module, *rest = container["command"]
    assert (python, dash_m) == ("python", "-m")
    main = importlib.import_module(f"{module}.__main__").main
    for each in rest:
        main = main.commands[each]
    with main.make_context(step, list(container["args"])) as context:
        assert context.params["spec"] == Path("/tmp/nasflow/experiment.json")
        assert context.params["run_id"] == "{{workflow.uid}}"
        assert all(context.params[document] is not None for document in COMMITTED[name][step].reads)
        facts = COMMITTED[name][step].facts
        assert {str(context.params[f"{fact}_file"]) for fact in facts} == {f"/tmp/{fact}" for fact in facts}


def test_a_retraining_keeps_the_champion_or_goes_on_with_the_reviewed_experiment():
    workflow = committed("retrain_gpu_spot")
    given = {name: task["arguments"]["parameters"][0]["value"] for name, task in tasks(workflow).items()}
    recalled, weighed = (f"{{{{tasks.{name}.outputs.parameters.experiment}}}}" for name in ("recall", "weigh"))
    assert given == {
        "recall": "{{workflow.parameters.spec}}",
        "preprocess": recalled,
        "weigh": recalled,
        **dict.fromkeys(("search", "train", "evaluate", "register", "deploy"), weighed),
    }
    assert tasks(workflow)["search"]["when"] == "{{tasks.weigh.outputs.parameters.go}} == true"
    for name in ("train", "evaluate", "register", "deploy"):  # not run where search was skipped, not even as "skipped"
        assert needs(tasks(workflow)[name]) & {"search", "train", "evaluate", "register"}
        assert "||" not in tasks(workflow)[name]["depends"]
    assert "when" in tasks(workflow)["deploy"]


def test_deploy_waits_for_promotion():
    workflow = committed("cpu")
    assert tasks(workflow)["deploy"]["when"] == "{{tasks.evaluate.outputs.parameters.promoted}} == true"
    (output,) = templates(workflow)["evaluate"]["outputs"]["parameters"]
    path = output["valueFrom"]["path"]
    assert ["--promoted-file", path] == templates(workflow)["evaluate"]["container"]["args"][-2:]


def test_the_spec_travels_as_a_parameter():
    workflow = committed("gpu_spot")
    parameters = {each["name"]: each.get("value") for each in workflow["spec"]["arguments"]["parameters"]}
    experiment = ExperimentSpec.model_validate(goldens.EXPERIMENTS["gpu_spot"])
    assert spec_file.from_json(parameters["spec"]) == experiment
    assert parameters["work-dir"] is None  # a submission must name one
    assert argo.workflow(experiment, work_dir="gs://b/w")["spec"]["arguments"]["parameters"][0]["value"] == "gs://b/w"


def test_gpus_spot_nodes_retries_and_images():
    found = templates(committed("gpu_spot"))
    for step in ("search", "train", "evaluate"):
        template = found[step]
        assert template["container"]["image"].startswith("europe-docker.pkg.dev/project/nasflow/trainer-gpu:")
        assert template["container"]["resources"]["limits"] == {"cpu": "8", "memory": "32G", "nvidia.com/gpu": "2"}
        assert template["nodeSelector"] == {
            "cloud.google.com/gke-nodepool": "a100",
            "cloud.google.com/gke-spot": "true",
        }
        assert [each["key"] for each in template["tolerations"]] == ["nvidia.com/gpu", "cloud.google.com/gke-spot"]
        assert template["activeDeadlineSeconds"] == 12 * 3600
        assert template["retryStrategy"]["limit"] == "3"
        assert template["retryStrategy"]["expression"] == "asInt(lastRetry.exitCode) != 2"
    assert "nodeSelector" not in found["preprocess"]
    assert found["deploy"]["container"]["image"].split("/")[-1].startswith("server-tf:")


@pytest.mark.parametrize(("target", "image"), [("local", "server-tf"), ("kserve", "server"), ("manifest", "server")])
def test_a_deploy_step_that_serves_itself_can_serve_any_bundle(target, image, tmp_path):
    """The others need no engine: they name the image of the bundle's (test_image_digests)."""
    deployed = {**goldens.EXPERIMENTS["cpu"], "deploy": {"target": target}}
    found = templates(argo.workflow(ExperimentSpec.model_validate(deployed)))["deploy"]["container"]["image"]
    compiling.compile_to(ExperimentSpec.model_validate(deployed), tmp_path / "p.yaml")
    pipeline, _ = yaml.safe_load_all((tmp_path / "p.yaml").read_text())
    assert found == f"nasflow/{image}:{VERSION}"
    assert pipeline["deploymentSpec"]["executors"]["exec-deploy"]["container"]["image"] == found


def test_pods_are_restricted():
    workflow = committed("cpu")
    assert workflow["spec"]["securityContext"]["runAsNonRoot"] is True
    for step in STEPS:
        template = templates(workflow)[step]
        context = template["container"]["securityContext"]
        assert context == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        mounts = {each["mountPath"]: each["name"] for each in template["container"]["volumeMounts"]}
        assert {each["name"]: each["emptyDir"] for each in template["volumes"]}[mounts["/tmp"]] == {}
        paths = [each["path"] for each in template["inputs"]["artifacts"]]
        paths += [each["valueFrom"]["path"] for each in template.get("outputs", {}).get("parameters", ())]
        assert all(path.startswith("/tmp/") for path in paths)


def test_the_command_writes_it(tmp_path):
    file = tmp_path / "e.yaml"
    file.write_text("{task: tabular_regression, data: {train: 'gs://b/a.csv', label: y}}")
    out = tmp_path / "deep" / "workflow.yaml"
    command = ["compile", str(file), "--target", "argo", "-o", str(out), "--work-dir", "gs://b/w"]
    done = CliRunner().invoke(cli.main, [*command, "--set", "resources.service_account=runner"])
    assert done.exit_code == 0, done.output
    again = [*command[:-4], "-o", str(tmp_path / "r.yaml"), "--pipeline", "retrain"]
    assert CliRunner().invoke(cli.main, again).exit_code == 0
    retraining = yaml.safe_load((tmp_path / "r.yaml").read_text())
    assert retraining["metadata"]["generateName"].endswith("-retrain-")
    assert set(tasks(retraining)) == set(argo.RETRAIN)
    workflow = yaml.safe_load(out.read_text())
    assert (workflow["kind"], workflow["spec"]["serviceAccountName"]) == ("Workflow", "runner")


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"must end in \.yaml"):
        argo.compile_to(ExperimentSpec.model_validate(goldens.EXPERIMENTS["cpu"]), tmp_path / "w.json")
