"""Reads a Dataset's shards into memory: the one reader that search, train and evaluate share.

A shard is a Parquet file with one flat column for each column of a tensor (`TransformSpec.parts`): ``numeric/NAME``,
``missing/NAME`` and others float32, ``categorical/NAME`` and ``discrete/NAME`` int32, ``image`` (uint8) and
``text/NAME`` (int32) fixed-size binary, row-major and little-endian, and ``label`` int32 or float64. Flat columns are
the fastest to read back (each one is a copy of a buffer) and keep every bit of a float32.
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nasflow.core.artifacts import Dataset, Shard, Split
from nasflow.core.errors import DocumentError
from nasflow.core.storage import sha256, storage_for
from nasflow.data.schema import Schema
from nasflow.data.tensors import Tensors, dtype_of, is_whole
from nasflow.data.transform import TransformSpec

LABEL = "label"
IMAGE = "image"


def read_schema(dataset: Dataset) -> Schema:
    """``schema.json``.

    Raises:
        DocumentError: the document is damaged.
    """
    return Schema.model_validate(dataset.json("schema.json"))


def read_transform(dataset: Dataset) -> TransformSpec:
    """``transform.json``.

    Raises:
        DocumentError: the document is damaged.
    """
    return TransformSpec.model_validate(dataset.json("transform.json"))


def columns(transform: TransformSpec) -> dict[str, list[str]]:
    """The shard's columns, by tensor, in the tensor's order."""
    return {tensor: [part.name for part in parts] for tensor, parts in transform.parts.items()}


def read(dataset: Dataset, split: Split) -> Tensors:
    """All rows of a split, in the manifest's order; the digest of every shard is checked.

    Raises:
        DocumentError: a shard is gone, changed, or not what the manifest says.
    """
    transform = read_transform(dataset)
    shards = dataset.shards.get(split, ())
    rows = sum(shard.rows for shard in shards)
    tensors, labels = _empty(transform, rows)
    start = 0
    for shard in shards:
        stop = start + shard.rows
        _fill(shard, transform, {name: values[start:stop] for name, values in tensors.items()}, labels[start:stop])
        start = stop
    return Tensors(inputs=tensors, labels=labels)


def _empty(transform: TransformSpec, rows: int) -> tuple[dict[str, NDArray[np.generic]], NDArray[np.generic]]:
    inputs = transform.inputs
    tensors: dict[str, NDArray[np.generic]] = {
        tensor: np.empty((rows, *inputs.shape(tensor)), dtype_of(tensor)) for tensor in transform.parts
    }
    return tensors, np.empty(rows, np.float64 if transform.label.classes is None else np.int32)


def _fill(
    shard: Shard,
    transform: TransformSpec,
    tensors: dict[str, NDArray[np.generic]],
    labels: NDArray[np.generic],
) -> None:
    try:
        data = storage_for(shard.uri).read(shard.uri)
    except FileNotFoundError as error:
        raise DocumentError(f"{shard.uri}: missing; run preprocess again (the manifest names this shard)") from error
    if sha256(data) != shard.sha256:
        raise DocumentError(f"{shard.uri}: changed since preprocess wrote it (sha256 differs); run preprocess again")
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        if file.metadata.num_rows != shard.rows:
            raise DocumentError(f"{shard.uri}: {file.metadata.num_rows} rows, the manifest says {shard.rows}")
        start = 0
        for group in range(file.metadata.num_row_groups):
            table = file.read_row_group(group, use_threads=False)
            stop = start + table.num_rows
            for tensor, names in columns(transform).items():
                for place, name in enumerate(names):
                    target = tensors[tensor][start:stop]
                    if is_whole(tensor):
                        target[:] = whole(table[name].combine_chunks(), target.shape[1:], dtype_of(tensor))
                    else:
                        target[:, place] = table[name].to_numpy()
            labels[start:stop] = table[LABEL].to_numpy()
            start = stop
    except (pa.ArrowException, KeyError) as error:
        raise DocumentError(f"{shard.uri}: not a shard of this Dataset: {error}; run preprocess again") from error


def whole(column: pa.Array, shape: tuple[int, ...], dtype: str) -> NDArray[np.generic]:
    """A fixed-size binary Arrow array as [n, *shape], without a copy."""
    size = np.dtype(dtype).newbyteorder("<")
    values: NDArray[np.generic] = pixels(column, (int(np.prod(shape)) * size.itemsize,)).view(size)
    return values.reshape(len(column), *shape)


def pixels(column: pa.Array, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A fixed-size binary Arrow array as uint8 [n, *shape], without a copy."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    width = column.type.byte_width
    buffer = np.frombuffer(column.buffers()[1], np.uint8, count=len(column) * width, offset=column.offset * width)
    return buffer.reshape(len(column), *shape)
