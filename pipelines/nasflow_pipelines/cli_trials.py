"""`nasflow trials`: what a search has tried, on the terminal."""

import shutil
import sys
from typing import Any

import click

from nasflow_pipelines.trial_columns import COLUMNS, STATUSES


def _complete(_context: Any, _parameter: Any, incomplete: str) -> list[str]:
    *before, last = incomplete.split(",")
    return [",".join([*before, name]) for name in COLUMNS if name.startswith(last)]


@click.command()
@click.argument("path")
@click.option("--status", type=click.Choice(STATUSES), multiple=True, help="Only these; may be repeated.")
@click.option(
    "--where", multiple=True, metavar="CONDITION", help="NAME OPERATOR VALUE; may be repeated, all must hold."
)
@click.option(
    "--sort", metavar="COLUMN", shell_complete=_complete, help="Ascending; -COLUMN descends; score: best first."
)
@click.option("--top", type=click.IntRange(min=1), help="So many; without --sort those with the best score.")
@click.option("--columns", metavar="NAME,…", shell_complete=_complete, help="Which to show; `genes` is all of them.")
@click.option("--json", "as_json", is_flag=True, help="Everything that is known of each trial, with learning curves.")
@click.option("--csv", "as_csv", is_flag=True, help="All columns, metrics and genes.")
def trials(
    path: str,
    *,
    status: tuple[str, ...],
    where: tuple[str, ...],
    sort: str | None,
    top: int | None,
    columns: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """The trials of a search: one that has ended, is running, or was killed.

    PATH is the folder of a run, its --work-dir (also on gs://), a ledger.jsonl, or an experiment file, for its default
    folder. Columns are id, status, score, mean, spread and trainings (of finalists, which were trained again), rung
    (epochs that the strategy gave), epochs, parameters, flops, cpu_seconds, seconds, generation, parents, strategy,
    architecture and reason, and by their own names metrics and genes.

    \b
      nasflow trials runs/demo --top 5
      nasflow trials runs/demo --where 'score>0.9' --where optimizer=adamw --sort parameters
      nasflow trials runs/demo --status failed --columns id,reason,genes
      nasflow trials runs/demo --where 'reason~memory' --json | jq '.[].values'
    """  # noqa: D301  # \\b is click's: keep these lines apart
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    if columns is not None and (as_json or as_csv):
        raise click.UsageError("--columns is for the terminal; --json and --csv print all")
    from nasflow_pipelines.studies import find
    from nasflow_pipelines.trial_table import Table

    table = Table(find(path))
    table.select(where, status)
    table.order(sort, top)
    if as_json:
        click.echo(table.json())
    elif as_csv:
        click.echo(table.csv())
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        click.echo(table.headline())
        names = [name.strip() for name in columns.split(",") if name.strip()] if columns else []
        click.echo(table.text(names, width) if table.rows else "no trial fits")
