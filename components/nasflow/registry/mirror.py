"""A registry that other tools can see: the file registry decides, a server shows what it decided.

Neither the Kubeflow Model Registry nor MLflow can compare and swap an alias (research/platform.md §3), so that of two
promotions at once both would win. The bucket's alias object therefore stays the truth; the server is brought up to it
after every change, and whatever was missed (a crash between the two writes, a server that was away) is made up for by
the next one.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from nasflow.core.errors import DocumentError, TryAgainError
from nasflow.core.storage import join, storage_for
from nasflow.registry._base import Change, Draft, Registry, Version

logger = logging.getLogger(__name__)

_ROUNDS = 20
_MIRROR = "mirror.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a mirror has of one model."""

    versions: Mapping[int, str]
    """Bundle digest by version."""
    aliases: Mapping[str, int]


class MirrorError(Exception):
    """The server did not do what it was asked; the message says which server and why."""


class Mirror(Protocol):
    """A server that shows versions and aliases. Every method may be called by many at once; all raise `MirrorError`."""

    address: str

    def shown(self, name: str) -> Shown:
        """What it has now; empty for a model that it does not know."""

    def aliases(self, name: str) -> Mapping[str, int]:
        """Those of `shown`."""

    def put(self, version: Version) -> None:
        """Shows a version; nothing happens where it does already."""

    def point(self, name: str, aliases: Mapping[str, int]) -> None:
        """Shows these aliases, and no others, of versions that it has."""


class MirroredRegistry:
    """See `nasflow.registry._base.Registry` for what its methods promise."""

    def __init__(self, truth: Registry, mirror: Mirror) -> None:
        self._truth, self._mirror = truth, mirror

    @property
    def uri(self) -> str:
        """The truth's."""
        return self._truth.uri

    def register(self, name: str, draft: Draft) -> Version:
        """Registers, then shows.

        Raises:
            TryAgainError: the version is registered, but the server cannot show it.
        """
        version = self._truth.register(name, draft)
        try:
            self.bring_up(name)
        except MirrorError as error:
            raise TryAgainError(
                f"{name} version {version.version} is registered at {self.uri}, but {error}; run the same command "
                "again to show it there, too"
            ) from error
        return version

    def promote(self, name: str, alias: str, version: int, *, expected: int | None, reason: str = "") -> None:
        """Promotes, then shows; a server that is away stops no promotion."""
        self._truth.promote(name, alias, version, expected=expected, reason=reason)
        self._show(name)

    def rollback(self, name: str, alias: str, *, reason: str = "") -> Version:
        """Rolls back, then shows; a server that is away stops no rollback."""
        version = self._truth.rollback(name, alias, reason=reason)
        self._show(name)
        return version

    def bring_up(self, name: str) -> None:
        """Shows all that the server lacks.

        Raises:
            MirrorError: it did not accept it.
        """
        shown = self._mirror.shown(name)
        for version in self._truth.versions(name):
            if version.version not in shown.versions:
                self._mirror.put(version)
        for _ in range(_ROUNDS):  # somebody may move an alias while we write it: until what we wrote is what holds
            aliases = dict(self._truth.aliases(name))
            self._mirror.point(name, aliases)
            if dict(self._truth.aliases(name)) == aliases and dict(self._mirror.aliases(name)) == aliases:
                return
        raise MirrorError(f"{self._mirror.address} does not keep the aliases of {name}: others keep moving them")

    def differences(self, name: str) -> list[str]:
        """What the server shows wrongly or not at all, one sentence each.

        Raises:
            MirrorError: it does not answer.
        """
        shown, truth = self._mirror.shown(name), self._truth.versions(name)
        found = []
        for version in truth:
            digest = shown.versions.get(version.version)
            if digest is None:
                found.append(f"{self._mirror.address} lacks {name} version {version.version}")
            elif digest != version.bundle_digest:
                found.append(f"{self._mirror.address} shows {name} version {version.version} with another digest")
        unknown = sorted(set(shown.versions) - {version.version for version in truth})
        found += [f"{self._mirror.address} shows {name} version {number}, which does not exist" for number in unknown]
        if (aliases := dict(self._truth.aliases(name))) != dict(shown.aliases):
            found.append(
                f"{self._mirror.address} shows the aliases {dict(shown.aliases)} of {name}, they are {aliases}"
            )
        return found

    def _show(self, name: str) -> None:
        try:
            self.bring_up(name)
        except MirrorError as error:
            logger.warning("registry: %s moved, but %s; `nasflow models verify` brings it up to date", name, error)

    def models(self) -> list[str]:
        """The truth's."""
        return self._truth.models()

    def versions(self, name: str) -> list[Version]:
        """The truth's."""
        return self._truth.versions(name)

    def get(self, name: str, *, version: int | None = None, alias: str | None = None) -> Version:
        """The truth's."""
        return self._truth.get(name, version=version, alias=alias)

    def aliases(self, name: str) -> Mapping[str, int]:
        """The truth's."""
        return self._truth.aliases(name)

    def history(self, name: str) -> list[Change]:
        """The truth's."""
        return self._truth.history(name)

    def attachment(self, version: Version, path: str) -> bytes:
        """The truth's."""
        return self._truth.attachment(version, path)

    def verify(self, version: Version) -> None:
        """The truth's; see `differences` for the server."""
        self._truth.verify(version)

    def orphans(self, *, older_than_seconds: float) -> list[str]:
        """The truth's."""
        return self._truth.orphans(older_than_seconds=older_than_seconds)

    def remove(self, uris: list[str], *, older_than_seconds: float = 0.0) -> None:
        """The truth's."""
        self._truth.remove(uris, older_than_seconds=older_than_seconds)


class MirrorPlace(BaseModel):
    """``mirror.json`` in a registry's root: whoever opens it keeps the server up to date."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["kubeflow", "mlflow"]
    server: str


def mirror_of(uri: str) -> MirrorPlace | None:
    """Where a registry is shown; None: nowhere.

    Raises:
        DocumentError: ``mirror.json`` is damaged.
    """
    place = join(uri, _MIRROR)
    try:
        return MirrorPlace.model_validate_json(storage_for(place).read(place))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise DocumentError(f"{place}: damaged: {error}; write it again, or remove it") from error


def set_mirror(uri: str, place: MirrorPlace) -> None:
    """Notes where a registry is shown."""
    target, content = join(uri, _MIRROR), place.model_dump_json().encode()
    storage = storage_for(target)
    if not storage.exists(target) or storage.read(target) != content:
        storage.write(target, content)


def connect(place: MirrorPlace) -> Mirror:
    """The client of a mirror; the packages of the other kind need not be there."""
    makers: dict[str, Callable[[str], Mirror]] = {"kubeflow": _kubeflow, "mlflow": _mlflow}
    return makers[place.kind](place.server)


def _kubeflow(server: str) -> Mirror:
    from nasflow.registry.kubeflow import KubeflowMirror

    return KubeflowMirror(server)


def _mlflow(server: str) -> Mirror:
    from nasflow.registry.mlflow import MlflowMirror

    return MlflowMirror(server)
