"""`nasflow models` and `nasflow serve`: what is in the registry."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from nasflow.core.errors import DocumentError, UserError

registry_option = click.option(
    "--registry",
    "store",
    callback=lambda _context, _option, value: _open(value),
    help="Folder or gs:// prefix. [default: $NASFLOW_REGISTRY, else the only runs/*/work/registry]",
)


@click.group()
def models() -> None:
    """List, compare, promote, roll back, export and check registered models."""


@models.command("list")
@click.argument("name", required=False)
@registry_option
def models_list(name: str | None, store: Any) -> None:
    """All models, with their versions and aliases; of NAME, each version's metrics, and every move of an alias."""
    if name is not None:
        _list_one(store, name)
        return
    for each in store.models():
        versions = ", ".join(str(version.version) for version in store.versions(each))
        aliases = ", ".join(f"{alias} = {version}" for alias, version in sorted(store.aliases(each).items()))
        click.echo(f"{each}  versions {versions}  {aliases or 'no alias'}")


def _list_one(store: Any, name: str) -> None:
    from nasflow_pipelines import model_tables

    store.get(name)  # an unknown name is an error, with those that there are
    aliases = store.aliases(name)
    for version in store.versions(name):
        metrics = ", ".join(f"{metric} {estimate.value:.4g}" for metric, estimate in version.metrics.items())
        held = ", ".join(sorted(alias for alias, number in aliases.items() if number == version.version))
        click.echo(f"{name} {version.version}  {version.created}  {metrics or 'no metrics'}  {held}".rstrip())
    for line in model_tables.history_lines(store, name):
        click.echo(line)


@models.command("show")
@click.argument("model")
@click.option("--card", is_flag=True, help="Its model card, as Markdown, instead.")
@registry_option
def models_show(model: str, *, card: bool, store: Any) -> None:
    """One version as JSON: NAME (its latest), NAME@ALIAS or NAME@VERSION."""
    version = version_of(store, model)
    click.echo(store.attachment(version, "card.md").decode() if card else version.model_dump_json(indent=2))


@models.command("diff")
@click.argument("old")
@click.argument("new")
@registry_option
def models_diff(old: str, new: str, store: Any) -> None:
    """What changed from OLD to NEW: metrics, inputs, data, code, spec. Each is NAME@ALIAS or NAME@VERSION."""
    from nasflow_pipelines import model_tables

    for line in model_tables.differences(store, version_of(store, old), version_of(store, new)):
        click.echo(line)


@models.command("promote")
@click.argument("name")
@click.argument("version", type=int)
@click.option("--alias", default="champion", show_default=True)
@click.option("--expect", type=int, help="The version that is to be replaced. [default: the one there now]")
@click.option("--reason", default="", help="Kept in the history.")
@registry_option
def models_promote(name: str, version: int, *, alias: str, expect: int | None, reason: str, store: Any) -> None:
    """Point an alias at a version whose files are intact; refused (exit 75) if another promotion came first."""
    before = store.aliases(name).get(alias) if expect is None else expect
    store.verify(store.get(name, version=version))
    store.promote(name, alias, version, expected=before, reason=reason)
    click.echo(f"{name}@{alias}: {'none' if before is None else before} → {version}")


@models.command("rollback")
@click.argument("name")
@click.option("--alias", default="champion", show_default=True)
@click.option("--reason", default="", help="Kept in the history.")
@registry_option
def models_rollback(name: str, alias: str, reason: str, store: Any) -> None:
    """Point an alias back at the version it had before; twice goes back two."""
    click.echo(f"{name}@{alias}: back to {store.rollback(name, alias, reason=reason).version}")


@models.command("export")
@click.argument("model")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="A new folder.")
@registry_option
def models_export(model: str, output: Path, store: Any) -> None:
    """Copy a version out: its bundle, card, spec and documents. NAME, NAME@ALIAS or NAME@VERSION."""
    from nasflow_pipelines import model_tables

    version = version_of(store, model)
    count = model_tables.export(store, version, output)
    click.echo(f"{version.name} version {version.version}: {count} files in {output}")


@models.command("verify")
@click.argument("model", required=False)
@registry_option
def models_verify(model: str | None, store: Any) -> None:
    """Recompute every digest: of all versions, or of NAME@ALIAS or NAME@VERSION. Exit code 2: a file was changed or is
    missing. A mirror (Kubeflow, MLflow) that lags behind is brought up to date."""
    from nasflow_pipelines import model_tables

    named = [version_of(store, model)] if model is not None else []
    problems: list[str] = []
    for version in named or [each for name in store.models() for each in store.versions(name)]:
        try:
            store.verify(version)
            click.echo(f"{version.name} {version.version}: {len(version.files) + len(version.attachments)} files ok")
        except DocumentError as error:
            problems.append(f"{version.name} version {version.version}: {error}")
    if (mirror := model_tables.mirrored(store)) is not None:
        for name in sorted({version.name for version in named} or store.models()):
            for line in mirror.differences(name):
                click.echo(line)
            mirror.bring_up(name)
    if problems:
        raise DocumentError("\n".join(problems))


@models.command("gc")
@click.option("--older-than-hours", type=click.FloatRange(min=0), default=24.0, show_default=True)
@click.option("--delete", is_flag=True, help="Delete them; without it they are only listed.")
@registry_option
def models_gc(*, older_than_hours: float, delete: bool, store: Any) -> None:
    """Files that no version refers to: what a registration that was killed has left. Versions are never removed."""
    orphans = store.orphans(older_than_seconds=older_than_hours * 3600)
    for uri in orphans:
        click.echo(uri)
    if delete:
        store.remove(orphans, older_than_seconds=older_than_hours * 3600)
    done = "deleted" if delete else "found; --delete removes them"
    click.echo(f"{len(orphans)} files of no version {done}")


@click.command()
@click.argument("model")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@registry_option
def serve(model: str, port: int, host: str, store: Any) -> None:
    """Serve a registered model until stopped: NAME (its champion), NAME@ALIAS or NAME@VERSION.

    An alias is followed: a promotion or a rollback is served some seconds later, and no request fails meanwhile.
    """
    version = version_of(store, model, default_alias="champion")
    place = ["--name", version.name, "--host", host, "--port", str(port)]
    _, _, which = model.partition("@")
    if which.isdigit():
        place += ["--bundle", version.bundle_uri, "--version", str(version.version)]
        place += ["--digest", version.bundle_digest]  # a bundle that was changed since is refused
    else:
        place += ["--registry", store.uri, "--alias", which or "champion"]
    click.echo(f"starting {version.name} version {version.version} on http://{host}:{port}; Ctrl-C stops it", err=True)
    # The server takes this process's place, and with it its signals.
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ}  # TensorFlow's start-up notes are for its developers
    os.execve(sys.executable, [sys.executable, "-m", "nasflow.serving", *place], environment)  # noqa: S606  # no shell


def _open(given: str | None) -> Any:
    from nasflow.registry.open import open_registry
    from nasflow_pipelines import registries

    return open_registry(registries.find(given, environment=os.environ, folder=Path.cwd()))


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
