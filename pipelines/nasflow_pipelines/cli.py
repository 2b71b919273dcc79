"""The `nasflow` command. Everything heavy is imported by the command that needs it."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from nasflow.core.errors import NasflowError, SpecError, UserError
from nasflow_pipelines.cli_compile import compile_
from nasflow_pipelines.cli_deploy import deploy
from nasflow_pipelines.cli_models import models, serve
from nasflow_pipelines.cli_monitor import monitor
from nasflow_pipelines.cli_server import schedule, schedules, submit, upload
from nasflow_pipelines.cli_trials import trials

if TYPE_CHECKING:
    from nasflow.core.spec import Task


class _Group(click.Group):
    """Turns nasflow's errors into one message and their exit code, and guesses at mistyped commands."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NasflowError as error:
            for line in error.problems if isinstance(error, SpecError) else (str(error),):
                click.echo(f"Error: {line}", err=True)
            ctx.exit(error.exit_code)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        import difflib

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if close := difflib.get_close_matches(args[0], self.commands, n=1):
                raise click.UsageError(f"{error.message} Did you mean {close[0]!r}?", ctx) from error
            raise


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nasflow", prog_name="nasflow")
def main() -> None:
    """Neural architecture search as a pipeline: from raw data to a served model.

    Start with `nasflow init --task tabular_classification`, then `nasflow run experiment.yaml`.

    Exit codes: 0 ok, 2 your input, 3 drift (monitor), 75 try again, 130 Ctrl-C, 1 anything else.
    """


# As nasflow.core.spec.TASKS, which would load pydantic for `nasflow --help`; a test compares them.
_TASKS = ("image_classification", "text_classification", "tabular_classification", "tabular_regression")

_FILE = click.argument("file", type=click.Path(path_type=Path))
_SET = click.option("--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Override a key of FILE.")


@main.command()
@click.option("--task", type=click.Choice(_TASKS), required=True, help="What is to be predicted from what.")
@click.option("--data", help="Training data: a path or gs://. Left out: a small sample data set.")
@click.option("--label", help="The column to predict.")
@click.option("--name", default="experiment", show_default=True, help="Names the run and the model.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("experiment.yaml"), show_default=True)
def init(task: "Task", data: str | None, label: str | None, name: str, output: Path) -> None:
    """Write a commented experiment file; it runs as it is."""
    from nasflow.core import spec_file
    from nasflow_pipelines import starter

    if data and not label and task != "image_classification" and not data.startswith("sample:"):
        raise UserError("--label: name the column of --data to predict")
    text = starter.text(task, name=name, data=data, label=label)
    spec_file.parse(text, source=str(output))
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UserError(f"{output}: exists already; name another with -o, or remove it") from error
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}") from error
    click.echo(f"wrote {output}; next: nasflow run {output}")


@main.command()
@click.option("--summary", is_flag=True, help="Of summary.json instead.")
def schema(*, summary: bool) -> None:
    """Print the JSON schema of experiment files, for editors."""
    if summary:
        from nasflow_pipelines.summary import Summary

        click.echo(json.dumps(Summary.model_json_schema(mode="serialization"), indent=2))
    else:
        from nasflow.core.spec import ExperimentSpec

        click.echo(json.dumps(ExperimentSpec.model_json_schema(by_alias=True), indent=2))


@main.command()
@_FILE
@_SET
def validate(file: Path, overrides: tuple[str, ...]) -> None:
    """Check an experiment file and the head of its data; says every mistake at once."""
    from nasflow.core import spec_file
    from nasflow_pipelines import local

    experiment = spec_file.load(file, overrides)
    local.check_inputs(experiment, file=file)
    click.echo(f"{file}: ok")


@main.command()
@_FILE
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the results. [default: runs/NAME]")
@click.option("--work-dir", help="Folder or gs:// prefix for data and checkpoints. [default: OUTPUT/work]")
@click.option("--runner", type=click.Choice(["subprocess", "docker"]), default="subprocess", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), help="Override `seed`.")
@_SET
def run(
    file: Path, *, output: Path | None, work_dir: str | None, runner: str, seed: int | None, overrides: tuple[str, ...]
) -> None:
    """Run the whole pipeline here. The same command again reuses what is finished and goes on where it stopped."""
    from nasflow.core import spec_file
    from nasflow_pipelines import local, terminal

    experiment = spec_file.load(file, (*overrides, f"seed={seed}") if seed is not None else overrides)
    folder = (output or Path("runs") / experiment.name).absolute()
    place = work_dir or str(folder / "work")
    local.check(experiment, file=file, output=str(folder), work_dir=place)
    code, summary = local.run(experiment, output=str(folder), work_dir=place, runner=cast("local.RunnerName", runner))
    if summary.error:
        click.echo(f"Error: {summary.error.step}: {summary.error.message}", err=True)
        sys.exit(code)
    click.echo(terminal.table(summary, folder))


@main.command()
@_FILE
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the results. [default: runs/NAME-retrain]")
@click.option("--work-dir", help="As in `nasflow run`; its registry has the champion. [default: runs/NAME/work]")
@click.option("--runner", type=click.Choice(["subprocess", "docker"]), default="subprocess", show_default=True)
@_SET
def retrain(file: Path, *, output: Path | None, work_dir: str | None, runner: str, overrides: tuple[str, ...]) -> None:
    """Hold FILE's data against the champion's; if they ask for it, make another model, judge and deploy it.

    The data are compared with those that the champion was trained on. Nothing has changed: it stays. Drift, or many
    more rows: its architecture is trained on the new data. Much drift: a short search starts at it (`retrain:` in
    FILE). The new model is promoted and deployed if it is better than the champion on the same test rows.
    """
    from nasflow.core import spec_file
    from nasflow_pipelines import local, terminal
    from nasflow_pipelines.kinds import RETRAIN

    experiment = spec_file.load(file, overrides)
    folder = (output or Path("runs") / f"{experiment.name}-retrain").absolute()
    place = work_dir or str((Path("runs") / experiment.name / "work").absolute())
    local.check(experiment, file=file, output=str(folder), work_dir=place)
    code, summary = local.run(
        experiment, output=str(folder), work_dir=place, runner=cast("local.RunnerName", runner), kind=RETRAIN
    )
    if summary.error:
        click.echo(f"Error: {summary.error.step}: {summary.error.message}", err=True)
        sys.exit(code)
    click.echo(terminal.table(summary, folder))


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--open", "open_", is_flag=True, help="Open it in the browser.")
def report(path: Path, *, open_: bool) -> None:
    """Build the report of a run folder (or of FILE's default one) again and print its path."""
    from nasflow_pipelines import report as reports

    folder = path
    if path.is_file():
        from nasflow.core import spec_file

        folder = Path("runs") / spec_file.load(path).name
    page = reports.rebuild(folder.absolute())
    click.echo(str(page))
    if open_:
        click.launch(str(page))


for _command in (compile_, upload, submit, schedule, schedules, models, serve, deploy, monitor, trials):
    main.add_command(_command)

if __name__ == "__main__":
    main()
