"""`nasflow compile`: the pipeline as a file, for a server that somebody else gives it to."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nasflow.core.errors import UserError
from nasflow_pipelines.cli_server import pipeline_option

if TYPE_CHECKING:
    from nasflow_pipelines.argo_cron import Concurrency
    from nasflow_pipelines.kinds import PipelineName

_ONLY_WITH_CRON = ("timezone", "concurrency", "late_minutes", "keep_succeeded", "keep_failed")


@click.command("compile")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="pipeline.yaml")
@click.option("--work-dir", help="Default of the pipeline's work_dir parameter: a gs:// prefix.")
@click.option(
    "--target", type=click.Choice(["kfp", "argo"]), default="kfp", show_default=True, help="For which server."
)
@pipeline_option
@click.option("--cron", help="argo: a CronWorkflow. minute hour day month weekday, e.g. '30 4 * * 1'")
@click.option("--timezone", help="With --cron: the IANA name of the clock's.  [default: Etc/UTC]")
@click.option(
    "--concurrency",
    type=click.Choice(["forbid", "replace", "allow"]),
    help="With --cron: while the run before is still at work.  [default: forbid]",
)
@click.option("--late-minutes", type=int, help="With --cron: a missed run is started so late.  [default: 10]")
@click.option("--keep-succeeded", type=int, help="With --cron: Workflows that are kept.  [default: 3]")
@click.option("--keep-failed", type=int, help="With --cron: Workflows that are kept.  [default: 3]")
@click.option("--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Override a key of FILE.")
def compile_(
    file: Path,
    *,
    output: Path,
    work_dir: str | None,
    target: str,
    pipeline: "PipelineName",
    cron: str | None,
    timezone: str | None,
    concurrency: "Concurrency | None",
    late_minutes: int | None,
    keep_succeeded: int | None,
    keep_failed: int | None,
    overrides: tuple[str, ...],
) -> None:
    """Compile the pipeline for a Kubeflow Pipelines server, or as a plain Argo Workflow or CronWorkflow."""
    from nasflow.core import spec_file
    from nasflow_pipelines import argo, argo_cron, compiling, places

    values = (timezone, concurrency, late_minutes, keep_succeeded, keep_failed)
    given: dict[str, Any] = {
        name: value for name, value in zip(_ONLY_WITH_CRON, values, strict=True) if value is not None
    }
    if given and cron is None:
        raise UserError(f"--{next(iter(given)).replace('_', '-')}: needs --cron, when the pipeline is to run")
    if cron is not None and target != "argo":
        raise UserError("--cron: needs --target argo; on Kubeflow Pipelines `nasflow schedule` makes a schedule")
    experiment = spec_file.load(file, overrides)
    if cron is not None:
        schedule = argo_cron.Schedule(cron=cron, **given)
        argo_cron.compile_to(experiment, output, schedule, work_dir=work_dir, pipeline=pipeline)
    elif target == "argo":
        argo.compile_to(experiment, output, work_dir=work_dir, pipeline=pipeline)
    else:
        compiling.compile_to(experiment, output, work_dir=work_dir, pipeline=pipeline)
    click.echo(f"wrote {output}")
    for warning in places.local_places(experiment, work_dir):
        click.echo(f"warning: {warning}", err=True)
