"""Where bytes live: one small interface over local paths and ``gs://``.

A URI is a local path (absolute or relative; ``file://`` is accepted) or ``gs://bucket/key``. Every write is atomic:
readers see the old object, the new one, or none. `create` is the only mutual exclusion that nasflow relies on.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from nasflow.core.errors import NasflowError, UserError

logger = logging.getLogger(__name__)

TEMPORARY = ".tmp-"
"""Begins the names of files that are still being written, or that a killed writer left."""


class Storage(Protocol):
    """What a backend offers. All methods raise `FileNotFoundError` for an object that is not there."""

    def read(self, uri: str) -> bytes:
        """The whole object."""

    def open(self, uri: str) -> IO[bytes]:
        """A seekable reader."""

    def write(self, uri: str, data: bytes) -> None:
        """Creates or replaces, atomically."""

    def create(self, uri: str, data: bytes) -> bool:
        """Creates, atomically; False, and nothing changed, where the object already exists."""

    def swap(self, uri: str, data: bytes, *, expected: bytes | None) -> bool:
        """Replaces the object if it still holds `expected` (None: if it does not exist); False where it does not."""

    def append(self, uri: str, line: bytes) -> None:
        """Adds one line, durably. One writer at a time (see `nasflow.core.workspace`)."""

    def upload(self, path: Path, uri: str) -> None:
        """Writes a local file, atomically."""

    def exists(self, uri: str) -> bool:
        """Whether the object is there."""

    def list(self, uri: str) -> list[str]:
        """URIs of all objects below a folder, sorted; empty where there are none. For sources only: readers of
        documents never list."""

    def fingerprint(self, uri: str) -> str:
        """Changes when the object changes; cheap: it does not read the data."""

    def age_seconds(self, uri: str) -> float:
        """Since the object was last written."""

    def delete(self, uri: str) -> None:
        """Removes the object; nothing happens where there is none."""

    def lock(self, uri: str) -> contextlib.AbstractContextManager[None]:
        """Waits for, then holds, the only writer's place below `uri`; released when the process ends, however."""


class LocalStorage:
    """Files. Atomic by temporary name, fsync and rename."""

    def read(self, uri: str) -> bytes:
        return local_path(uri).read_bytes()

    def open(self, uri: str) -> IO[bytes]:
        return local_path(uri).open("rb")

    def write(self, uri: str, data: bytes) -> None:
        with self._temporary(uri) as (file, temporary):
            file.write(data)
            _sync(file)
            temporary.replace(local_path(uri))

    def create(self, uri: str, data: bytes) -> bool:
        with self._temporary(uri) as (file, temporary):
            file.write(data)
            _sync(file)
            try:
                os.link(temporary, local_path(uri))
            except FileExistsError:
                return False
            return True

    def swap(self, uri: str, data: bytes, *, expected: bytes | None) -> bool:
        if expected is None:
            return self.create(uri, data)
        with self.lock(uri + ".lock"):
            if not self.exists(uri) or self.read(uri) != expected:
                return False
            self.write(uri, data)
            return True

    def append(self, uri: str, line: bytes) -> None:
        path = local_path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # the writer before us was killed inside its line: close that line off
                    file.write(b"\n")
            file.write(line.rstrip(b"\n") + b"\n")
            _sync(file)

    def upload(self, path: Path, uri: str) -> None:
        with self._temporary(uri) as (file, temporary):
            with path.open("rb") as source:
                while chunk := source.read(1 << 20):
                    file.write(chunk)
            _sync(file)
            temporary.replace(local_path(uri))

    def exists(self, uri: str) -> bool:
        return local_path(uri).exists()

    def list(self, uri: str) -> list[str]:
        root = local_path(uri)
        return sorted(str(path) for path in root.rglob("*") if path.is_file())

    def fingerprint(self, uri: str) -> str:
        stat = local_path(uri).stat()
        return f"{stat.st_size}-{stat.st_mtime_ns}"

    def age_seconds(self, uri: str) -> float:
        return max(0.0, time.time() - local_path(uri).stat().st_mtime)

    def delete(self, uri: str) -> None:
        local_path(uri).unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, uri: str) -> Iterator[None]:
        path = local_path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.info("waiting: another process works in %s", path.parent)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _temporary(self, uri: str) -> Iterator[tuple[IO[bytes], Path]]:
        path = local_path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), 0o666 & ~_umask())  # mkstemp's 0600 would hide it from other users
                yield file, temporary
        finally:
            temporary.unlink(missing_ok=True)


def storage_for(uri: str) -> Storage:
    """The backend of a URI.

    Raises:
        UserError: a scheme that nasflow does not speak.
    """
    if uri.startswith("gs://"):
        from nasflow.core.gcs import GcsStorage

        return GcsStorage.shared()
    if "://" in uri and not uri.startswith("file://"):
        raise UserError(f"storage: cannot use {uri!r}; name a local path or gs://bucket/key")
    return LocalStorage()


def local_path(uri: str) -> Path:
    """The path of a local URI.

    >>> str(local_path("file:///data/a.csv"))
    '/data/a.csv'
    """
    return Path(uri.removeprefix("file://"))


def is_local(uri: str) -> bool:
    """Whether a URI names a local file."""
    return "://" not in uri or uri.startswith("file://")


def absolute(uri: str) -> str:
    """The URI with a local path made absolute: manifests carry no other."""
    return str(local_path(uri).expanduser().resolve()) if is_local(uri) else uri.rstrip("/")


def join(uri: str, *parts: str) -> str:
    """Appends path segments.

    >>> join("gs://bucket/a/", "b", "c.json")
    'gs://bucket/a/b/c.json'
    """
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts)])


def sha256(data: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(data).hexdigest()


def sha256_of(uri: str) -> tuple[str, int]:
    """(hex digest, size in bytes) of an object, read in pieces."""
    digest, size = hashlib.sha256(), 0
    with storage_for(uri).open(uri) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def assert_writable(uri: str) -> None:
    """Creates and removes an object below `uri`.

    Raises:
        UserError: it cannot be written, with the reason.
    """
    probe = join(uri, f".write-test-{os.getpid()}")
    try:
        storage = storage_for(uri)
        storage.write(probe, b"")
        storage.delete(probe)
    except NasflowError:
        raise
    except Exception as error:  # whatever the file system or the cloud client says, the user can act on
        raise UserError(
            f"work_dir: cannot write to {uri!r} ({type(error).__name__}: {error}); "
            "name a folder or gs:// prefix that this user may write"
        ) from error


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current
