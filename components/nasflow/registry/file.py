"""A model registry made of objects in a folder or bucket: no server, no database, safe for any number of writers.

    ROOT/NAME/bundles/DIGEST/…      copies of bundles, by content
    ROOT/NAME/attachments/SHA256    small files that versions refer to, by content
    ROOT/NAME/versions/N.json       created, never changed; the bundle is there before its version is
    ROOT/NAME/aliases.json          aliases and the history of their moves; compare-and-swap

Two primitives of `nasflow.core.storage` carry it: `create` fails where the object exists, so that numbers are never
given twice; `swap` fails where the object has changed, so that of two promotions one loses and knows it.
"""

import random
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from nasflow.core.artifacts import External, bundle_digest
from nasflow.core.errors import DocumentError, TryAgainError, UserError
from nasflow.core.storage import TEMPORARY, absolute, join, sha256, sha256_of, storage_for
from nasflow.registry._base import Change, Draft, RegistryConflictError, Version
from nasflow.registry.aliases import Aliases

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?")
_ALIAS = re.compile(r"[a-z]([a-z0-9_-]{0,48}[a-z0-9])?")

_FRESH_SECONDS = 3600.0
"""A copy that a killed registration left longer ago is written again, so that no `orphans` of old files lists it."""
_SWAP_TRIES = 100
_SWAP_PAUSE_SECONDS = 0.05


class FileRegistry:
    """See `nasflow.registry._base.Registry` for what its methods promise."""

    def __init__(self, uri: str) -> None:
        self._uri = absolute(uri)
        self._storage = storage_for(self._uri)

    @property
    def uri(self) -> str:
        """Its folder or bucket."""
        return self._uri

    def register(self, name: str, draft: Draft) -> Version:
        """Copies the bundle, then creates the next version; the same bundle again gives its first version back.

        A crash in between leaves a copy that nobody refers to; the next try finds it and uses it. No bundle is ever
        registered twice: whoever creates version N has seen all before it.
        """
        _check(name, _NAME, "model name", "lower-case letters, digits and dashes, at most 50")
        digest = bundle_digest(draft.files)
        number = 1
        copies: dict[str, External] | None = None
        attachments: dict[str, External] = {}
        while True:
            if (there := self._read_version(name, number)) is not None:
                if there.bundle_digest == digest:
                    return there
                number += 1
                continue
            if copies is None:
                copies = self._copy(name, digest, draft)
                attachments = self._attach(name, draft)
            version = self._version(name, number, digest, draft, copies=copies, attachments=attachments)
            if self._storage.create(self._version_uri(name, number), version.model_dump_json(indent=1).encode()):
                return version

    def models(self) -> list[str]:
        """Names, sorted."""
        found = (uri.removeprefix(self.uri).strip("/").split("/") for uri in self._storage.list(self.uri))
        return sorted(parts[0] for parts in found if parts[1:] == ["versions", "1.json"])

    def versions(self, name: str) -> list[Version]:
        """Oldest first; empty for a name that nothing was registered under."""
        _check(name, _NAME, "model name", "lower-case letters, digits and dashes, at most 50")
        versions: list[Version] = []
        while (version := self._read_version(name, len(versions) + 1)) is not None:
            versions.append(version)
        return versions

    def get(self, name: str, *, version: int | None = None, alias: str | None = None) -> Version:
        """One version: by number, by alias, or the latest."""
        if version is not None and alias is not None:
            raise UserError(f"name a version or an alias, not both: got {version} and {alias!r}")
        if alias is not None:
            aliases = self.aliases(name)
            if alias not in aliases:
                self._require_model(name)
                raise UserError(f"model {name!r} has no alias {alias!r}; it has {_listed(aliases)}")
            version = aliases[alias]
        there = self.versions(name) if version is None else [self._read_checked(name, version)]
        if not there:
            self._require_model(name)
        return there[-1]

    def aliases(self, name: str) -> dict[str, int]:
        """Version by alias."""
        return dict(self._state(name)[1].aliases)

    def promote(self, name: str, alias: str, version: int, *, expected: int | None, reason: str = "") -> None:
        """Points an alias at a version, if it still points at `expected`; a no-op where it is there already."""
        _check(alias, _ALIAS, "alias", "a lower-case letter, then letters, digits, - and _, at most 50")
        self._read_checked(name, version)

        def move(state: Aliases) -> Aliases:
            current = state.aliases.get(alias)
            if current != expected:
                raise RegistryConflictError(
                    f"{name}: alias {alias!r} points at {_version_or_nothing(current)}, expected "
                    f"{_version_or_nothing(expected)}: somebody moved it; run the same command again to decide anew"
                )
            return state if current == version else state.moved(alias, version, "promote", reason)

        self._update(name, move)

    def rollback(self, name: str, alias: str, *, reason: str = "") -> Version:
        """Points an alias at the version that it had before; twice goes back two. A version whose files are gone or
        changed is none to go back to: no server would start with it."""

        def move(state: Aliases) -> Aliases:
            if alias not in state.aliases:
                self._require_model(name)
                raise UserError(f"model {name!r} has no alias {alias!r}; it has {_listed(state.aliases)}")
            trail = state.trail(alias)
            if len(trail) < 2:
                raise UserError(
                    f"model {name!r}: alias {alias!r} never pointed anywhere but at version {trail[-1]}; "
                    "there is nothing to go back to"
                )
            try:
                self.verify(self._read_checked(name, trail[-2]))
            except DocumentError as error:
                raise DocumentError(
                    f"model {name!r}: alias {alias!r} stays at version {trail[-1]}: version {trail[-2]}, which it had "
                    f"before, cannot be served: {error}; `nasflow models promote {name} VERSION` names another one"
                ) from error
            return state.moved(alias, trail[-2], "rollback", reason)

        return self._read_checked(name, self._update(name, move).aliases[alias])

    def history(self, name: str) -> list[Change]:
        """Every move of every alias, oldest first."""
        return list(self._state(name)[1].history)

    def attachment(self, version: Version, path: str) -> bytes:
        """One of its small files."""
        if path not in version.attachments:
            raise UserError(
                f"{version.name} version {version.version} has no {path!r}; it has {_listed(dict(version.attachments))}"
            )
        return version.attachments[path].read(
            since="it was registered", remedy="restore it from a copy of the registry"
        )

    def verify(self, version: Version) -> None:
        """Reads the registry's copies again."""
        for entry in (*version.files.values(), *version.attachments.values()):
            entry.check()

    def orphans(self, *, older_than_seconds: float) -> list[str]:
        """Copies, and temporary files of killed writers, that no version refers to."""
        used = self._used()
        found = []
        for uri in self._storage.list(self.uri):
            parts = uri.removeprefix(self.uri).strip("/").split("/")
            copied = len(parts) > 2 and parts[1] in ("bundles", "attachments")
            unknown = (copied or parts[-1].startswith(TEMPORARY)) and uri not in used
            if unknown and self._age(uri) >= older_than_seconds:
                found.append(uri)
        return found

    def remove(self, uris: list[str], *, older_than_seconds: float = 0.0) -> None:
        """Deletes orphans; those that a registration has made its own, or renewed, since they were listed stay."""
        used = self._used()
        for uri in uris:
            if uri not in used and self._age(uri) >= older_than_seconds:
                self._storage.delete(uri)

    def _used(self) -> set[str]:
        versions = [version for name in self.models() for version in self.versions(name)]
        return {entry.uri for version in versions for entry in (*version.files.values(), *version.attachments.values())}

    def _age(self, uri: str) -> float:
        """Seconds; negative where it has gone in the meantime: a writer's temporary file that got its name."""
        try:
            return self._storage.age_seconds(uri)
        except FileNotFoundError:
            return -1.0

    def _keeps(self, uri: str, digest: str) -> bool:
        """Whether a copy that is there can be used as it is: an old one is what somebody may be about to collect."""
        return 0 <= self._age(uri) < _FRESH_SECONDS and sha256_of(uri)[0] == digest

    def _copy(self, name: str, digest: str, draft: Draft) -> dict[str, External]:
        """Copies what is not there yet, then checks every byte that was written."""
        copies = {}
        for path, source in sorted(draft.files.items()):
            if path.startswith("/") or ".." in Path(path).parts:
                raise UserError(f"bundle: file name {path!r} leads out of the bundle")
            target = join(self.uri, name, "bundles", digest, path)
            copy = source.model_copy(update={"uri": target})
            if not self._keeps(target, source.sha256):
                source.check()
                _copy_object(source.uri, target)
                copy.check()
            copies[path] = copy
        return copies

    def _attach(self, name: str, draft: Draft) -> dict[str, External]:
        """Keeps each small file under its own digest; equal ones of several versions are one."""
        kept = {}
        for path, data in sorted(draft.attachments.items()):
            digest = sha256(data)
            uri = join(self.uri, name, "attachments", digest)
            if not self._keeps(uri, digest):
                self._storage.write(uri, data)
            kept[path] = External(uri=uri, size=len(data), sha256=digest)
        return kept

    def _version(
        self,
        name: str,
        number: int,
        digest: str,
        draft: Draft,
        *,
        copies: dict[str, External],
        attachments: dict[str, External],
    ) -> Version:
        same = ("metrics", "baseline", "signature", "lineage", "experiment", "features", "provenance")
        return Version(
            name=name,
            version=number,
            bundle_uri=join(self.uri, name, "bundles", digest),
            bundle_digest=digest,
            files=copies,
            attachments=attachments,
            **{field: getattr(draft, field) for field in same},
        )

    def _version_uri(self, name: str, number: int) -> str:
        return join(self.uri, name, "versions", f"{number}.json")

    def _read_version(self, name: str, number: int) -> Version | None:
        uri = self._version_uri(name, number)
        try:
            return Version.model_validate_json(self._storage.read(uri))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise DocumentError(f"{uri}: damaged: {error}") from error

    def _read_checked(self, name: str, number: int) -> Version:
        _check(name, _NAME, "model name", "lower-case letters, digits and dashes, at most 50")
        version = self._read_version(name, number)
        if version is None:
            self._require_model(name)
            last = self.versions(name)[-1].version
            raise UserError(f"model {name!r} has no version {number}; it has 1 to {last}")
        return version

    def _require_model(self, name: str) -> None:
        if self._read_version(name, 1) is None:
            raise UserError(f"no model {name!r} in the registry {self.uri}; it has {_listed(self.models())}")

    def _state(self, name: str) -> tuple[bytes | None, Aliases]:
        _check(name, _NAME, "model name", "lower-case letters, digits and dashes, at most 50")
        uri = join(self.uri, name, "aliases.json")
        try:
            content = self._storage.read(uri)
            return content, Aliases.model_validate_json(content)
        except FileNotFoundError:
            return None, Aliases()
        except ValidationError as error:
            raise DocumentError(f"{uri}: damaged: {error}") from error

    def _update(self, name: str, move: Callable[[Aliases], Aliases]) -> Aliases:
        """Applies `move` to the newest state; where another writer was faster, to the then newest."""
        uri = join(self.uri, name, "aliases.json")
        for _ in range(_SWAP_TRIES):
            content, state = self._state(name)
            moved = move(state)
            if moved == state or self._storage.swap(uri, moved.model_dump_json(indent=1).encode(), expected=content):
                return moved
            time.sleep(random.uniform(0, _SWAP_PAUSE_SECONDS))
        raise TryAgainError(f"{uri}: other writers kept changing it over {_SWAP_TRIES} tries; run the command again")


def _copy_object(source: str, target: str) -> None:
    with tempfile.NamedTemporaryFile(prefix="nasflow-register-") as temporary:
        with storage_for(source).open(source) as reader:
            while chunk := reader.read(1 << 20):
                temporary.write(chunk)
        temporary.flush()
        storage_for(target).upload(Path(temporary.name), target)


def _check(value: str, pattern: re.Pattern[str], what: str, form: str) -> None:
    if not pattern.fullmatch(value):
        raise UserError(f"{what} {value!r} cannot be used; take {form}")


def _listed(names: object) -> str:
    listed = ", ".join(sorted(names)) if isinstance(names, list | dict) else ""
    return listed or "none yet"


def _version_or_nothing(version: int | None) -> str:
    return "nothing" if version is None else f"version {version}"
