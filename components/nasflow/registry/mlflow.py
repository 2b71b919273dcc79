"""MLflow's model registry as a mirror: a tracking server, or a database that this process opens.

MLflow numbers versions itself. They are made in order, so that its numbers are ours as a rule; the tag
``nasflow.version`` says which of ours one is, whatever its number. Of two that were made at once for the same version
the lower one stays.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from nasflow.core.errors import UserError
from nasflow.core.storage import is_local
from nasflow.registry._base import Version
from nasflow.registry.mirror import MirrorError, Shown

T = TypeVar("T")

_VERSION, _DIGEST = "nasflow.version", "nasflow.bundle_digest"
_EXISTS = "RESOURCE_ALREADY_EXISTS"
_MISSING = "RESOURCE_DOES_NOT_EXIST"
_RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}
"""MLflow's defaults wait for minutes for a server that is not there."""


class MlflowMirror:
    """See `nasflow.registry.mirror.Mirror`."""

    def __init__(self, server: str) -> None:
        for name, value in _RETRIES.items():
            os.environ.setdefault(name, value)  # the client reads nothing else
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        self.address = server
        try:
            self._client = MlflowClient(tracking_uri=server, registry_uri=server)
        except MlflowException as error:
            raise UserError(
                f"register.server: this MLflow client cannot use {server!r}; name a tracking server, "
                "http(s)://HOST:PORT (a database needs the whole package: pip install mlflow)"
            ) from error

    def shown(self, name: str) -> Shown:
        """What it has now."""
        model = self._model(name)
        if model is None:
            return Shown(versions={}, aliases={})
        ours = self._ours(name)
        numbers = {number: version for version, number in self._numbers(ours).items()}
        aliases = {alias: numbers[str(number)] for alias, number in model.aliases.items() if str(number) in numbers}
        return Shown(versions={int(each.tags[_VERSION]): each.tags[_DIGEST] for each in ours}, aliases=aliases)

    def aliases(self, name: str) -> Mapping[str, int]:
        """Those that it has now."""
        return self.shown(name).aliases

    def put(self, version: Version) -> None:
        """A model version whose source is the registry's copy of the bundle."""
        self._create_model(version.name)
        if version.version not in self._numbers(self._ours(version.name)):
            create = partial(self._client.create_model_version, version.name, _source(version.bundle_uri))
            self._do(partial(create, description=version.experiment, tags=_tags(version)))
        same = [each for each in self._ours(version.name) if int(each.tags[_VERSION]) == version.version]
        for extra in sorted(same, key=lambda each: int(each.version))[1:]:
            self._do(partial(self._client.delete_model_version, version.name, extra.version), ignore=_MISSING)

    def point(self, name: str, aliases: Mapping[str, int]) -> None:
        """Sets what differs, deletes what is gone."""
        model = self._model(name)
        if model is None:
            return
        numbers = self._numbers(self._ours(name))
        for alias, version in aliases.items():
            if version in numbers and str(model.aliases.get(alias)) != numbers[version]:
                self._do(partial(self._client.set_registered_model_alias, name, alias, numbers[version]))
        for alias in set(model.aliases) - set(aliases):
            self._do(partial(self._client.delete_registered_model_alias, name, alias), ignore=_MISSING)

    def _model(self, name: str) -> Any:
        return self._do(lambda: self._client.get_registered_model(name), ignore=_MISSING)

    def _create_model(self, name: str) -> None:
        if self._model(name) is None:
            self._do(lambda: self._client.create_registered_model(name), ignore=_EXISTS)

    def _ours(self, name: str) -> list[Any]:
        found = self._do(lambda: list(_pages(self._client, name)))
        return [each for each in found or [] if _VERSION in each.tags]

    def _numbers(self, ours: list[Any]) -> dict[int, str]:
        """MLflow's number by ours; the lowest where there are several."""
        numbers: dict[int, str] = {}
        for each in sorted(ours, key=lambda each: -int(each.version)):
            numbers[int(each.tags[_VERSION])] = str(each.version)
        return numbers

    def _do(self, call: Callable[[], T], *, ignore: str = "") -> T | None:
        from mlflow.exceptions import MlflowException

        try:
            return call()
        except MlflowException as error:
            if ignore and error.error_code == ignore:
                return None
            raise MirrorError(f"{self.address} refused: {str(error).splitlines()[0][:300]}") from error


def _pages(client: Any, name: str) -> Any:
    token = None
    while True:
        page = client.search_model_versions(f"name='{name}'", max_results=200, page_token=token)
        yield from page
        if not (token := page.token):
            return


def _source(uri: str) -> str:
    """MLflow refuses local paths from a client, since it cannot know whose disk they are on: it is told as much."""
    return f"nasflow-file://{uri.removeprefix('file://')}" if is_local(uri) else uri


def _tags(version: Version) -> dict[str, str]:
    found = {_VERSION: str(version.version), _DIGEST: version.bundle_digest, "nasflow": version.nasflow}
    for name, estimate in version.metrics.items():
        found[name] = f"{estimate.value:.6g} [{estimate.ci95[0]:.6g}, {estimate.ci95[1]:.6g}]"
    found |= {f"digest.{name}": digest for name, digest in version.lineage.items()}
    found |= {f"made_by.{name}": value for name, value in version.provenance.items()}
    if (card := version.attachments.get("card.html")) is not None:
        found["model_card"] = card.uri
    return found
