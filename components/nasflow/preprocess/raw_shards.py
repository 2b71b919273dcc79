"""Keeps the test rows as they came, beside the transformed ones: another model has another transform, and can be judged
on the same rows only if they are still there. Tables only; an image's shard holds its pixels.
"""

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nasflow.core.artifacts import Shard
from nasflow.core.storage import join, sha256_of
from nasflow.data.codes import Codes
from nasflow.preprocess.clean import CleanRows
from nasflow.preprocess.publish import publish, writing_folder

_GROUP_ROWS = 16_384


@dataclasses.dataclass(slots=True)
class RawWriter:
    """The raw test rows of one piece. Row groups are cut at a fixed number of rows, as in `ShardWriter`."""

    uri: str
    index: int
    _pending: list[pa.RecordBatch] = dataclasses.field(default_factory=list)
    _folder: Any = None
    _writer: Any = None
    _rows: int = 0

    def write(self, rows: CleanRows) -> None:
        """Adds rows, in the order of the transformed ones."""
        if rows.images is not None or not rows.rows:
            return
        self._pending.append(to_raw_batch(rows))
        self._rows += rows.rows
        self._flush(at_least=_GROUP_ROWS)

    def finish(self) -> Shard | None:
        """Uploads; None where there were no rows."""
        try:
            self._flush(at_least=1)
            if self._writer is None:
                return None
            self._writer.close()
            path = Path(self._folder.name, "raw.parquet")
            uri = join(self.uri, "raw_test", f"part-{self.index:05d}.parquet")
            digest, size = sha256_of(str(path))
            publish(path, uri)
            return Shard(uri=uri, size=size, sha256=digest, rows=self._rows)
        finally:
            if self._folder is not None:
                self._folder.cleanup()

    def _flush(self, *, at_least: int) -> None:
        rows = sum(batch.num_rows for batch in self._pending)
        if rows < at_least:
            return
        table = pa.Table.from_batches(self._pending)
        if self._writer is None:
            self._folder = writing_folder(self.uri)
            path = Path(self._folder.name, "raw.parquet")
            self._writer = pq.ParquetWriter(path, table.schema, compression="zstd", write_statistics=False)
        whole = rows - rows % _GROUP_ROWS if at_least > 1 else rows
        self._writer.write_table(table.slice(0, whole), row_group_size=_GROUP_ROWS)
        rest = table.slice(whole)
        self._pending = rest.to_batches() if rest.num_rows else []


def to_raw_batch(rows: CleanRows) -> pa.RecordBatch:
    """Each raw column under its own name: float64 with NaN and ±inf (vectors: fixed-size lists), or text with nulls."""
    return pa.RecordBatch.from_pydict({name: _array(values) for name, values in rows.raw.items()})


def _array(values: Any) -> pa.Array:
    if isinstance(values, Codes):
        return values.text()
    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    return pa.array(values)
