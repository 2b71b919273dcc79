"""Arrow IPC files (``.arrow``, ``.feather``): typed columns, read by record batches. A file is one piece."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from nasflow.core.errors import DataError
from nasflow.preprocess.sources._base import BATCH_ROWS, SAMPLE_ROWS, Piece, Profile, RowBatch
from nasflow.preprocess.sources.files import opened

_FILE = b"ARROW1"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ArrowSource:
    """One or more files, or streams, with the same columns."""

    files: tuple[str, ...]
    form: str = "Arrow IPC"
    kind: Literal["table", "image"] = "table"
    text: bool = False

    def pieces(self) -> list[Piece]:
        return [Piece(files=(file,)) for file in self.files]

    def profiles(self) -> Iterator[Profile]:
        """Types from every file, values from its first batch that has rows."""
        sampled = False
        for file in self.files:
            with _open(file) as (schema, batches):
                first = next((batch for batch in batches if batch.num_rows), None)
                sampled |= first is not None
                nothing = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
                sample = nothing if first is None else first.slice(0, SAMPLE_ROWS)
            yield Profile(file=file, schema=schema, sample=sample)
        if not sampled:
            raise DataError(f"{self.files[0]}: no rows in it{' or in the others' * (len(self.files) > 1)}; name data")

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        """Batches of at most `BATCH_ROWS`."""
        (file,) = piece.files
        row = 1
        with _open(file) as (_, batches):
            for batch in batches:
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    part = batch.slice(start, BATCH_ROWS)
                    yield RowBatch(files=piece.files, rows=np.arange(row, row + part.num_rows), columns=part)
                    row += part.num_rows


@contextmanager
def _open(file: str) -> Iterator[tuple[pa.Schema, Iterator[Any]]]:
    """Schema and batches, of the file format (Feather V2) or the stream format."""
    with opened(file) as handle:
        try:
            begins = handle.read(len(_FILE))
            handle.seek(0)
            if begins == _FILE:
                reader = pa.ipc.open_file(handle)
                yield reader.schema, (reader.get_batch(place) for place in range(reader.num_record_batches))
            else:
                stream = pa.ipc.open_stream(handle)
                yield stream.schema, iter(stream)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # a failing disk or network says nothing about the file
            message = (str(error) or "empty").splitlines()[0]
            raise DataError(
                f"{file}: not a readable Arrow IPC file ({message}); write it again, or take it out of data.train"
            ) from error
