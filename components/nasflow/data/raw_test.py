"""The test rows as they came: what another model, with another transform, is judged on."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nasflow.core.artifacts import Dataset


def read_raw_test(dataset: Dataset) -> dict[str, NDArray[Any]] | None:
    """Columns as `nasflow.data.raw.raw_batch` makes them, in the order of the test split's rows: float64 [n] with NaN
    ([n, length] for vectors), or object[str] [n] with "" where missing. None for images, and for a Dataset of before
    raw rows were kept.

    Raises:
        DocumentError: a shard is gone or changed.
    """
    if not dataset.raw_test:
        return None
    tables = []
    for shard in dataset.raw_test:
        data = shard.read(since="preprocess wrote it", remedy="run preprocess again")
        tables.append(pq.read_table(pa.BufferReader(data), use_threads=False))
    table = pa.concat_tables(tables)
    return {name: _values(table.column(name)) for name in table.column_names}


def _values(column: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_floating(column.type):
        numbers: NDArray[np.float64] = column.to_numpy()
        return numbers
    if pa.types.is_fixed_size_list(column.type):
        flat = column.combine_chunks().flatten()
        vectors: NDArray[np.float64] = flat.to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
        return vectors
    text = np.empty(len(column), object)
    text[:] = ["" if value is None else value for value in column.to_pylist()]
    return text
