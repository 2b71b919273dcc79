"""`nasflow monitor`: served requests against what the model was trained on."""

import datetime as dt
import sys
from pathlib import Path
from typing import Any

import click

from nasflow.core.errors import UserError
from nasflow_pipelines.cli_models import registry_option, version_of


@click.command()
@click.argument("model")
@click.option("--requests", "logs", multiple=True, required=True, metavar="FILE|FOLDER|gs://", help="A server's log.")
@click.option("--since", help="Leave out earlier requests: a time like 2026-11-27T06:00, UTC, or hours ago like 24h.")
@click.option("--min-rows", type=click.IntRange(min=1), default=200, show_default=True, help="Fewer rows say nothing.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for monitor.html and monitor.json.")
@registry_option
def monitor(
    model: str, *, logs: tuple[str, ...], since: str | None, min_rows: int, output: Path | None, store: Any
) -> None:
    """Compare logged requests with the training data: drift of features and predictions, data quality.

    MODEL is NAME (its champion), NAME@ALIAS or NAME@VERSION; only requests that this version answered count.

    Exit codes: 0 nothing to do (or too few rows to tell), 3 drift or bad data: look, or retrain; 2 your input, 75 try
    again, 1 anything else.
    """
    from nasflow.monitor.reference import Reference
    from nasflow.monitor.report import report
    from nasflow.monitor.served import Served
    from nasflow.monitor.verdict import Limits, judge, to_json
    from nasflow.serving import request_log

    version = version_of(store, model, default_alias="champion")
    served = Served.of(request_log.read(logs), Reference.of(store, version), since=_time(since))
    verdict = judge(served, Limits(rows=min_rows))
    asked = f"{served.requests:,} requests, {served.rows:,} rows, {served.refused:,} refused"
    click.echo(f"{version.name} version {version.version}: {asked}")
    for alert in verdict.alerts:
        click.echo(f"ALERT {alert.text}")
    if not verdict.enough:
        click.echo(f"too few rows to tell drift: {served.rows:,}, at least {min_rows:,} are needed (--min-rows)")
    elif not verdict.alerts:
        click.echo("no drift, no bad data")
    for name, count in served.others.most_common(3):
        click.echo(f"left out: {count:,} records of {name}")
    if output is not None:
        _write(output, {"monitor.html": report(verdict, served), "monitor.json": to_json(verdict, served)})
    sys.exit(verdict.exit_code)


def _time(text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    if text.endswith("h") and text[:-1].replace(".", "", 1).isdigit():
        return dt.datetime.now(dt.UTC) - dt.timedelta(hours=float(text[:-1]))
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"--since: expected a time like 2026-11-27T06:00 or hours like 24h, got {text!r}") from error
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from error
    click.echo(f"wrote {folder / 'monitor.html'}")
