"""How tensors lie in a shard: an Arrow IPC file whose columns are fixed-size lists, a row of a tensor each.

A row of a list is a row of the tensor, so that reading is copying (a mapped file's pages, widened to the tensor's
type) and any Arrow tool opens a shard. Numbers are float32, every bit of them. Ids take the smallest type that holds
them, indicators a bit. Nothing is compressed: scaled numbers do not shrink, and decompressing them takes longer than
all else (tests/benchmarks/README.md).
"""

import dataclasses
import json
import math
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.data.tensors import SLOTS, dtype_of, is_whole, text_place
from nasflow.data.transform import TransformSpec
from nasflow.data.transforms._base import Part

LABEL = "label"
WEIGHT = "weight"
MISSING = "missing"
SUFFIX = ".arrow"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """One column of a shard: a whole tensor, or the columns of one of its slots."""

    name: str
    tensor: str
    first: int
    """Its first column in the tensor."""
    shape: tuple[int, ...]
    """Of a row; () for label and weight."""
    dtype: str
    """In the shard: ``bool`` is a bit."""
    parts: tuple[str, ...] = ()
    """Names of its columns, as `TransformSpec.parts` has them."""

    @cached_property
    def size(self) -> int:
        """Values of a row."""
        return math.prod(self.shape)

    @cached_property
    def field(self) -> pa.Field:
        """As Arrow; its columns' names are in the metadata."""
        value = pa.from_numpy_dtype(np.dtype(self.dtype))
        kind = pa.list_(pa.field("item", value, nullable=False), self.size) if self.shape else value
        return pa.field(self.name, kind, nullable=False, metadata={"columns": json.dumps(self.parts)})

    def array(self, values: NDArray[Any]) -> pa.Array:
        """[n, *shape] of `dtype`, contiguous, as Arrow; not copied but for bits."""
        flat = values.reshape(-1)
        bits = np.packbits(flat, bitorder="little") if self.dtype == "bool" else flat
        kind = self.field.type.value_type if self.shape else self.field.type
        items = pa.Array.from_buffers(kind, len(flat), [None, pa.py_buffer(bits)])
        return pa.Array.from_buffers(self.field.type, len(values), [None], children=[items]) if self.shape else items

    def values(self, column: pa.Array) -> NDArray[np.generic]:
        """The inverse of `array`, for a column of a batch that was read; not copied but for bits."""
        items = column.values if self.shape else column
        data, count = items.buffers()[1], len(column) * self.size
        if self.dtype == "bool":
            found = np.unpackbits(np.frombuffer(data, np.uint8), count=count, bitorder="little")
        else:
            found = np.frombuffer(data, self.dtype, count=count)
        return found.reshape(len(column), *self.shape)


def layout(transform: TransformSpec) -> tuple[Stored, ...]:
    """The columns of a shard, in order; the label, and the weight where rows have one, are last."""
    found: list[Stored] = []
    for tensor, parts in transform.parts.items():
        shape = transform.inputs.shape(tensor)
        if is_whole(tensor):
            dtype = _whole_dtype(tensor, transform)
            found.append(Stored(name=tensor, tensor=tensor, first=0, shape=shape, dtype=dtype, parts=_names(parts)))
            continue
        first = 0
        for slot in SLOTS[tensor]:
            own = tuple(part for part in parts if part.slot == slot)
            if own:
                dtype = _slot_dtype(tensor, own)
                stored = Stored(
                    name=slot, tensor=tensor, first=first, shape=(len(own),), dtype=dtype, parts=_names(own)
                )
                found.append(stored)
                first += len(own)
    classes = transform.label.classes
    label = "float64" if classes is None else narrow(len(classes))
    found.append(Stored(name=LABEL, tensor=LABEL, first=0, shape=(), dtype=label))
    if transform.weight is not None:
        found.append(Stored(name=WEIGHT, tensor=WEIGHT, first=0, shape=(), dtype="float64"))
    return tuple(found)


def schema(stored: tuple[Stored, ...]) -> pa.Schema:
    """Of a shard."""
    return pa.schema([one.field for one in stored])


def narrow(ids: int) -> str:
    """The smallest type for 0 … `ids` − 1.

    >>> narrow(256), narrow(257), narrow(70_000)
    ('uint8', 'uint16', 'int32')
    """
    return "uint8" if ids <= 1 << 8 else "uint16" if ids <= 1 << 16 else "int32"


def _slot_dtype(tensor: str, parts: tuple[Part, ...]) -> str:
    if parts[0].slot == MISSING:
        return "bool"
    return narrow(max(part.ids for part in parts)) if parts[0].ids else dtype_of(tensor)


def _whole_dtype(tensor: str, transform: TransformSpec) -> str:
    return "uint8" if tensor == "image" else narrow(transform.inputs.texts[text_place(tensor)].ids)


def _names(parts: tuple[Part, ...]) -> tuple[str, ...]:
    return tuple(part.name for part in parts)
