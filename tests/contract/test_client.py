"""`nasflow upload | submit | schedule | schedules` over real HTTP; what the server holds afterwards is asserted."""

import importlib.util
import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from nasflow_pipelines.cli import main

_spec = importlib.util.spec_from_file_location("kfp_double", Path(__file__).with_name("kfp_double.py"))
kfp_double = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kfp_double)

TOKEN = "secret"
SPEC = """\
name: cars
task: tabular_regression
data: {train: gs://bucket/cars.csv, label: price}
resources: {service_account: trainer}
"""


@pytest.fixture
def server():
    with kfp_double.KfpDouble(token=TOKEN) as double:
        yield double


@pytest.fixture
def nasflow(server, tmp_path):
    file = tmp_path / "e.yaml"
    file.write_text(SPEC)

    def call(command, *args, token=TOKEN, host=server.url):
        words = command.split()
        arguments = [str(file)] if words[0] != "schedules" else []
        result = CliRunner().invoke(
            main, [*words, *arguments, *args], env={"KF_PIPELINES_ENDPOINT": host, "KF_PIPELINES_TOKEN": token}
        )
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    call.file = file
    return call


def test_upload_makes_a_pipeline_and_then_versions_of_it(server, nasflow):
    first = nasflow("upload", "--work-dir", "gs://bucket/work")
    assert first.exit_code == 0, first.output
    nasflow.file.write_text(SPEC.replace("price", "cost"))
    second = nasflow("upload", "--work-dir", "gs://bucket/work")
    assert second.exit_code == 0, second.output

    assert [each["display_name"] for each in server.pipelines.values()] == ["nasflow-cars"]
    specs = [version["spec"] for version in server.versions.values()]
    assert len(specs) == 2
    for (pipeline, platform), label in zip(specs, ("price", "cost"), strict=True):
        parameters = pipeline["root"]["inputDefinitions"]["parameters"]
        assert json.loads(parameters["spec"]["defaultValue"])["data"]["label"] == label
        assert parameters["work_dir"]["defaultValue"] == "gs://bucket/work"
        assert "exec-search" in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert list(server.versions)[1] in second.output


def test_uploading_the_same_again_finds_the_version_that_is_there(server, nasflow):
    outputs = [nasflow("upload").output for _ in range(4)]
    assert len(server.versions) == 2  # the first keeps the name that the server gave it; the second has ours
    assert outputs[1] == outputs[2] == outputs[3]


def test_a_registry_in_a_folder_is_refused_before_anything_is_uploaded(server, nasflow):
    """Each task would have one of its own, and the model would be gone with its pod."""
    done = nasflow("submit", "--work-dir", "gs://bucket/work", "--set", "register.uri=/models")
    assert done.exit_code == 2
    assert "register.uri: a cluster's tasks share no local folder, got '/models'" in done.output
    assert (server.versions, server.runs) == ({}, {})


def test_submit_pins_the_version_and_passes_the_spec(server, nasflow):
    done = nasflow("submit", "--work-dir", "gs://bucket/work")
    assert done.exit_code == 0, done.output
    (run,) = server.runs.values()
    (version_id,) = server.versions
    (experiment,) = server.experiments.values()
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version_id
    assert run["experiment_id"] == experiment["experiment_id"]
    assert experiment["display_name"] == "nasflow-cars"
    assert run["service_account"] == "trainer"
    parameters = run["runtime_config"]["parameters"]
    assert parameters["work_dir"] == "gs://bucket/work"
    assert json.loads(parameters["spec"])["data"]["train"] == "gs://bucket/cars.csv"
    assert run["run_id"] in done.output


@pytest.mark.parametrize(("end", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 1)])
def test_submit_and_wait_ends_as_the_run_does(server, nasflow, end, code):
    server.run_states = ["PENDING", "RUNNING", "RUNNING", end]
    done = nasflow("submit", "--work-dir", "gs://bucket/work", "--wait", "--poll-seconds", "0.05")
    assert done.exit_code == code, done.output
    states = [line.rsplit(": ")[-1] for line in done.output.splitlines() if ": " in line and "ended" not in line]
    assert states == ["PENDING", "RUNNING", end]


def test_waiting_survives_a_server_that_restarts(server, nasflow):
    polls = iter(range(100))

    class Restarting(list):
        def __len__(self):
            return 3

        def __getitem__(self, _):
            if next(polls) == 0:
                server.failures = [503, 503]
                return "RUNNING"
            return "SUCCEEDED"

    server.run_states = Restarting()
    done = nasflow("submit", "--work-dir", "gs://bucket/work", "--wait", "--poll-seconds", "0.05")
    assert done.exit_code == 0, done.output
    assert server.failures == []


def test_schedule_converts_cron_and_makes_up_for_nothing(server, nasflow):
    done = nasflow("schedule", "--cron", "30 4 * * 1", "--work-dir", "gs://bucket/work")
    assert done.exit_code == 0, done.output
    (recurring,) = server.recurring.values()
    assert recurring["trigger"]["cron_schedule"]["cron"] == "0 30 4 * * 1"
    assert recurring["no_catchup"] is True
    assert int(recurring["max_concurrency"]) == 1
    assert recurring["mode"] == "ENABLE"
    assert recurring["pipeline_version_reference"]["pipeline_version_id"] in server.versions
    assert recurring["runtime_config"]["parameters"]["work_dir"] == "gs://bucket/work"


def test_the_retraining_pipeline_is_scheduled_under_its_own_name(server, nasflow):
    arguments = ("--cron", "0 3 * * *", "--work-dir", "gs://bucket/work", "--pipeline", "retrain")
    done = nasflow("schedule", *arguments)
    assert done.exit_code == 0, done.output
    (pipeline,) = server.pipelines.values()
    assert pipeline["display_name"].endswith("-retrain")
    (recurring,) = server.recurring.values()
    assert recurring["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"


def test_schedules_are_listed_paused_resumed_and_deleted(server, nasflow):
    nasflow("schedule", "--cron", "0 0 4 * * 1", "--work-dir", "gs://bucket/work")
    (recurring,) = server.recurring.values()
    listed = nasflow("schedules list").output
    assert recurring["recurring_run_id"] in listed
    assert "'0 0 4 * * 1'" in listed
    assert "enabled" in listed

    assert nasflow("schedules pause", "nasflow-cars").exit_code == 0
    assert recurring["status"] == "DISABLED"
    assert "paused" in nasflow("schedules list").output
    assert nasflow("schedules resume", recurring["recurring_run_id"]).exit_code == 0
    assert recurring["status"] == "ENABLED"
    assert nasflow("schedules delete", "nasflow-cars").exit_code == 0
    assert server.recurring == {}


def test_a_second_schedule_says_that_the_first_one_goes_on(server, nasflow):
    """Whoever schedules an edited file again has two versions at work, unless told."""
    first, second = (
        nasflow("schedule", "--cron", f"0 {hour} * * *", "--work-dir", "gs://bucket/work") for hour in (4, 5)
    )
    earlier, later = server.recurring
    assert "warning" not in first.output
    assert f"an earlier schedule of it goes on beside this one, {earlier} at '0 0 4 * * *'" in second.output
    nasflow(f"schedules delete {earlier}")
    nasflow(f"schedules pause {later}")
    assert "warning" not in nasflow("schedule", "--cron", "0 6 * * *", "--work-dir", "gs://bucket/work").output


def test_all_pages_of_schedules_are_read(server, nasflow):
    server.page_size = 2
    for _ in range(5):
        nasflow("schedule", "--cron", "0 4 * * *", "--work-dir", "gs://bucket/work")
    assert len(nasflow("schedules list").output.splitlines()) == 5
    ambiguous = nasflow("schedules delete", "nasflow-cars")
    assert ambiguous.exit_code == 2
    assert len(server.recurring) == 5


def test_an_unknown_schedule_is_the_users_mistake(nasflow):
    done = nasflow("schedules pause", "nobody")
    assert done.exit_code == 2
    assert "nobody" in done.output
    assert "none" in done.output


@pytest.mark.parametrize("cron", ["4 * *", "61 4 * * *", "0 25 * * *", "often"])
def test_a_bad_cron_uploads_nothing(server, nasflow, cron):
    done = nasflow("schedule", "--cron", cron, "--work-dir", "gs://bucket/work")
    assert done.exit_code == 2
    assert "--cron" in done.output
    assert server.pipelines == {}


def test_a_local_work_dir_is_refused_before_anything_is_sent(server, nasflow):
    done = nasflow("submit", "--work-dir", "/tmp/work")
    assert done.exit_code == 2
    assert "gs://" in done.output
    assert server.requests == []


def test_a_wrong_token_is_the_users_mistake(server, nasflow):
    done = nasflow("upload", token="guess")
    assert done.exit_code == 2
    assert "401" in done.output
    assert "--token" in done.output
    assert len(server.requests) == 1  # no five attempts, as kfp's own health check makes
    assert server.pipelines == {}


def test_a_server_that_is_not_there_means_try_again(nasflow):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = nasflow("upload", host=f"http://127.0.0.1:{port}")
    assert done.exit_code == 75
    assert "cannot be reached" in done.output
    assert "Traceback" not in done.output


def test_a_server_that_is_not_well_means_try_again(server, nasflow):
    server.failures = [503] * 20
    done = nasflow("upload")
    assert done.exit_code == 75
    assert "503" in done.output


def test_a_mistake_in_the_file_is_found_before_the_server_is_asked(server, nasflow):
    nasflow.file.write_text(SPEC.replace("task:", "tsak:"))
    done = nasflow("upload")
    assert done.exit_code == 2
    assert "e.yaml:2: tsak: unknown key; did you mean 'task'?" in done.output
    assert server.requests == []


def test_inside_a_cluster_the_pods_token_is_used_and_read_again(server, nasflow, tmp_path, monkeypatch):
    import kfp.client

    token = tmp_path / "token"
    token.write_text(TOKEN)
    monkeypatch.setattr(kfp.client, "KF_PIPELINES_SA_TOKEN_PATH", str(token))
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token))
    assert nasflow("upload", token="").exit_code == 0
    server.token = "rotated"
    assert nasflow("upload", token="").exit_code == 2
    token.write_text("rotated")
    assert nasflow("upload", token="").exit_code == 0
