"""What a source of rows offers. Sources know files and formats; what the values mean is decided elsewhere."""

import dataclasses
from collections.abc import Iterator
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.preprocess.dead_letters import DeadLetter

BATCH_ROWS = 65_536
SAMPLE_ROWS = 20_000
"""Rows of a file that types are inferred from."""
IMAGE = "image"
TEXT = "text"
"""The column of sources whose rows are texts."""

Role: TypeAlias = Literal["train", "test"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a source that one worker reads alone, in order."""

    files: tuple[str, ...]
    start: int = 0
    stop: int = 0
    """Row groups [start, stop) of a Parquet file; bytes [start, stop) of a long CSV or JSON lines file; else 0."""
    first_row: int = 1
    """Number of the piece's first data row in its file, from 1."""
    rows: int | None = None
    """How many rows it has, where the source knows without reading them."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RowBatch:
    """Rows as the file has them."""

    files: tuple[str, ...]
    """The file of all rows, or one file for each row."""
    rows: NDArray[np.int64]
    """Their numbers in the file, from 1."""
    columns: pa.RecordBatch
    dead: tuple[DeadLetter, ...] = ()
    """Rows, not among `columns`, that could not be read at all."""

    def file(self, row: int) -> str:
        """The file of a row of this batch."""
        return self.files[0] if len(self.files) == 1 else self.files[row]

    def files_of(self, rows: NDArray[np.int64]) -> pa.Array:
        """Arrow strings: the files of some rows of this batch."""
        if len(self.files) == 1:
            return pa.repeat(self.files[0], len(rows))
        return pa.array([self.files[row] for row in rows.tolist()], pa.string())


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """The columns that are read, and how."""

    names: tuple[str, ...]
    numbers: frozenset[str]
    """Those that hold numbers; a source may give them as such where all of a batch's cells are, else as it has
    them."""
    written: frozenset[str] = frozenset()
    """Those whose text is read as a number in the end, label and weight too: how their digits are written matters."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a table's file looks like from its beginning."""

    file: str
    schema: pa.Schema
    sample: pa.RecordBatch
    """At most `SAMPLE_ROWS` rows; may be empty for all but the first file of a typed format."""


class Source(Protocol):
    """Rows of one form. Implementations are small frozen dataclasses: Beam pickles them."""

    @property
    def form(self) -> str:
        """What to call it in a message: ``CSV``, ``Parquet``, …"""

    @property
    def kind(self) -> Literal["table", "image"]:
        """What a row is."""

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that is read."""

    @property
    def text(self) -> bool:
        """Whether every value is text whose type must be inferred (CSV)."""

    def pieces(self) -> list[Piece]:
        """All of it, in a fixed order."""

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        """Streams a piece.

        Raises:
            DataError: the file is damaged; names it.
        """


@runtime_checkable
class Choosy(Protocol):
    """A source that can leave columns out."""

    def only(self, want: Want) -> Source:
        """The same source with these columns. Texts may come dictionary-encoded."""


class TableSource(Source, Protocol):
    """A source of table rows."""

    def profiles(self) -> Iterator[Profile]:
        """One for each file."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ImageShape:
    """What images of a source look like."""

    encoding: Literal["array", "bytes"]
    height: int | None
    """None for encoded files, which may differ."""
    width: int | None
    channels: Literal[1, 3]


class ImageSource(Source, Protocol):
    """A source of images: the columns ``image`` (fixed-size or plain binary) and the label."""

    def shape(self) -> ImageShape:
        """From the header, or from a sample of the files."""
