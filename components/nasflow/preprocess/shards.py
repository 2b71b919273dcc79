"""Writes the transformed rows of one piece: a Parquet shard for each split, the same bytes every time."""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nasflow.core.artifacts import SPLITS, Shard, Split
from nasflow.core.storage import join, sha256_of, storage_for
from nasflow.data.reader import LABEL, columns
from nasflow.data.tensors import dtype_of, is_whole
from nasflow.data.transform import TransformSpec

GROUP_ROWS = 16_384
_GROUP_BYTES = 64 << 20


def shard_schema(transform: TransformSpec) -> pa.Schema:
    """The columns of a shard; see `nasflow.data.reader`."""
    fields = []
    for tensor, names in columns(transform).items():
        dtype = np.dtype(dtype_of(tensor))
        if is_whole(tensor):
            size = int(np.prod(transform.inputs.shape(tensor))) * dtype.itemsize
            fields.append(pa.field(names[0], pa.binary(size), nullable=False))
        else:
            fields += [pa.field(name, pa.from_numpy_dtype(dtype), nullable=False) for name in names]
    kind = pa.float64() if transform.label.classes is None else pa.int32()
    return pa.schema([*fields, pa.field(LABEL, kind, nullable=False)])


def to_batch(
    tensors: dict[str, NDArray[np.generic]], labels: NDArray[np.generic], transform: TransformSpec
) -> pa.RecordBatch:
    """Tensors and labels as a batch of `shard_schema`."""
    schema = shard_schema(transform)
    arrays = []
    for tensor, names in columns(transform).items():
        values = tensors[tensor]
        if is_whole(tensor):
            flat = pa.py_buffer(np.ascontiguousarray(values).reshape(-1))
            arrays.append(pa.FixedSizeBinaryArray.from_buffers(schema.field(names[0]).type, len(values), [None, flat]))
        else:
            arrays += [pa.array(np.ascontiguousarray(values[:, place])) for place in range(len(names))]
    return pa.RecordBatch.from_arrays([*arrays, pa.array(labels)], schema=schema)


class ShardWriter:
    """The shards of one piece, written to a temporary folder and uploaded whole by `finish`.

    Row groups are cut at a fixed number of rows, so that the size of the batches that come in leaves no trace.
    """

    def __init__(self, transform: TransformSpec, uri: str, index: int) -> None:
        self._uri, self._index = uri, index
        self._schema = shard_schema(transform)
        row_bytes = sum(field.type.bit_width // 8 for field in self._schema)
        self._group_rows = max(64, min(GROUP_ROWS, _GROUP_BYTES // row_bytes))
        self._plain = {field.name for field in self._schema if not pa.types.is_integer(field.type)}
        self._pending: dict[str, list[pa.RecordBatch]] = {name: [] for name in SPLITS}
        self._writers: dict[str, Any] = {}
        self._rows = dict.fromkeys(SPLITS, 0)
        self._folder = tempfile.TemporaryDirectory(prefix="nasflow-shards-")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()
        self._folder.cleanup()

    def write(self, split: Split, batch: pa.RecordBatch) -> None:
        """Adds rows to a split's shard."""
        self._rows[split] += batch.num_rows
        self._pending[split].append(batch)
        self._flush(split, at_least=self._group_rows)

    def finish(self) -> dict[Split, Shard]:
        """Uploads; splits without rows have no shard."""
        shards: dict[Split, Shard] = {}
        for split in SPLITS:
            self._flush(split, at_least=1)
            if split not in self._writers:
                continue
            self._writers[split].close()
            path = self._path(split)
            uri = join(self._uri, split, f"part-{self._index:05d}.parquet")
            digest, size = sha256_of(str(path))
            storage_for(uri).upload(path, uri)
            shards[split] = Shard(uri=uri, size=size, sha256=digest, rows=self._rows[split])
        return shards

    def _flush(self, split: Split, *, at_least: int) -> None:
        pending = self._pending[split]
        rows = sum(batch.num_rows for batch in pending)
        if rows < at_least:
            return
        table = pa.Table.from_batches(pending, self._schema)
        whole = rows - rows % self._group_rows if at_least > 1 else rows
        if split not in self._writers:
            names = [name for name in self._schema.names if name not in self._plain]
            self._writers[split] = pq.ParquetWriter(
                self._path(split), self._schema, compression="zstd", use_dictionary=names, write_statistics=False
            )
        self._writers[split].write_table(table.slice(0, whole), row_group_size=self._group_rows)
        rest = table.slice(whole)
        self._pending[split] = rest.to_batches() if rest.num_rows else []

    def _path(self, split: str) -> Path:
        return Path(self._folder.name) / f"{split}.parquet"
