"""A folder of text files, one subfolder a class."""

import dataclasses
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa

from nasflow.core.errors import DataError
from nasflow.preprocess.dead_letters import DeadLetter
from nasflow.preprocess.sources._base import SAMPLE_ROWS, TEXT, Piece, Profile, RowBatch
from nasflow.preprocess.sources.files import content
from nasflow.preprocess.sources.image_folder import class_of

SUFFIXES = (".txt", ".text", ".md")
NOT_UTF8 = "not UTF-8 text"
_BATCH_FILES = 1024
_PIECE_FILES = 16_384
_SAMPLED = 1_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TextFolder:
    """Every text file below a class folder is a row; other files are not. Columns: ``text`` and the label."""

    root: str
    label: str
    files: tuple[str, ...]
    form: str = "text folder"
    kind: Literal["table", "image"] = "table"
    text: bool = False

    def profiles(self) -> Iterator[Profile]:
        """One, of `_SAMPLED` files evenly spread; a folder of millions is not read for it."""
        places = np.unique(np.linspace(0, len(self.files) - 1, min(_SAMPLED, SAMPLE_ROWS, len(self.files))).astype(int))
        batch = self._batch(tuple(self.files[place] for place in places)).columns
        yield Profile(file=self.root, schema=batch.schema, sample=batch)

    def pieces(self) -> list[Piece]:
        starts = range(0, len(self.files), _PIECE_FILES)
        return [Piece(files=self.files[start : start + _PIECE_FILES]) for start in starts]

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        for start in range(0, len(piece.files), _BATCH_FILES):
            yield self._batch(piece.files[start : start + _BATCH_FILES])

    def _batch(self, files: tuple[str, ...]) -> RowBatch:
        texts: list[str] = []
        kept: list[str] = []
        dead: list[DeadLetter] = []
        for file in files:
            data = content(file)
            try:
                texts.append(data.decode("utf-8-sig"))
                kept.append(file)
            except UnicodeDecodeError as error:
                shown = data[max(0, error.start - 20) : error.start + 20].decode("utf-8", "backslashreplace")
                dead.append(DeadLetter.of(file=file, row=1, column=TEXT, value=shown, reason=NOT_UTF8))
        classes = [class_of(self.root, file) for file in kept]
        columns = pa.RecordBatch.from_pydict(
            {TEXT: pa.array(texts, pa.string()), self.label: pa.array(classes, pa.string())}
        )
        owners = tuple(kept) if len(kept) != 1 else (kept[0],)
        return RowBatch(files=owners or files[:1], rows=np.ones(len(kept), np.int64), columns=columns, dead=tuple(dead))


def class_texts(root: str, files: list[str]) -> tuple[str, ...]:
    """The text files in class folders, sorted.

    Raises:
        DataError: there are none, or some are beside the class folders.
    """
    texts = sorted(file for file in files if file.lower().endswith(SUFFIXES))
    classed = [file for file in texts if class_of(root, file)]
    if not classed:
        raise DataError(
            f"{root}: {len(texts):,} text files but no class folders; put each text into a folder named after its "
            f"class, e.g. {root}/sport/1.txt"
        )
    return tuple(classed)
