"""Opening the user's files: one that cannot be opened is the user's to repair, not a stack trace."""

import bz2
import contextlib
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

import pyarrow as pa

from nasflow.core.errors import DataError
from nasflow.core.storage import storage_for

COMPRESSED = (".gz", ".bz2", ".zst")
"""What `decompressed` takes off, by the end of the name."""


class Stream(io.RawIOBase):
    """A reader made of a function that returns at most so many bytes, none at the end. Wrap it in a BufferedReader."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@contextlib.contextmanager
def decompressed(file: str) -> Iterator[IO[bytes]]:
    """A reader of what is inside ``.gz``, ``.bz2`` and ``.zst``, and of any other file as it is.

    Raises:
        DataError: see `opened`; or it is damaged.
    """
    suffix = next((suffix for suffix in COMPRESSED if file.lower().endswith(suffix)), None)
    with opened(file) as raw:
        if suffix is None:
            yield raw
            return
        try:
            with _inside(raw, suffix) as handle:
                yield handle
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{file}: a damaged gzip or bzip2 file: {error}; copy it again") from error
        except OSError as error:
            if error.errno is not None:  # a failing disk or network says nothing about the file
                raise
            raise DataError(f"{file}: a damaged {suffix} file: {error}; copy it again") from error


def _inside(raw: IO[bytes], suffix: str) -> IO[bytes]:
    if suffix == ".gz":
        return cast("IO[bytes]", gzip.open(raw))
    if suffix == ".bz2":
        return bz2.open(raw)
    stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
    return cast("IO[bytes]", io.BufferedReader(Stream(stream.read), 1 << 20))


@contextlib.contextmanager
def opened(file: str) -> Iterator[IO[bytes]]:
    """A seekable reader.

    Raises:
        DataError: the file is gone or may not be read.
    """
    with _readable(file):
        handle = storage_for(file).open(file)
    with handle:
        yield handle


def content(file: str) -> bytes:
    """The whole file.

    Raises:
        DataError: see `opened`.
    """
    with _readable(file):
        return storage_for(file).read(file)


@contextlib.contextmanager
def _readable(file: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        reason = getattr(error, "strerror", None) or "no such file"
        raise DataError(f"{file}: cannot be read ({reason}); look at the path and its permissions") from error
