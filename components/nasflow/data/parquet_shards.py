"""Shards as version 0.1 wrote them: Parquet, with one flat column for each column of a tensor.

``numeric/NAME``, ``missing/NAME`` and others float32, ``categorical/NAME`` and ``discrete/NAME`` int32, whole tensors
fixed-size binary (little-endian, row-major), and ``label`` int32 or float64.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.core.errors import DocumentError
from nasflow.data.layout import LABEL
from nasflow.data.tensors import dtype_of, is_whole
from nasflow.data.transform import TransformSpec

SUFFIX = ".parquet"


def columns(transform: TransformSpec) -> dict[str, list[str]]:
    """The shard's columns, by tensor, in the tensor's order."""
    return {tensor: [part.name for part in parts] for tensor, parts in transform.parts.items()}


def fill(data: Any, rows: int, transform: TransformSpec, targets: dict[str, NDArray[np.generic]]) -> None:
    """Reads a shard's bytes into `targets`, by tensor and ``label``.

    Raises:
        DocumentError: it has not so many rows.
        KeyError, ArrowException: it is no shard of this transform.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(data))
    if file.metadata.num_rows != rows:
        raise DocumentError(f"{file.metadata.num_rows} rows, the manifest says {rows}")
    start = 0
    for group in range(file.metadata.num_row_groups):
        table = file.read_row_group(group, use_threads=False)
        stop = start + table.num_rows
        for tensor, names in columns(transform).items():
            target = targets[tensor][start:stop]
            for place, name in enumerate(names):
                if is_whole(tensor):
                    target[:] = _whole(table[name].combine_chunks(), target.shape[1:], dtype_of(tensor))
                else:
                    target[:, place] = table[name].to_numpy()
        targets[LABEL][start:stop] = table[LABEL].to_numpy()
        start = stop


def _whole(column: pa.Array, shape: tuple[int, ...], dtype: str) -> NDArray[np.generic]:
    """A fixed-size binary Arrow array as [n, *shape], without a copy."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    size = np.dtype(dtype).newbyteorder("<")
    values: NDArray[np.generic] = np.frombuffer(column.buffers()[1], size)
    first = column.offset * column.type.byte_width // size.itemsize
    return values[first : first + len(column) * int(np.prod(shape))].reshape(len(column), *shape)
