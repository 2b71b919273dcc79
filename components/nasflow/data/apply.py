"""The TransformSpec's arithmetic in NumPy and Arrow. The served graph does the same, step by step."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nasflow.data.tensors import is_whole
from nasflow.data.transform import TransformSpec
from nasflow.data.transforms._base import RawColumn, normal
from nasflow.data.transforms.label import decode_labels, encode_labels

__all__ = ["RawColumn", "apply", "apply_columns", "decode_labels", "encode_labels", "normal"]


def apply(transform: TransformSpec, raw: Mapping[str, RawColumn]) -> dict[str, NDArray[np.generic]]:
    """Raw columns to the tensors of `nasflow.data.tensors`; only those that the spec has.

    Raises:
        DataError: an encoded image cannot be decoded.
    """
    columns = apply_columns(transform, raw)
    tensors: dict[str, NDArray[np.generic]] = {}
    for tensor, parts in transform.parts.items():
        found = [columns[part.name] for part in parts]
        tensors[tensor] = found[0] if is_whole(tensor) else np.stack(found, axis=1)
    return tensors


def apply_columns(transform: TransformSpec, raw: Mapping[str, RawColumn]) -> dict[str, NDArray[np.generic]]:
    """The same a column at a time, as shards hold them: by `Part.name`, arrays [n]; ``image`` [n, h, w, c] and
    ``text/NAME`` [n, length].

    Raises:
        DataError: an encoded image cannot be decoded.
    """
    columns: dict[str, NDArray[np.generic]] = {}
    for column, names in transform.filled:
        columns |= zip(names, column.apply(raw[column.name]), strict=True)
    return columns
