"""`nasflow upload`, `submit`, `schedule`, `schedules`: what talks to a Kubeflow Pipelines server."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from nasflow.core.errors import UserError

if TYPE_CHECKING:
    from nasflow.core.spec import ExperimentSpec
    from nasflow_pipelines.client import Client, Uploaded
    from nasflow_pipelines.kinds import PipelineName

_HOST = "http(s)://… of the KFP server. [default: the cluster's own from inside it, else the kube-config's]"
_TOKEN = "Bearer token. [default: inside a cluster, the pod's own]"  # noqa: S105  # a help text


def _server(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that name a server; the command gets a Client in their place."""

    @click.option("--host", envvar="KF_PIPELINES_ENDPOINT", default="", show_envvar=True, help=_HOST)
    @click.option("--token", envvar="KF_PIPELINES_TOKEN", default="", show_envvar=True, help=_TOKEN)
    @click.option("--namespace", default="", help="Of a multi-user server.")
    @functools.wraps(command)
    def wrapped(*args: Any, host: str, token: str, namespace: str, **kwargs: Any) -> None:
        from nasflow_pipelines.client import Client

        command(Client(host=host, token=token, namespace=namespace), *args, **kwargs)

    return wrapped


def _experiment(command: Callable[..., None]) -> Callable[..., None]:
    """Adds FILE and ``--set``; the command gets the experiment in their place."""

    @click.argument("file", type=click.Path(path_type=Path))
    @click.option("--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Override a key of FILE.")
    @functools.wraps(command)
    def wrapped(*args: Any, file: Path, overrides: tuple[str, ...], **kwargs: Any) -> None:
        from nasflow.core import spec_file

        command(spec_file.load(file, overrides), *args, **kwargs)

    return wrapped


def _bucket(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.startswith("gs://"):
        raise UserError(f"--work-dir: a cluster's tasks share no local folder, name a gs:// prefix; got {value!r}")
    return value


pipeline_option = click.option(
    "--pipeline",
    type=click.Choice(["automl", "retrain"]),  # as nasflow_pipelines.kinds, which would load pydantic; a test compares
    default="automl",
    show_default=True,
    help="The whole one, or the one that starts at the champion.",
)

_WORK_DIR = "gs:// prefix for data and checkpoints."


@click.command()
@click.option("--work-dir", callback=_bucket, help=f"Default of the pipeline's parameter: {_WORK_DIR}")
@pipeline_option
@_experiment
@_server
def upload(client: "Client", experiment: "ExperimentSpec", *, work_dir: str | None, pipeline: "PipelineName") -> None:
    """Upload the pipeline: a new one, or a new version of the one of the same name."""
    uploaded = _upload(client, experiment, work_dir, pipeline)
    click.echo(f"{uploaded.name} version {uploaded.version} ({uploaded.version_id})")


@click.command()
@click.option("--work-dir", callback=_bucket, required=True, help=_WORK_DIR)
@click.option("--wait", is_flag=True, help="Wait for its end; exit code 1 if it fails.")
@click.option("--poll-seconds", type=click.FloatRange(min=0.05), default=15.0, show_default=True)
@pipeline_option
@_experiment
@_server
def submit(
    client: "Client",
    experiment: "ExperimentSpec",
    *,
    work_dir: str,
    wait: bool,
    poll_seconds: float,
    pipeline: "PipelineName",
) -> None:
    """Upload the pipeline and start a run of it."""
    from nasflow.core import spec_file

    uploaded = _upload(client, experiment, work_dir, pipeline)
    run_id = client.submit(
        uploaded,
        experiment=uploaded.name,
        parameters={"work_dir": work_dir, "spec": spec_file.to_json(experiment)},
        service_account=experiment.resources.service_account,
    )
    click.echo(f"run {run_id} of {uploaded.name} version {uploaded.version}")
    if wait:
        client.wait(run_id, poll_seconds=poll_seconds, on_state=lambda state: click.echo(f"run {run_id}: {state}"))


def _cron(_context: click.Context, _option: click.Parameter, value: str) -> str:
    from nasflow_pipelines.schedules import six_fields

    return six_fields(value)  # here: a mistake must not leave an uploaded pipeline behind


@click.command()
@click.option("--cron", callback=_cron, required=True, help="minute hour day month weekday, e.g. '30 4 * * 1'")
@click.option("--work-dir", callback=_bucket, required=True, help=_WORK_DIR)
@pipeline_option
@_experiment
@_server
def schedule(
    client: "Client", experiment: "ExperimentSpec", *, cron: str, work_dir: str, pipeline: "PipelineName"
) -> None:
    """Upload the pipeline and run it at fixed times, one run at a time; missed runs are not made up for."""
    from nasflow.core import spec_file

    uploaded = _upload(client, experiment, work_dir, pipeline)
    made = client.schedule(
        uploaded,
        experiment=uploaded.name,
        cron=cron,
        parameters={"work_dir": work_dir, "spec": spec_file.to_json(experiment)},
        service_account=experiment.resources.service_account,
    )
    click.echo(f"schedule {made.id}: {made.name} version {uploaded.version} at {made.cron!r} (seconds first)")
    for each in client.schedules():
        if each.name == made.name and each.id != made.id and each.enabled:
            click.echo(
                f"warning: an earlier schedule of it goes on beside this one, {each.id} at {each.cron!r}, with the "
                f"version that it was made with; `nasflow schedules delete {each.id}` ends it",
                err=True,
            )


@click.group()
def schedules() -> None:
    """List, pause, resume and delete schedules."""


@schedules.command("list")
@_server
def schedules_list(client: "Client") -> None:
    """All schedules of the server."""
    for each in client.schedules():
        click.echo(f"{each.id}  {each.name}  {each.cron!r}  {'enabled' if each.enabled else 'paused'}")


def _add_schedule_command(action: Literal["pause", "resume", "delete"], done: str, text: str) -> None:
    @schedules.command(action, help=text)
    @click.argument("name_or_id")
    @_server
    def change(client: "Client", name_or_id: str) -> None:
        changed = client.change_schedule(name_or_id, action)
        click.echo(f"{done} {changed.name} ({changed.id})")


_add_schedule_command("pause", "paused", "Start no further runs.")
_add_schedule_command("resume", "resumed", "Start runs again; what was missed is not made up for.")
_add_schedule_command("delete", "deleted", "Remove the schedule; its past runs stay.")


def _upload(
    client: "Client", experiment: "ExperimentSpec", work_dir: str | None, pipeline: "PipelineName"
) -> "Uploaded":
    from nasflow_pipelines import compiling, places

    places.need_bucket(experiment)
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "pipeline.yaml"
        compiling.compile_to(experiment, compiled, work_dir=work_dir, pipeline=pipeline)
        name = compiling.name_of(experiment, pipeline)
        return client.upload(compiled, name=name, version=compiling.version_of(compiled))
