"""A folder of image files, one subfolder a class."""

import dataclasses
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa

from nasflow.core.errors import DataError
from nasflow.data.image import is_grayscale
from nasflow.preprocess.sources._base import IMAGE, ImageShape, Piece, RowBatch
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
        places = np.unique(np.linspace(0, len(self.files) - 1, min(_SAMPLED, len(self.files))).astype(int))
        gray = []
        for file in (self.files[place] for place in places):
            try:
                gray.append(is_grayscale(content(file)))
            except DataError:
                continue  # reading the rows makes a dead letter of it
        return ImageShape(encoding="bytes", height=None, width=None, channels=1 if gray and all(gray) else 3)

    def pieces(self) -> list[Piece]:
        starts = range(0, len(self.files), _PIECE_FILES)
        return [Piece(files=self.files[start : start + _PIECE_FILES]) for start in starts]

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        for start in range(0, len(piece.files), _BATCH_FILES):
            files = piece.files[start : start + _BATCH_FILES]
            data = pa.array([content(file) for file in files], pa.large_binary())
            classes = pa.array([class_of(self.root, file) for file in files], pa.string())
            batch = pa.RecordBatch.from_arrays([data, classes], names=[IMAGE, self.label])
            yield RowBatch(files=files, rows=np.ones(len(files), np.int64), columns=batch)


def class_of(root: str, file: str) -> str:
    """The first folder below the root; empty for a file that is in the root itself."""
    below = file.removeprefix(root.rstrip("/") + "/")
    return below.split("/", 1)[0] if "/" in below else ""


def class_images(root: str, files: list[str]) -> tuple[str, ...]:
    """The image files in class folders, sorted.

    Raises:
        DataError: there are none.
    """
    images = [file for file in files if file.lower().endswith(SUFFIXES)]
    classed = sorted(file for file in images if class_of(root, file))
    if not classed:
        what = f"{len(images):,} images but no class folders" if images else "no image files"
        raise DataError(f"{root}: {what}; put each image into a folder named after its class, e.g. {root}/cat/1.png")
    return tuple(classed)
