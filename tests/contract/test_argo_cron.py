"""The CronWorkflow: the Workflow on a schedule; and everything for Argo against its own CRDs' schema."""

import copy
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from nasflow.core.errors import UserError
from nasflow.core.spec import ExperimentSpec
from nasflow.deploy.crd import strict
from nasflow_pipelines import argo, argo_cron, cli, goldens
from nasflow_pipelines.argo_cron import Schedule

HERE = Path(__file__).parent
EXPERIMENT = ExperimentSpec.model_validate(goldens.EXPERIMENTS["gpu_spot"])
NIGHTLY = Schedule(cron="0 3 * * *")


@pytest.fixture(scope="module")
def schema():
    """Argo's own CRDs, shortened to what nasflow renders; the file's ``$comment`` says how."""
    return strict(json.loads((HERE / "argo_v3_7.json").read_text()))


def problems(schema, made):
    validator = Draft202012Validator(schema)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message:.120}" for error in validator.iter_errors(made)]


@pytest.mark.parametrize("path", sorted(HERE.glob("goldens/argo_*.yaml")), ids=lambda path: path.stem)
def test_what_is_committed_fits_argos_schema(schema, path):
    assert problems(schema, yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize("pipeline", ["automl", "retrain"])
@pytest.mark.parametrize("per_step", [False, True])
def test_so_does_every_setting(schema, pipeline, per_step):
    more = {"service_account": "r", "account_per_step": per_step, "image_digests": {"ops": f"sha256:{'0' * 64}"}}
    content = goldens.EXPERIMENTS["search_in_pods"]
    experiment = ExperimentSpec.model_validate({**content, "resources": {**content["resources"], **more}})
    schedule = Schedule(cron="0 3 * * *", concurrency="replace", keep_failed=0, late_minutes=0)
    for made in (
        argo.workflow(experiment, pipeline=pipeline),
        argo_cron.cron_workflow(experiment, schedule, work_dir="gs://b/w", pipeline=pipeline),
    ):
        assert problems(schema, made) == []


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("spec", "schedle"), "0 3 * * *", "spec: Additional properties"),
        (("spec", "timezone"), 1, "spec.timezone: 1 is not of type 'string'"),
        (("spec", "startingDeadlineSeconds"), "600", "is not of type 'integer'"),
        (("spec", "workflowSpec", "entrypint"), "x", "spec.workflowSpec: Additional properties"),
        (("spec", "workflowSpec", "templates", 1, "container", "imge"), "x", "container: Additional properties"),
        (("spec", "workflowSpec", "templates", 1, "retryStrategy", "limit"), [], "retryStrategy.limit"),
        (("kind",), "CronWorkflw", "kind"),
    ],
)
def test_the_schema_finds_what_it_is_for(schema, path, value, complaint):
    made = copy.deepcopy(argo_cron.cron_workflow(EXPERIMENT, NIGHTLY, work_dir="gs://b/w"))
    node = made
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    assert any(complaint in problem for problem in problems(schema, made)), problems(schema, made)


def test_it_is_the_workflow_and_a_clock():
    made = argo_cron.cron_workflow(EXPERIMENT, goldens.NIGHTLY, work_dir="gs://b/w", pipeline="retrain")
    plain = argo.workflow(EXPERIMENT, work_dir="gs://b/w", pipeline="retrain")
    spec = dict(made["spec"])
    assert spec.pop("workflowSpec") == plain["spec"]
    assert spec.pop("workflowMetadata") == {"labels": plain["metadata"]["labels"]}
    assert spec == {
        "schedules": ["30 3 * * MON-FRI"],
        "timezone": "Europe/Berlin",
        "concurrencyPolicy": "Forbid",  # one run at a time, as on Kubeflow
        "startingDeadlineSeconds": 600,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
    }
    assert made["metadata"]["name"] == "nasflow-fashion-retrain"
    place, _ = plain["spec"]["arguments"]["parameters"]
    assert place == {"name": "work-dir", "value": "gs://b/w"}  # nobody is there to give one


def test_a_name_that_argo_would_refuse_is_refused_here():
    named = {**goldens.EXPERIMENTS["cpu"], "name": "n" * 44}
    good = argo_cron.cron_workflow(ExperimentSpec.model_validate(named), NIGHTLY, work_dir="gs://b/w")
    assert len(good["metadata"]["name"]) == 52
    named["name"] += "n"
    with pytest.raises(UserError, match="53 characters, at most 52"):
        argo_cron.cron_workflow(ExperimentSpec.model_validate(named), NIGHTLY, work_dir="gs://b/w")


def run(tmp_path, *arguments):
    file = tmp_path / "e.yaml"
    file.write_text("{name: m, task: tabular_regression, data: {train: 'gs://b/a.csv', label: y}}")
    return CliRunner().invoke(cli.main, ["compile", str(file), "-o", str(tmp_path / "out.yaml"), *arguments])


def test_the_command_writes_it(tmp_path):
    settings = ["--timezone", "Asia/Tokyo", "--concurrency", "replace", "--late-minutes", "0", "--keep-failed", "9"]
    command = ["--target", "argo", "--pipeline", "retrain", "--work-dir", "gs://b/w", "--cron", "0 3 * * *", *settings]
    done = run(tmp_path, *command)
    assert done.exit_code == 0, done.output
    made = yaml.safe_load((tmp_path / "out.yaml").read_text())
    assert (made["kind"], made["metadata"]["name"]) == ("CronWorkflow", "nasflow-m-retrain")
    spec = made["spec"]
    assert (spec["timezone"], spec["concurrencyPolicy"]) == ("Asia/Tokyo", "Replace")
    assert (spec["startingDeadlineSeconds"], spec["failedJobsHistoryLimit"]) == (0, 9)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--cron", "0 3 * * *"], "--cron: needs --target argo; on Kubeflow Pipelines `nasflow schedule`"),
        (["--target", "argo", "--cron", "0 3 * * *"], "--cron: needs --work-dir"),
        (["--target", "argo", "--cron", "0 0 3 * * *", "--work-dir", "gs://b/w"], "--cron: expected"),
        (["--target", "argo", "--timezone", "Asia/Tokyo"], "--timezone: needs --cron"),
        (["--target", "argo", "--keep-failed", "1"], "--keep-failed: needs --cron"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(tmp_path, arguments, says):
    done = run(tmp_path, *arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert not (tmp_path / "out.yaml").exists()
