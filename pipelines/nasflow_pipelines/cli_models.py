"""`nasflow models` and `nasflow serve`: what is in the registry."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from nasflow.core.errors import UserError

registry_option = click.option(
    "--registry",
    "store",
    callback=lambda _context, _option, value: _open(value),
    help="Folder or gs:// prefix. [default: $NASFLOW_REGISTRY, else the only runs/*/work/registry]",
)


@click.group()
def models() -> None:
    """List, show, promote and roll back registered models."""


@models.command("list")
@registry_option
def models_list(store: Any) -> None:
    """All models, with their versions and aliases."""
    for name in store.models():
        versions = ", ".join(str(version.version) for version in store.versions(name))
        aliases = ", ".join(f"{alias} = {version}" for alias, version in sorted(store.aliases(name).items()))
        click.echo(f"{name}  versions {versions}  {aliases or 'no alias'}")


@models.command("show")
@click.argument("model")
@registry_option
def models_show(model: str, store: Any) -> None:
    """One version as JSON: NAME (its latest), NAME@ALIAS or NAME@VERSION."""
    click.echo(version_of(store, model).model_dump_json(indent=2))


@models.command("promote")
@click.argument("name")
@click.argument("version", type=int)
@click.option("--alias", default="champion", show_default=True)
@click.option("--expect", type=int, help="The version that is to be replaced. [default: the one there now]")
@registry_option
def models_promote(name: str, version: int, alias: str, expect: int | None, store: Any) -> None:
    """Point an alias at a version; refused (exit 75) if another promotion came first."""
    before = store.aliases(name).get(alias) if expect is None else expect
    store.promote(name, alias, version, expected=before)
    click.echo(f"{name}@{alias}: {'none' if before is None else before} → {version}")


@models.command("rollback")
@click.argument("name")
@click.option("--alias", default="champion", show_default=True)
@registry_option
def models_rollback(name: str, alias: str, store: Any) -> None:
    """Point an alias back at the version it had before."""
    click.echo(f"{name}@{alias}: back to {store.rollback(name, alias).version}")


@click.command()
@click.argument("model")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@registry_option
def serve(model: str, port: int, host: str, store: Any) -> None:
    """Serve a registered model until stopped: NAME (its champion), NAME@ALIAS or NAME@VERSION."""
    version = version_of(store, model, default_alias="champion")
    place = ["--bundle", version.bundle_uri, "--name", version.name, "--host", host, "--port", str(port)]
    place += ["--digest", version.bundle_digest]  # a bundle that was changed since is refused
    click.echo(f"starting {version.name} version {version.version} on http://{host}:{port}; Ctrl-C stops it", err=True)
    # The server takes this process's place, and with it its signals.
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ}  # TensorFlow's start-up notes are for its developers
    os.execve(sys.executable, [sys.executable, "-m", "nasflow.serving", *place], environment)  # noqa: S606  # no shell


def _open(given: str | None) -> Any:
    from nasflow.registry.file import FileRegistry
    from nasflow_pipelines import registries

    return FileRegistry(registries.find(given, environment=os.environ, folder=Path.cwd()))


def version_of(store: Any, model: str, default_alias: str | None = None) -> Any:
    """NAME, NAME@ALIAS or NAME@VERSION; NAME alone is the default alias or, without one, the latest version."""
    name, _, which = model.partition("@")
    if which.isdigit():
        return store.get(name, version=int(which))
    if which or default_alias:
        return store.get(name, alias=which or default_alias)
    versions = store.versions(name)
    if not versions:
        raise UserError(f"{name}: no such model; there are: {', '.join(store.models()) or 'none'}")
    return versions[-1]
