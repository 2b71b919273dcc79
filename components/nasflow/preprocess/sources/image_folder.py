"""A folder of image files, one subfolder a class."""

import dataclasses
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa

from nasflow.core.errors import DataError
from nasflow.data.image import is_grayscale
from nasflow.preprocess.sources import class_folders
from nasflow.preprocess.sources._base import IMAGE, ImageShape, Piece, RowBatch
from nasflow.preprocess.sources.class_folders import class_of
from nasflow.preprocess.sources.files import content

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_BATCH_FILES = 256
_PIECE_FILES = 4096
_SAMPLED = 64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ImageFolder:
    """Every image file below a class folder; other files are not rows."""

    root: str
    label: str
    files: tuple[str, ...]
    form: str = "image folder"
    kind: Literal["table", "image"] = "image"
    text: bool = False

    def shape(self) -> ImageShape:
        """Grayscale where all of `_SAMPLED` files, evenly spread, are. Damaged ones do not count here."""
        gray = []
        for file in class_folders.sampled(self.files, _SAMPLED):
            try:
                gray.append(is_grayscale(content(file)))
            except DataError:
                continue  # reading the rows makes a dead letter of it
        return ImageShape(encoding="bytes", height=None, width=None, channels=1 if gray and all(gray) else 3)

    def pieces(self) -> list[Piece]:
        return class_folders.pieces(self.files, _PIECE_FILES)

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        for files in class_folders.batches(piece.files, _BATCH_FILES):
            data = pa.array([content(file) for file in files], pa.large_binary())
            classes = pa.array([class_of(self.root, file) for file in files], pa.string())
            batch = pa.RecordBatch.from_arrays([data, classes], names=[IMAGE, self.label])
            yield RowBatch(files=files, rows=np.ones(len(files), np.int64), columns=batch)


def class_images(root: str, files: list[str]) -> tuple[str, ...]:
    """The image files in class folders, sorted.

    Raises:
        DataError: there are none.
    """
    if found := class_folders.classed(root, files, SUFFIXES):
        return found
    beside = sum(file.lower().endswith(SUFFIXES) for file in files)
    what = f"{beside:,} images but no class folders" if beside else "no image files"
    raise DataError(f"{root}: {what}; put each image into a folder named after its class, e.g. {root}/cat/1.png")
