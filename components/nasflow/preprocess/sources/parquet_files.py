"""Parquet files: typed columns, read by row groups."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nasflow.core.errors import DataError
from nasflow.core.storage import is_local, local_path
from nasflow.preprocess.sources._base import BATCH_ROWS, SAMPLE_ROWS, Piece, Profile, RowBatch, Want
from nasflow.preprocess.sources.files import opened

_PIECE_ROWS = 1_000_000
_BUFFER_BYTES = 256 << 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ParquetSource:
    """One or more files with the same columns."""

    files: tuple[str, ...]
    want: Want | None = None
    """None: every column, as the file has it."""
    form: str = "Parquet"
    kind: Literal["table", "image"] = "table"
    text: bool = False

    def only(self, want: Want) -> "ParquetSource":
        return dataclasses.replace(self, want=want)

    def pieces(self) -> list[Piece]:
        """Neighbouring row groups, about a million rows together."""
        pieces: list[Piece] = []
        for file in self.files:
            with _open(file) as parquet:
                metadata = parquet.metadata
                start, first, rows = 0, 1, 0
                for group in range(metadata.num_row_groups):
                    rows += metadata.row_group(group).num_rows
                    if rows >= _PIECE_ROWS or group == metadata.num_row_groups - 1:
                        pieces.append(Piece(files=(file,), start=start, stop=group + 1, first_row=first, rows=rows))
                        start, first, rows = group + 1, first + rows, 0
        return pieces

    def profiles(self) -> Iterator[Profile]:
        """Types from every footer, values from the first file that has rows."""
        sampled = False
        for file in self.files:
            with _open(file) as parquet:
                schema = parquet.schema_arrow
                sample = _no_rows(schema)
                if not sampled and parquet.metadata.num_rows:
                    sample = next(parquet.iter_batches(SAMPLE_ROWS, use_threads=False))
                    sampled = True
            yield Profile(file=file, schema=schema, sample=sample)
        if not sampled:
            raise DataError(f"{self.files[0]}: no rows in it{' or in the others' * (len(self.files) > 1)}; name data")

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        """Batches of `BATCH_ROWS`."""
        (file,) = piece.files
        row = piece.first_row
        with _open(file, self.want) as parquet:
            groups = list(range(piece.start, piece.stop))
            names = None if self.want is None else list(self.want.names)
            for batch in parquet.iter_batches(BATCH_ROWS, row_groups=groups, columns=names, use_threads=False):
                if batch.num_rows:
                    yield RowBatch(files=piece.files, rows=np.arange(row, row + batch.num_rows), columns=batch)
                row += batch.num_rows


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _encoded(schema: pa.Schema, want: Want) -> list[str]:
    """Texts that are read as codes and a dictionary: Parquet has most of them so."""
    return [name for name in want.names if name in schema.names and pa.types.is_string(schema.field(name).type)]


@contextmanager
def _open(file: str, want: Want | None = None) -> Iterator[Any]:
    with opened(file) as handle:
        try:
            source = pa.OSFile(str(local_path(file))) if is_local(file) else handle  # without Python in between
            small = {"buffer_size": _BUFFER_BYTES, "pre_buffer": False}  # not whole row groups at once
            parquet = pq.ParquetFile(source, **small)
            if want is not None and (encoded := _encoded(parquet.schema_arrow, want)):
                parquet = pq.ParquetFile(source, metadata=parquet.metadata, read_dictionary=encoded, **small)
            yield parquet
        except (pa.ArrowException, OSError) as error:
            message = str(error).splitlines()[0]
            raise DataError(
                f"{file}: not a readable Parquet file ({message}); write it again, or take it out of data.train"
            ) from error
