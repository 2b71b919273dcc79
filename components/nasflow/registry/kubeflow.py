"""The Kubeflow Model Registry as a mirror, through the low level of its official client (package ``model-registry``).

A registered model has the version numbers as names of its model versions, each with one ModelArtifact whose ``uri`` is
the registry's copy of the bundle. Aliases are custom properties of the registered model: ``alias.NAME`` → number.
"""

import asyncio
import os
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

import mr_openapi
from model_registry.core import ModelRegistryAPIClient
from model_registry.types import ListOptions, ModelArtifact, ModelVersion, RegisteredModel

from nasflow.registry._base import Version
from nasflow.registry.mirror import MirrorError, Shown

T = TypeVar("T")

TOKEN_VARIABLE = "NASFLOW_MODEL_REGISTRY_TOKEN"  # noqa: S105  # a name
_POD_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_ALIAS, _DIGEST, _OWNER, _FORMAT = "alias.", "bundle_digest", "nasflow", "nasflow-bundle"
_PAGE = 100
_SECONDS = 30.0


class KubeflowMirror:
    """See `nasflow.registry.mirror.Mirror`."""

    def __init__(self, server: str, token: str | None = None) -> None:
        self.address = server.rstrip("/")
        self._whole: set[str] = set()
        token = token or _token()
        if self.address.startswith("https://"):
            self._api = ModelRegistryAPIClient.secure_connection(self.address, user_token=token or "")
        else:
            self._api = ModelRegistryAPIClient.insecure_connection(self.address, 80, token)

    def shown(self, name: str) -> Shown:
        """What it has now."""
        return self._do(self._shown(name))

    def aliases(self, name: str) -> Mapping[str, int]:
        """Those that it has now."""
        return self._do(self._aliases_of(name))

    def put(self, version: Version) -> None:
        """A registered model, a version of it, an artifact of that: each is made where it is missing."""
        self._do(self._put(version))

    def point(self, name: str, aliases: Mapping[str, int]) -> None:
        """Rewrites the registered model's ``alias.*`` properties."""
        self._do(self._point(name, aliases))

    async def _aliases_of(self, name: str) -> dict[str, int]:
        model = await self._api.get_registered_model_by_params(name)
        return {} if model is None else _aliases(model)

    async def _shown(self, name: str) -> Shown:
        model = await self._api.get_registered_model_by_params(name)
        if model is None:
            return Shown(versions={}, aliases={})
        versions = {}
        for found in await self._versions(model):
            digest = (found.custom_properties or {}).get(_DIGEST)
            if found.name.isdigit() and await self._is_whole(found):
                versions[int(found.name)] = str(digest)
        return Shown(versions=versions, aliases=_aliases(model))

    async def _versions(self, model: RegisteredModel) -> list[ModelVersion]:
        options, found = ListOptions(limit=_PAGE), list[ModelVersion]()
        while True:
            found += await self._api.get_model_versions(_id(model), options)
            if not options.next_page_token:
                return found

    async def _put(self, version: Version) -> None:
        model = await self._model(version.name)
        made = ModelVersion(
            name=str(version.version),
            author=_OWNER,
            description=f"{version.experiment}: {_scores(version)}",
            custom_properties=_properties(version),
        )
        try:
            stored = await self._api.upsert_model_version(made, _id(model))
        except mr_openapi.exceptions.ApiException:
            stored = await self._api.get_model_version_by_params(_id(model), made.name)
            if stored is None:
                raise  # no conflict with somebody who was faster
        if await self._artifact(stored) is None:
            artifact = ModelArtifact(
                name=f"{version.name}-{version.version}",
                uri=version.bundle_uri,
                model_format_name=_FORMAT,
                model_format_version="1",
            )
            try:
                await self._api.upsert_model_version_artifact(artifact, _id(stored))
            except mr_openapi.exceptions.ApiException:
                if await self._artifact(stored) is None:
                    raise

    async def _model(self, name: str) -> RegisteredModel:
        if (found := await self._api.get_registered_model_by_params(name)) is not None:
            return found
        try:
            return await self._api.upsert_registered_model(RegisteredModel(name=name, owner=_OWNER))
        except mr_openapi.exceptions.ApiException:
            made = await self._api.get_registered_model_by_params(name)  # somebody else was faster
            if made is None:
                raise
            return made

    async def _is_whole(self, version: ModelVersion) -> bool:
        """Whether it has its artifact; one that was seen whole is not asked for again."""
        if _id(version) not in self._whole and await self._artifact(version) is not None:
            self._whole.add(_id(version))
        return _id(version) in self._whole

    async def _artifact(self, version: ModelVersion) -> ModelArtifact | None:
        artifacts = await self._api.get_model_artifacts(_id(version), ListOptions(limit=_PAGE))
        return next(iter(artifacts), None)

    async def _point(self, name: str, aliases: Mapping[str, int]) -> None:
        model = await self._model(name)
        if _aliases(model) == dict(aliases):
            return
        others = {key: value for key, value in (model.custom_properties or {}).items() if not key.startswith(_ALIAS)}
        moved = {f"{_ALIAS}{alias}": str(number) for alias, number in aliases.items()}
        model.custom_properties = {**others, **moved}
        await self._api.upsert_registered_model(model)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run(asyncio.wait_for(work, _SECONDS))
        except mr_openapi.exceptions.ApiException as error:
            raise MirrorError(f"{self.address} answered {error.status}: {error.body or error.reason}") from error
        except TimeoutError as error:
            raise MirrorError(f"{self.address} did not answer within {_SECONDS:g} s") from error
        except OSError as error:  # aiohttp's connection errors are among them
            raise MirrorError(f"{self.address} cannot be reached ({error})") from error


def _properties(version: Version) -> dict[str, bool | int | float | str]:
    """All flat: the server knows no nested values."""
    found: dict[str, bool | int | float | str] = {_DIGEST: version.bundle_digest, "nasflow": version.nasflow}
    for name, estimate in version.metrics.items():
        found |= {name: estimate.value, f"{name}_low": estimate.ci95[0], f"{name}_high": estimate.ci95[1]}
    found |= {f"digest.{name}": digest for name, digest in version.lineage.items()}
    found |= {f"made_by.{name}": value for name, value in version.provenance.items()}
    if (card := version.attachments.get("card.html")) is not None:
        found["model_card"] = card.uri
    return found


def _scores(version: Version) -> str:
    return ", ".join(f"{name} {estimate.value:.4g}" for name, estimate in version.metrics.items()) or "no metrics"


def _aliases(model: RegisteredModel) -> dict[str, int]:
    properties = (model.custom_properties or {}).items()
    return {key.removeprefix(_ALIAS): int(str(value)) for key, value in properties if key.startswith(_ALIAS)}


def _id(thing: RegisteredModel | ModelVersion) -> str:
    if thing.id is None:
        raise MirrorError(f"the server gave {thing.name!r} no id")
    return str(thing.id)


def _token() -> str | None:
    if token := os.environ.get(TOKEN_VARIABLE):
        return token
    return _POD_TOKEN.read_text().strip() if _POD_TOKEN.is_file() else None
