"""`nasflow deploy`: a registered version to where it serves."""

import sys
from pathlib import Path
from typing import Any

import click

from nasflow_pipelines.cli_models import registry_option, version_of

_TARGETS = ("local", "docker", "manifest", "kserve")


@click.command()
@click.argument("model")
@click.option("--target", type=click.Choice(_TARGETS), help="Override `deploy.target` [default: local].")
@click.option("--file", type=click.Path(path_type=Path), help="An experiment file: its `deploy` section is used.")
@click.option("--namespace", help="Override `deploy.namespace`.")
@click.option("--canary", "canary_percent", type=click.IntRange(0, 99), help="Override `deploy.canary_percent`.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override another key of `deploy`.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the manifest here instead of printing it.")
@click.option(
    "--dry-run", is_flag=True, help="kserve: show what would be applied, checked by the cluster; change nothing."
)
@click.option("--again", is_flag=True, help="kserve: try a version once more that was rolled back.")
@registry_option
def deploy(
    model: str,
    *,
    target: str | None,
    file: Path | None,
    namespace: str | None,
    canary_percent: int | None,
    overrides: tuple[str, ...],
    output: Path | None,
    dry_run: bool,
    again: bool,
    store: Any,
) -> None:
    """Deploy a registered model: NAME (its champion), NAME@ALIAS or NAME@VERSION.

    kserve: the version becomes a canary beside the one that serves; it is promoted if it answers its golden rows and
    stays within deploy.max_error_rate and deploy.max_latency_ms for deploy.watch_minutes, else rolled back (exit 1).
    Interrupted, the same command goes on.
    """
    from nasflow.core import log
    from nasflow.core.task import stop_on_signals
    from nasflow.deploy import smoke, step
    from nasflow_pipelines import deploying

    flags = {"target": target, "namespace": namespace, "canary_percent": canary_percent}
    spec = deploying.spec_of(file, overrides, flags)
    registered = deploying.registered(store, version_of(store, model, default_alias="champion"))
    order = step.Order(spec=spec, registered=registered, answered=smoke.bundle_rows(registered.model_uri), again=again)
    if spec.target == "manifest":
        store.verify(
            store.get(registered.name, version=registered.version)
        )  # what GitOps applies, nobody looks at again
        _write(step.to_yaml(step.render(order)), output)
        return
    log.set_up()
    stop_on_signals()
    if dry_run:
        _write(step.to_yaml(deploying.dry_run(order)), output)
        return
    store.verify(store.get(registered.name, version=registered.version))
    endpoint, _ = step.deploy(order)
    where = "serves at" if endpoint.running else "answered at"
    click.echo(
        f"{endpoint.name} version {endpoint.version} {where} {endpoint.url}; {endpoint.golden_rows} golden rows agree"
    )


def _write(data: bytes, output: Path | None) -> None:
    from nasflow.core.errors import UserError

    if output is None:
        sys.stdout.write(data.decode())
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(data)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}") from error
    click.echo(f"wrote {output}")
