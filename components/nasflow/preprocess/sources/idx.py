"""IDX files, the format of MNIST and Fashion-MNIST: big-endian header, then bytes; optionally gzipped."""

import contextlib
import dataclasses
import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.core.storage import storage_for
from nasflow.preprocess.sources._base import ImageShape, Piece, RowBatch
from nasflow.preprocess.sources.arrays import image_batch
from nasflow.preprocess.sources.files import opened

_UINT8 = 0x08
_CHUNK_BYTES = 16 << 20
_NAME = re.compile(r"images([-.])idx3")


def is_idx(file: str) -> bool:
    """Whether the name is that of an IDX images file."""
    return _NAME.search(file.rpartition("/")[2]) is not None


def labels_file(images: str) -> str:
    """The labels file beside an images file, gzipped or not.

    Raises:
        DataError: there is none.
    """
    folder, slash, name = images.rpartition("/")
    plain = (folder + slash + _NAME.sub(r"labels\1idx1", name)).removesuffix(".gz")
    for candidate in (plain + ".gz", plain) if images.endswith(".gz") else (plain, plain + ".gz"):
        if storage_for(candidate).exists(candidate):
            return candidate
    raise DataError(f"{images}: no labels beside it; expected {plain} or {plain}.gz")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IdxSource:
    """One images file and its labels file."""

    files: tuple[str, ...]
    """Images, labels."""
    label: str
    copy: str | None = None
    """A local file with what is inside the gzipped images, where there is one; see `sources.inflated`."""
    form: str = "IDX"
    kind: Literal["table", "image"] = "image"
    text: bool = False

    def shape(self) -> ImageShape:
        count, height, width = self._header()
        if count == 0:
            raise DataError(f"{self.files[0]}: no images in it")
        return ImageShape(encoding="array", height=height, width=width, channels=1)

    def pieces(self) -> list[Piece]:
        return [Piece(files=self.files)]

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        images, labels = piece.files
        count, height, width = self._header()
        with _open(labels) as handle:
            answers = _exactly(handle, _dimensions(handle, labels, 1)[0], labels)
        rows = max(1, _CHUNK_BYTES // (height * width))
        with _open(images, self.copy) as handle:
            _dimensions(handle, images, 3)
            for start in range(0, count, rows):
                size = min(rows, count - start)
                pixels = _exactly(handle, size * height * width, images).reshape(size, height, width, 1)
                yield image_batch(images, start + 1, pixels, answers[start : start + size], self.label)

    def _header(self) -> tuple[int, int, int]:
        images, labels = self.files
        with _open(images, self.copy) as handle:
            count, height, width = _dimensions(handle, images, 3)
        with _open(labels) as handle:
            (answers,) = _dimensions(handle, labels, 1)
        if answers != count:
            raise DataError(f"{labels}: {answers:,} labels for {count:,} images in {images}; they must be as many")
        return count, height, width


def _dimensions(handle: IO[bytes], file: str, rank: int) -> tuple[int, ...]:
    header = handle.read(4 + 4 * rank)
    if len(header) < 4 + 4 * rank or header[:2] != b"\0\0" or header[2] != _UINT8 or header[3] != rank:
        raise DataError(f"{file}: not an IDX file of {rank}-dimensional bytes (it begins with {header[:4].hex()!r})")
    sizes = struct.unpack(f">{rank}I", header[4:])
    if math.prod(sizes[1:]) == 0:
        raise DataError(f"{file}: an IDX file with the empty shape {list(sizes)}")
    return sizes


def _exactly(handle: IO[bytes], size: int, file: str) -> NDArray[np.uint8]:
    data = handle.read(size)
    if len(data) != size:
        raise DataError(f"{file}: truncated: {size - len(data):,} bytes are missing; copy it again")
    return np.frombuffer(data, np.uint8)


@contextlib.contextmanager
def _open(file: str, copy: str | None = None) -> Iterator[IO[bytes]]:
    if copy is not None:
        with opened(copy) as plain:
            yield plain
        return
    with opened(file) as raw:
        try:
            if file.endswith(".gz"):
                with gzip.open(raw) as handle:
                    yield cast("IO[bytes]", handle)
            else:
                yield raw
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{file}: a damaged gzip file: {error}; copy it again") from error
