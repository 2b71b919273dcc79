"""Reads a Dataset's shards into memory: the one reader that search, train and evaluate share.

A shard is an Arrow IPC file, see `nasflow.data.layout`; local ones are mapped, not read. Shards of version 0.1 are
Parquet files, and are read as well.
"""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.core.artifacts import Dataset, Shard, Split
from nasflow.core.errors import DocumentError
from nasflow.core.storage import is_local, local_path, storage_for
from nasflow.data import parquet_shards
from nasflow.data.layout import LABEL, WEIGHT, Stored, layout, schema
from nasflow.data.schema import Schema
from nasflow.data.tensors import Tensors, dtype_of, is_whole
from nasflow.data.transform import TransformSpec

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


def read(dataset: Dataset, split: Split) -> Tensors:
    """All rows of a split, in the manifest's order; the digest of every shard is checked.

    Raises:
        DocumentError: a shard is gone, changed, or not what the manifest says.
    """
    transform = read_transform(dataset)
    shards = dataset.shards.get(split, ())
    rows = sum(shard.rows for shard in shards)
    tensors: dict[str, NDArray[np.generic]] = {
        tensor: np.empty((rows, *transform.inputs.shape(tensor)), dtype_of(tensor)) for tensor in transform.parts
    }
    labels: NDArray[np.generic] = np.empty(rows, np.float64 if transform.label.classes is None else np.int32)
    weights = np.empty(rows, np.float64) if transform.weight is not None else None
    stored = layout(transform)
    start = 0
    for shard in shards:
        stop = start + shard.rows
        targets = {name: values[start:stop] for name, values in tensors.items()} | {LABEL: labels[start:stop]}
        if weights is not None:
            targets[WEIGHT] = weights[start:stop]
        _fill(shard, transform, stored, targets)
        start = stop
    return Tensors(inputs=tensors, labels=labels, weights=weights)


def _fill(
    shard: Shard, transform: TransformSpec, stored: tuple[Stored, ...], targets: dict[str, NDArray[np.generic]]
) -> None:
    data = _content(shard)
    try:
        if shard.uri.endswith(parquet_shards.SUFFIX):
            parquet_shards.fill(data, shard.rows, transform, targets)
            return
        reader = pa.ipc.open_file(data)
        if reader.schema != schema(stored):
            raise DocumentError(f"{shard.uri}: its columns are not those of transform.json; run preprocess again")
        start = 0
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            stop = start + batch.num_rows
            for place, one in enumerate(stored):
                target = targets[one.tensor][start:stop]
                values = one.values(batch.column(place))
                if one.parts and not is_whole(one.tensor):
                    target[:, one.first : one.first + one.size] = values
                else:
                    target[:] = values
            start = stop
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise DocumentError(f"{shard.uri}: not a shard of this Dataset: {error}; run preprocess again") from error
    if start != shard.rows:
        raise DocumentError(f"{shard.uri}: {start} rows, the manifest says {shard.rows}")


def _content(shard: Shard) -> Any:
    """The shard as an Arrow buffer, its digest checked.

    Raises:
        DocumentError: it is gone or changed.
    """
    try:
        if is_local(shard.uri):
            with pa.memory_map(str(local_path(shard.uri))) as file:
                data = file.read_buffer()
        else:
            data = pa.py_buffer(storage_for(shard.uri).read(shard.uri))
    except FileNotFoundError as error:
        raise DocumentError(f"{shard.uri}: missing; run preprocess again (the manifest names this shard)") from error
    if hashlib.sha256(data).hexdigest() != shard.sha256:
        raise DocumentError(f"{shard.uri}: changed since preprocess wrote it (sha256 differs); run preprocess again")
    return data


def pixels(column: pa.Array, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A fixed-size binary Arrow array as uint8 [n, *shape], without a copy."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    width = column.type.byte_width
    buffer = np.frombuffer(column.buffers()[1], np.uint8, count=len(column) * width, offset=column.offset * width)
    return buffer.reshape(len(column), *shape)
