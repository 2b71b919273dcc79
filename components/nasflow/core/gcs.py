"""Google Cloud Storage behind the `Storage` protocol.

Atomicity is the service's own: an upload becomes visible whole, and ``if_generation_match`` makes `create` and `swap`
compare-and-swap. Only *upload* preconditions are used, because those are what the emulator in the tests enforces.
"""

import contextlib
import errno
import io
import time
from collections.abc import Callable, Iterator
from functools import cache, wraps
from pathlib import Path
from typing import IO, Any, TypeVar

from nasflow.core.errors import TryAgainError, UserError

_RETRY_DEADLINE_SECONDS = 120.0

F = TypeVar("F", bound=Callable[..., Any])


@contextlib.contextmanager
def _our_words(uri: str) -> Iterator[None]:
    """What the service refuses, or what no retry got through, as errors that every step knows: `PermissionError`
    (credentials that are no good, too), `FileNotFoundError` (the bucket) and `TryAgainError`."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        raise PermissionError(errno.EACCES, _said(error), uri) from error
    except exceptions.NotFound as error:
        raise FileNotFoundError(errno.ENOENT, f"no such object or bucket ({_said(error)})", uri) from error
    except (exceptions.RetryError, exceptions.ServerError, exceptions.TooManyRequests) as error:
        raise TryAgainError(f"{uri}: the store does not answer ({_said(error)}); run the same command again") from error
    except ConnectionError as error:
        raise TryAgainError(f"{uri}: the store cannot be reached ({error}); run the same command again") from error
    except GoogleAuthError as error:
        if _passes(error):
            raise TryAgainError(f"{uri}: no token to be had ({_said(error)}); run the same command again") from error
        raise PermissionError(errno.EACCES, f"Google refuses the credentials ({_said(error)})", uri) from error


def _in_our_words(method: F) -> F:
    """A method whose last argument, or second after a path, is the URI: `_our_words` around it."""

    @wraps(method)
    def asked(self: "GcsStorage", first: Any, *args: Any, **kwargs: Any) -> Any:
        with _our_words(args[0] if isinstance(first, Path) else first):
            return method(self, first, *args, **kwargs)

    return asked  # type: ignore[return-value]  # the same signature


class _Reader(io.RawIOBase):
    """An object that is read piece by piece: what goes wrong on the way is said in our words, too."""

    def __init__(self, uri: str, blob: Any) -> None:
        self._uri, self._blob = uri, blob

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _our_words(self._uri):
            return int(self._blob.seek(offset, whence))

    def tell(self) -> int:
        return int(self._blob.tell())

    def readinto(self, buffer: Any) -> int:
        with _our_words(self._uri):
            data = self._blob.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _passes(error: Exception) -> bool:
    """Whether waiting helps where no token could be had: the metadata server or the token's server did not answer. It
    says so by an error inside the error (google.auth 2.40 marks few as retryable itself)."""
    from google.auth.exceptions import TransportError

    within = error.args[0] if error.args else None
    return (
        isinstance(error, TransportError) or isinstance(within, TransportError) or bool(getattr(error, "retryable", 0))
    )


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


class GcsStorage:
    """One client for a process; every call retries transient errors with exponential back-off and jitter.

    Credentials are the environment's (workload identity, ``GOOGLE_APPLICATION_CREDENTIALS``); with
    ``STORAGE_EMULATOR_HOST`` set the client library talks to that emulator without credentials.
    """

    def __init__(self, client: Any) -> None:
        from google.cloud.storage.retry import DEFAULT_RETRY

        self._client = client
        self._retry = DEFAULT_RETRY.with_timeout(_RETRY_DEADLINE_SECONDS)

    @classmethod
    @cache
    def shared(cls) -> "GcsStorage":
        """The process's instance, made on first use.

        Raises:
            UserError: there are no credentials, or a key file that is none.
        """
        import os

        from google.auth.credentials import AnonymousCredentials
        from google.auth.exceptions import DefaultCredentialsError
        from google.cloud import storage

        if os.environ.get("STORAGE_EMULATOR_HOST"):
            return cls(storage.Client(project="emulator", credentials=AnonymousCredentials()))
        try:
            return cls(storage.Client())
        except (DefaultCredentialsError, OSError) as error:
            raise UserError(
                f"gs://: no credentials that Google's client can use ({_said(error)}); in a cluster bind the service "
                "account to a Google one (Workload Identity), elsewhere run `gcloud auth application-default login` or "
                "set GOOGLE_APPLICATION_CREDENTIALS to a key file"
            ) from error

    @_in_our_words
    def read(self, uri: str) -> bytes:
        with _missing_is_file_not_found(uri):
            return self._blob(uri).download_as_bytes(retry=self._retry)

    @_in_our_words
    def open(self, uri: str) -> IO[bytes]:
        if not self.exists(uri):
            raise FileNotFoundError(uri)
        return io.BufferedReader(_Reader(uri, self._blob(uri).open("rb", retry=self._retry)), 1 << 20)

    @_in_our_words
    def write(self, uri: str, data: bytes) -> None:
        self._blob(uri).upload_from_string(data, content_type=_CONTENT_TYPE, retry=self._retry)

    @_in_our_words
    def create(self, uri: str, data: bytes) -> bool:
        return self._upload_if(uri, data, generation=0)

    @_in_our_words
    def swap(self, uri: str, data: bytes, *, expected: bytes | None) -> bool:
        if expected is None:
            return self.create(uri, data)
        from google.api_core.exceptions import NotFound

        bucket, key = _split(uri)
        blob = self._client.bucket(bucket).get_blob(key, retry=self._retry)
        try:
            if blob is None or blob.download_as_bytes(retry=self._retry) != expected:
                return False
        except NotFound:  # this very generation is asked for: another writer has replaced it since
            return False
        return self._upload_if(uri, data, generation=blob.generation)

    @_in_our_words
    def append(self, uri: str, line: bytes) -> None:
        for _ in range(_APPEND_TRIES):
            old = self.read(uri) if self.exists(uri) else None
            if self.swap(uri, (old or b"") + line.rstrip(b"\n") + b"\n", expected=old):
                return
        raise OSError(f"{uri}: another writer keeps changing it")

    @_in_our_words
    def upload(self, path: Path, uri: str) -> None:
        blob = self._blob(uri)
        blob.chunk_size = _PIECE_BYTES  # the library's own is 100 MB: what a failure in it costs
        blob.upload_from_filename(str(path), content_type=_CONTENT_TYPE, retry=self._retry)

    @_in_our_words
    def exists(self, uri: str) -> bool:
        return bool(self._blob(uri).exists(retry=self._retry))

    @_in_our_words
    def list(self, uri: str) -> list[str]:
        bucket, key = _split(uri)
        prefix = key.rstrip("/") + "/" if key else ""
        blobs = self._client.list_blobs(bucket, prefix=prefix, retry=self._retry)
        return sorted(f"gs://{bucket}/{blob.name}" for blob in blobs if not blob.name.endswith("/"))

    @_in_our_words
    def fingerprint(self, uri: str) -> str:
        bucket, key = _split(uri)
        blob = self._client.bucket(bucket).get_blob(key, retry=self._retry)
        if blob is None:
            raise FileNotFoundError(uri)
        return f"{blob.size}-{blob.md5_hash or blob.crc32c}"

    @_in_our_words
    def age_seconds(self, uri: str) -> float:
        bucket, key = _split(uri)
        blob = self._client.bucket(bucket).get_blob(key, retry=self._retry)
        if blob is None:
            raise FileNotFoundError(uri)
        return max(0.0, time.time() - blob.updated.timestamp())

    @_in_our_words
    def delete(self, uri: str) -> None:
        from google.api_core.exceptions import NotFound

        with contextlib.suppress(NotFound):
            self._blob(uri).delete(retry=self._retry)

    @contextlib.contextmanager
    def lock(self, uri: str) -> Iterator[None]:
        """No lock: on a cluster KFP runs one pod a task, and every document is created once or swapped."""
        yield

    def _blob(self, uri: str) -> Any:
        bucket, key = _split(uri)
        return self._client.bucket(bucket).blob(key)

    def _upload_if(self, uri: str, data: bytes, *, generation: int) -> bool:
        from google.api_core.exceptions import PreconditionFailed

        try:
            self._blob(uri).upload_from_string(
                data, content_type=_CONTENT_TYPE, if_generation_match=generation, retry=self._retry
            )
        except PreconditionFailed:
            # A retried upload whose first answer was lost also ends here: it is ours if the bytes are.
            return self.exists(uri) and self.read(uri) == data
        return True


_CONTENT_TYPE = "application/octet-stream"
_APPEND_TRIES = 8
_PIECE_BYTES = 8 << 20
"""Bigger files go up in resumable pieces of this size, and become visible with the last one."""


@contextlib.contextmanager
def _missing_is_file_not_found(uri: str) -> Iterator[None]:
    from google.api_core.exceptions import NotFound

    try:
        yield
    except NotFound as error:
        raise FileNotFoundError(uri) from error


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("gs://").partition("/")
    return bucket, key
