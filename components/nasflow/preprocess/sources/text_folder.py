"""A folder of text files, one subfolder a class."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from nasflow.preprocess.dead_letters import DeadLetter
from nasflow.preprocess.sources import class_folders
from nasflow.preprocess.sources._base import TEXT, Piece, Profile, RowBatch
from nasflow.preprocess.sources.class_folders import class_of
from nasflow.preprocess.sources.files import content

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
        batch = self._batch(class_folders.sampled(self.files, _SAMPLED)).columns
        yield Profile(file=self.root, schema=batch.schema, sample=batch)

    def pieces(self) -> list[Piece]:
        return class_folders.pieces(self.files, _PIECE_FILES)

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        for files in class_folders.batches(piece.files, _BATCH_FILES):
            yield self._batch(files)

    def _batch(self, files: Sequence[str]) -> RowBatch:
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
        owners = tuple(kept or files[:1])
        return RowBatch(files=owners, rows=np.ones(len(kept), np.int64), columns=columns, dead=tuple(dead))
