"""Opening the user's files: one that cannot be opened is the user's to repair, not a stack trace."""

import contextlib
from collections.abc import Iterator
from typing import IO

from nasflow.core.errors import DataError
from nasflow.core.storage import storage_for


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
