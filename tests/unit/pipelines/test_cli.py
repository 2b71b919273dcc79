import json

import jsonschema
import pytest
from click.testing import CliRunner

from nasflow.core import spec_file
from nasflow.core.errors import UserError
from nasflow.core.spec import TASKS
from nasflow_pipelines import cli, registries
from nasflow_pipelines.cli import main
from nasflow_pipelines.compiling import version_of


@pytest.fixture
def nasflow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*args):
        result = CliRunner().invoke(main, args)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def test_the_commands_task_list_is_the_specs():
    assert cli._TASKS == TASKS


@pytest.mark.parametrize("task", TASKS)
def test_init_writes_a_spec_that_is_valid_as_it_is(nasflow, tmp_path, task):
    assert nasflow("init", "--task", task).exit_code == 0
    spec = spec_file.load(tmp_path / "experiment.yaml")
    assert spec.task == task
    assert spec.data.train.startswith("sample:")
    content = json.loads(spec_file.to_json(spec))
    jsonschema.validate(content, json.loads(nasflow("schema").output))


def test_init_keeps_paths_and_columns_that_need_quotes(nasflow, tmp_path):
    odd = "my data/a: b #1.csv"
    done = nasflow("init", "--task", "tabular_regression", "--data", odd, "--label", "no", "-o", "x.yaml")
    assert done.exit_code == 0, done.output
    spec = spec_file.load(tmp_path / "x.yaml")
    assert (spec.data.train, spec.data.label) == (odd, "no")


def test_init_refuses_to_overwrite(nasflow, tmp_path):
    (tmp_path / "experiment.yaml").write_text("mine")
    done = nasflow("init", "--task", TASKS[0])
    assert done.exit_code == 2
    assert "exists already" in done.output
    assert (tmp_path / "experiment.yaml").read_text() == "mine"


def test_init_asks_for_the_label_of_a_table(nasflow, tmp_path):
    done = nasflow("init", "--task", "tabular_regression", "--data", "a.csv")
    assert done.exit_code == 2
    assert "--label" in done.output
    assert not (tmp_path / "experiment.yaml").exists()


def test_a_mistyped_command_is_refused_with_a_guess(nasflow):
    done = nasflow("complie")
    assert done.exit_code == 2
    assert "Did you mean 'compile'?" in done.output


def test_validate_says_every_mistake_with_its_line(nasflow, tmp_path):
    (tmp_path / "e.yaml").write_text("task: imagination\ndata:\n  train: t.csv\nsearch:\n  budget: {trials: 0}\n")
    done = nasflow("validate", "e.yaml")
    assert done.exit_code == 2
    for line in ("e.yaml:1: task", "e.yaml:2: data.label", "e.yaml:5: search.budget.trials"):
        assert line in done.output


def test_validate_reads_the_datas_header(nasflow, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "e.yaml").write_text("task: tabular_regression\ndata:\n  train: t.csv\n  label: price\n")
    done = nasflow("validate", "e.yaml")
    assert done.exit_code == 2
    assert "price" in done.output
    (tmp_path / "e.yaml").write_text("task: tabular_regression\ndata:\n  train: nowhere.csv\n  label: b\n")
    done = nasflow("validate", "e.yaml")
    assert done.exit_code == 2
    assert "e.yaml:3: data.train" in done.output
    assert "nowhere.csv" in done.output


def test_compile_is_repeatable_and_refuses_other_names(nasflow, tmp_path):
    nasflow("init", "--task", TASKS[0])
    assert nasflow("compile", "experiment.yaml", "-o", "deep/p.yaml").exit_code == 0
    assert nasflow("compile", "experiment.yaml", "-o", "q.yaml").exit_code == 0
    assert version_of(tmp_path / "deep/p.yaml") == version_of(tmp_path / "q.yaml")
    done = nasflow("compile", "experiment.yaml", "-o", "p.json")
    assert done.exit_code == 2
    assert ".yaml" in done.output


def test_compile_warns_of_places_that_are_gone_with_their_pod(nasflow, tmp_path):
    """A warning and no error: a claim may be mounted there."""
    nasflow("init", "--task", TASKS[0])
    local = nasflow("compile", "experiment.yaml", "-o", "p.yaml", "--set", "register.uri=/models", "--work-dir", "w")
    assert local.exit_code == 0
    for place in ("--work-dir 'w'", "register.uri '/models'"):
        assert f"warning: {place} is a path inside each pod" in local.output
    bucket = ("--set", "data.train=gs://b/x.csv", "--work-dir", "gs://b/w")
    assert "warning" not in nasflow("compile", "experiment.yaml", "-o", "p.yaml", *bucket).output


def test_a_password_in_the_registry_servers_address_is_refused_and_not_repeated(nasflow, tmp_path):
    nasflow("init", "--task", TASKS[0])
    named = ("--set", "register.registry=mlflow", "--set", f"register.server=https://bob:{'HUSH'}@mlflow.example:80")
    done = nasflow("compile", "experiment.yaml", "-o", "p.yaml", *named)
    assert done.exit_code == 2
    assert "register.server: must name no user or password" in done.output
    assert "name https://mlflow.example:80 and set MLFLOW_TRACKING_USERNAME" in done.output
    assert "HUSH" not in done.output


def test_the_registry_is_named_or_the_only_one(tmp_path):
    with pytest.raises(UserError, match="none below runs/"):
        registries.find(None, environment={}, folder=tmp_path)
    only = tmp_path / "runs/a/work/registry"
    only.mkdir(parents=True)
    assert registries.find(None, environment={}, folder=tmp_path) == str(only)
    other = tmp_path / "runs/b/work/registry"
    other.mkdir(parents=True)
    with pytest.raises(UserError, match=r"runs/a/.*, .*runs/b/"):
        registries.find(None, environment={}, folder=tmp_path)
    assert registries.find(None, environment={"NASFLOW_REGISTRY": "gs://b/r"}, folder=tmp_path) == "gs://b/r"
    assert registries.find("x", environment={"NASFLOW_REGISTRY": "gs://b/r"}, folder=tmp_path) == "x"


def test_report_of_a_folder_without_a_run(nasflow, tmp_path):
    done = nasflow("report", str(tmp_path))
    assert done.exit_code == 2
    assert "no summary.json here" in done.output


def test_validate_names_modules_and_files_that_are_not_there(tmp_path, monkeypatch):
    """`nasflow run` would find out after the data were read; data are looked for where the command is given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    spec = tmp_path / "below" / "a.yaml"
    spec.write_text(
        "task: tabular_classification\ndata: {train: 'sample:iris', label: target}\n"
        "search:\n  space: nowhere_space:Mine\n  strategy: nowhere_strategy:Mine\n"
    )
    done = CliRunner().invoke(main, ["validate", str(spec)])
    assert done.exit_code == 2
    assert f"{spec}:4: search.space: no module 'nowhere_space'" in done.output
    assert f"{spec}:5: search.strategy: no module 'nowhere_strategy'" in done.output
    (tmp_path / "nowhere_space.py").touch()
    (tmp_path / "nowhere_strategy").mkdir()
    assert CliRunner().invoke(main, ["validate", str(spec)]).exit_code == 0
    (tmp_path / "below" / "t.csv").write_text("x,y\n1,a\n")
    done = CliRunner().invoke(main, ["validate", str(spec), "--set", "data.train=t.csv"])
    assert f"no such file: 't.csv', looked for in {tmp_path}, where the command was given" in done.output
