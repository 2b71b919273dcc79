"""What every document is: a directory of small files and a manifest that is written last, checked whenever it is read.

A directory without a manifest does not exist for any reader. Big files stay elsewhere: the manifest names them.
"""

import datetime as dt
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from nasflow.core.errors import DocumentError
from nasflow.core.storage import join, sha256, sha256_of, storage_for
from nasflow.core.version import VERSION

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1

_VOLATILE = {"created", "seconds", "cpu_seconds", "environment"}


class Frozen(BaseModel):
    """A part of a document."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(Frozen):
    """A small file inside the document's own directory."""

    size: int
    sha256: str


class External(Frozen):
    """A big file under ``work_dir``, named by absolute URI."""

    uri: str
    size: int
    sha256: str

    @classmethod
    def of(cls, uri: str) -> Self:
        """Reads the object once to take its digest."""
        digest, size = sha256_of(uri)
        return cls(uri=uri, size=size, sha256=digest)

    def check(self) -> None:
        """Recomputes the digest.

        Raises:
            DocumentError: the file is gone or changed.
        """
        try:
            found, _ = sha256_of(self.uri)
        except FileNotFoundError as error:
            raise DocumentError(f"{self.uri}: missing; run the step that wrote it again") from error
        if found != self.sha256:
            raise DocumentError(f"{self.uri}: sha256 is {found}, the manifest says {self.sha256}; it was changed")

    def read(self, *, since: str = "it was written", remedy: str = "run the step that wrote it again") -> bytes:
        """Its bytes.

        Args:
            since: when its digest was taken, for the message.
            remedy: what brings it back, for the message.

        Raises:
            DocumentError: the file is gone or changed.
        """
        return _read_checked(self.uri, self.sha256, since=since, remedy=remedy)


class Document(Frozen):
    """What every document carries. `digest` covers all of it but times and host."""

    kind: str
    schema_version: int = SCHEMA_VERSION
    producer: str = f"nasflow {VERSION}"
    created: str = Field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))
    seconds: float = 0.0
    """Wall-clock seconds of the attempt that finished the step."""
    cpu_seconds: float = 0.0
    """CPU seconds of that attempt's processes."""
    environment: dict[str, str] = Field(default_factory=lambda: {"python": platform.python_version()})
    inputs: dict[str, str] = Field(default_factory=dict)
    """Digests of the documents that this one was made from, by name."""
    files: dict[str, FileEntry] = Field(default_factory=dict)
    """Small files beside the manifest, by name."""

    KIND: ClassVar[str] = "Document"
    _uri: str = PrivateAttr(default="")

    @property
    def uri(self) -> str:
        """The directory that this document was read from or published to."""
        return self._uri

    @property
    def digest(self) -> str:
        """sha256 of the canonical manifest without times: equal content, equal digest."""
        content = {key: value for key, value in self.model_dump(mode="json").items() if key not in _VOLATILE}
        return sha256(json.dumps(content, sort_keys=True).encode())

    @classmethod
    def exists(cls, uri: str) -> bool:
        """Whether a finished document is there."""
        return storage_for(uri).exists(join(uri, MANIFEST))

    @classmethod
    def read(cls, uri: str) -> Self:
        """Reads a manifest.

        Raises:
            DocumentError: it is missing, not JSON, of another kind, or of a schema version this nasflow cannot read.
        """
        manifest = join(uri, MANIFEST)
        try:
            content = json.loads(storage_for(uri).read(manifest))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DocumentError(
                f"{uri}: no {cls.KIND} here (no {MANIFEST}); the step that makes it has not finished"
            ) from error
        except ValueError as error:
            raise DocumentError(f"{manifest}: damaged: {error}") from error
        if content.get("kind") != cls.KIND:
            raise DocumentError(f"{uri}: expected a {cls.KIND}, found a {content.get('kind')!r}")
        if content.get("schema_version") != SCHEMA_VERSION:
            raise DocumentError(
                f"{manifest}: schema_version {content.get('schema_version')!r}; nasflow {VERSION} reads "
                f"{SCHEMA_VERSION}. Run the step again with this version"
            )
        try:
            document = cls.model_validate(content)
        except ValidationError as error:
            raise DocumentError(f"{manifest}: damaged: {error}") from error
        document._uri = uri
        return document

    def publish(self, uri: str, files: Mapping[str, bytes]) -> Self:
        """Writes `files`, then the manifest, into the directory `uri`; returns the published document."""
        entries = {name: FileEntry(size=len(data), sha256=sha256(data)) for name, data in sorted(files.items())}
        document = self.model_copy(update={"files": entries})
        storage = storage_for(uri)
        for name, data in files.items():
            storage.write(join(uri, name), data)
        storage.write(join(uri, MANIFEST), document.model_dump_json(indent=1).encode())
        document._uri = uri
        return document

    def copy_to(self, uri: str) -> Self:
        """Publishes the same document in another directory; the digest stays."""
        return self.publish(uri, {name: self.file(name) for name in self.files})

    def file(self, name: str) -> bytes:
        """A small file's bytes.

        Raises:
            DocumentError: it is not listed, gone, or its digest differs.
        """
        if name not in self.files:
            raise DocumentError(f"{self._uri}: {self.KIND} has no file {name!r}; it has {sorted(self.files)}")
        digest = self.files[name].sha256
        return _read_checked(join(self._uri, name), digest, since="it was written", remedy="run the step again")

    def json(self, name: str) -> Any:  # type: ignore[override]  # pydantic's deprecated namesake
        """A small JSON file, parsed."""
        return json.loads(self.file(name))

    def copy_file(self, name: str, path: str | Path) -> None:
        """Writes a small file to a local path, for a KFP artifact."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.file(name))


def _read_checked(uri: str, digest: str, *, since: str, remedy: str) -> bytes:
    try:
        data = storage_for(uri).read(uri)
    except FileNotFoundError as error:
        raise DocumentError(f"{uri}: missing; {remedy}") from error
    if sha256(data) != digest:
        raise DocumentError(f"{uri}: changed since {since} (sha256 differs); {remedy}")
    return data
