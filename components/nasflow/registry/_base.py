"""What a registry is: numbered versions of named models, and aliases that point at them."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from nasflow.core.artifacts import Estimate, External
from nasflow.core.errors import TryAgainError
from nasflow.core.version import VERSION


class RegistryConflictError(TryAgainError):
    """Somebody else moved an alias between our look at it and our move.

    Nothing is wrong with the user's input, so this is no UserError: the same command, run again, looks at the alias as
    it is now. Exit code 75 lets an orchestrator do that.
    """


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


class Feature(_Frozen):
    """One column that a client sends, and what the training rows had in it."""

    name: str
    kind: str
    """``numeric``, ``categorical``, ``image``, …"""
    dtype: str
    missing: bool
    """Whether it may be missing: it was, in the training rows."""
    low: float | None = None
    """Numbers: the smallest of the training rows."""
    high: float | None = None
    categories: tuple[str, ...] = ()
    """Text: the most frequent values."""
    shape: tuple[int, ...] = ()
    """Images: height, width, channels."""


class Draft(_Frozen):
    """A model to register."""

    bundle_uri: str
    """Where the bundle is now; the registry makes its own copy."""
    files: dict[str, External]
    """Every file of it, by path inside the bundle."""
    metrics: dict[str, Estimate] = Field(default_factory=dict)
    """On the held-out test set."""
    baseline: dict[str, Estimate] = Field(default_factory=dict)
    """The hand-made network's."""
    signature: dict[str, Any] = Field(default_factory=dict)
    """The bundle's ``signature.json``."""
    lineage: dict[str, str] = Field(default_factory=dict)
    """Digests of the documents that the model was made from, by name."""
    experiment: str = ""
    features: tuple[Feature, ...] = ()
    """The signature's inputs with types and ranges."""
    provenance: dict[str, str] = Field(default_factory=dict)
    """What made it: digests of code, spec, lock file and packages, by name; see `nasflow.core.provenance`."""
    attachments: dict[str, bytes] = Field(default_factory=dict)
    """Small files that travel with the version, by relative path: model card, spec, documents."""


class Version(_Frozen):
    """A registered model; it never changes."""

    name: str
    version: int
    """1, 2, 3, … without gaps."""
    bundle_uri: str
    """The registry's own copy."""
    bundle_digest: str
    """`nasflow.core.artifacts.bundle_digest` of it."""
    files: dict[str, External]
    metrics: dict[str, Estimate]
    baseline: dict[str, Estimate]
    signature: dict[str, Any]
    lineage: dict[str, str]
    experiment: str
    features: tuple[Feature, ...] = ()
    provenance: dict[str, str] = Field(default_factory=dict)
    attachments: dict[str, External] = Field(default_factory=dict)
    """The registry's own copies."""
    nasflow: str = VERSION
    created: str = Field(default_factory=now)


class Change(_Frozen):
    """One move of an alias."""

    id: str
    """Unique, so that two racers never write the same bytes and both believe that they won."""
    alias: str
    kind: Literal["promote", "rollback"]
    from_version: int | None
    """None: the alias was new."""
    to_version: int
    time: str = Field(default_factory=now)
    reason: str = ""


class Registry(Protocol):
    """Passes `nasflow.testing.RegistryConformance`. Every method may be called by many processes at once."""

    @property
    def uri(self) -> str:
        """The folder or bucket that holds the versions, and decides what an alias points at."""

    def register(self, name: str, draft: Draft) -> Version:
        """Copies the bundle, then makes the next version; the same bundle again gives its first version back.

        Raises:
            UserError: a name that cannot be used.
            DocumentError: a file of the bundle is missing or changed; nothing was registered.
        """

    def models(self) -> list[str]:
        """Names, sorted."""

    def versions(self, name: str) -> list[Version]:
        """Oldest first; empty for a name that nothing was registered under."""

    def get(self, name: str, *, version: int | None = None, alias: str | None = None) -> Version:
        """One version: by number, by alias, or the latest.

        Raises:
            UserError: an unknown name, version or alias, with those that there are.
        """

    def aliases(self, name: str) -> Mapping[str, int]:
        """Version by alias."""

    def promote(self, name: str, alias: str, version: int, *, expected: int | None, reason: str = "") -> None:
        """Points an alias at a version, if it still points at `expected` (None: if there is no such alias).

        Raises:
            RegistryConflictError: it points elsewhere, at the version that the message names.
            UserError: an unknown name or version, or an alias that cannot be used.
        """

    def rollback(self, name: str, alias: str, *, reason: str = "") -> Version:
        """Points an alias at the version that it had before; twice goes back two.

        Raises:
            UserError: no such alias, or it never pointed anywhere else.
            DocumentError: a file of that version is missing or changed; the alias stays.
        """

    def history(self, name: str) -> list[Change]:
        """Every move of every alias, oldest first."""

    def attachment(self, version: Version, path: str) -> bytes:
        """One of its small files.

        Raises:
            UserError: it has none of that name.
            DocumentError: it is missing or changed.
        """

    def verify(self, version: Version) -> None:
        """Reads the registry's copies again, bundle and attachments.

        Raises:
            DocumentError: a file is missing or changed.
        """

    def orphans(self, *, older_than_seconds: float) -> list[str]:
        """URIs of copies that no version refers to: what a register that was killed has left. Younger ones may belong
        to one that is at work."""

    def remove(self, uris: list[str], *, older_than_seconds: float = 0.0) -> None:
        """Deletes those that are still orphans, and so old."""
