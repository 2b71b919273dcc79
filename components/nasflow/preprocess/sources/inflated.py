"""Gzipped images, inflated once for a run in this process: every pass over the data would inflate them again."""

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from nasflow.core.errors import DataError
from nasflow.preprocess.sources.files import opened
from nasflow.preprocess.sources.find import Sources
from nasflow.preprocess.sources.idx import IdxSource

_BLOCK_BYTES = 1 << 20


@contextlib.contextmanager
def inflated(sources: Sources, folder: Path) -> Iterator[Sources]:
    """The same sources, which read gzipped IDX files from copies in a temporary folder below `folder`; it is removed in
    the end. Rows, file names and messages stay as they are.

    Raises:
        DataError: a file is damaged.
    """
    zipped = {role: source for role, source in sources.by_role.items() if _is_zipped(source)}
    if not zipped:
        yield sources
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder) as name:
        copies: dict[str, Any] = {}
        for role, source in zipped.items():
            images = cast("IdxSource", source).files[0]
            copy = Path(name, role)
            _inflate(images, copy)
            copies[role] = dataclasses.replace(cast("IdxSource", source), copy=str(copy))
        yield dataclasses.replace(sources, **copies)


def _is_zipped(source: Any) -> bool:
    return isinstance(source, IdxSource) and source.files[0].endswith(".gz")


def _inflate(file: str, copy: Path) -> None:
    with opened(file) as raw, copy.open("wb") as sink:
        try:
            with pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "gzip") as stream:  # a third less than gzip's
                shutil.copyfileobj(stream, sink, _BLOCK_BYTES)
        except OSError as error:
            if error.errno is not None:  # a disk or a network that fails says nothing about the file
                raise
            raise DataError(f"{file}: a damaged gzip file: {error}; copy it again") from error
