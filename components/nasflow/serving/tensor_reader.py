"""V2 requests to raw columns without a call of our own for each value: what a client sends when all is well.

Numbers are read together, as one matrix; texts, column by column. In any doubt `nasflow.serving.tensors` reads one
column after the other, and says which is wrong and why.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.data.schema import Schema
from nasflow.serving.columns import numbers, usual_texts
from nasflow.serving.raw_columns import RawColumns
from nasflow.serving.rows import Raw, check_rows
from nasflow.serving.signature import Signature
from nasflow.serving.spans import Spans, prefixed
from nasflow.serving.tensors import column, raw_from_tensors
from nasflow.serving.v2 import WireTensor, short_texts

_FLOATS = frozenset({"FP64", "FP32"})
_MANY_TEXTS = 512
"""From so many on they are looked up where they are."""


class TensorReader:
    """Reads the inputs of one model."""

    def __init__(self, signature: Signature, schema: Schema) -> None:
        self._signature, self._schema = signature, schema
        entries = signature.inputs
        self._places = {entry.tensor: place for place, entry in enumerate(entries)}
        self._places |= {entry.column: place for place, entry in enumerate(entries)}  # a clash: the column's name wins
        truths = {each.name for each in schema.columns if each.dtype == "bool"}
        self._number_places = [place for place, entry in enumerate(entries) if entry.kind in ("numeric", "integer")]
        self._numbers = tuple(entries[place].column for place in self._number_places)
        self._others = [
            (place, entry, entry.kind in ("categorical", "text") and entry.column not in truths)
            for place, entry in enumerate(entries)
            if entry.column not in self._numbers
        ]
        only_texts = all(is_text for _, _, is_text in self._others)
        self._text_places = [place for place, _, _ in self._others] if only_texts else []
        self._texts = tuple(entries[place].column for place in self._text_places)

    def read(self, inputs: Sequence[WireTensor], *, max_rows: int, truths: bool = True) -> Raw:
        """The columns by name, as `raw_from_tensors` has them. `truths`: whether true or false may be among the values.

        Raises:
            DataError: as `raw_from_tensors`.
        """
        ordered: list[Any] = [None] * len(self._signature.inputs)
        for tensor in inputs:
            place = self._places.get(tensor.name)
            if place is None or ordered[place] is not None:
                return self._slowly(inputs, max_rows)
            ordered[place] = tensor
        if len(inputs) != len(ordered):
            return self._slowly(inputs, max_rows)
        matrix, rows = None, None
        if self._number_places:
            matrix = _matrix([ordered[place] for place in self._number_places], truths=truths)
            if matrix is None:
                return self._slowly(inputs, max_rows)
            rows = len(matrix)
            if self._texts and rows * len(self._texts) >= _MANY_TEXTS:
                spans = _spans([ordered[place] for place in self._text_places], rows)
                if spans is not None:
                    check_rows(rows, max_rows)
                    return RawColumns(matrix, self._numbers, spans=spans, texts=self._texts)
        words: dict[str, Sequence[str]] = {}
        others: dict[str, NDArray[Any]] = {}
        for place, entry, is_text in self._others:
            tensor = ordered[place]
            texts = _texts(tensor) if is_text else None
            if texts is None:
                others[entry.column] = column(tensor, entry, self._schema)
            else:
                words[entry.column] = texts
            count = len(others[entry.column] if texts is None else texts)
            if rows is not None and count != rows:
                return self._slowly(inputs, max_rows)
            rows = count
        check_rows(rows or 0, max_rows)
        if matrix is None:
            matrix = np.empty((rows or 0, 0))
        return RawColumns(matrix, self._numbers, words=words, others=others)

    def _slowly(self, inputs: Sequence[WireTensor], max_rows: int) -> Raw:
        return raw_from_tensors(inputs, self._signature, self._schema, max_rows=max_rows)


def _spans(tensors: Sequence[WireTensor], rows: int) -> Spans | None:
    """Of binary BYTES [rows] each; else None."""
    blobs = []
    for tensor in tensors:
        if tensor.binary is None or tensor.datatype != "BYTES" or tensor.shape != [rows]:
            return None
        blobs.append(tensor.binary)
    return prefixed(blobs, rows)


def _matrix(tensors: Sequence[WireTensor], *, truths: bool) -> NDArray[np.float64] | None:
    """All of them as float64 [rows, tensors], if all are flat and of one length; else None."""
    shape = tensors[0].shape
    if len(shape) != 1:
        return None
    (rows,) = shape
    columns, blobs = [], []
    for tensor in tensors:
        if tensor.shape != shape:
            return None
        data, datatype = tensor.data, tensor.datatype
        if data is None:
            blob = tensor.binary
            if datatype != "FP64" or blob is None or len(blob) != 8 * rows:
                return None
            blobs.append(blob)
        elif len(data) != rows or (datatype not in _FLOATS and (datatype != "INT64" or set(map(type, data)) != {int})):
            return None
        else:
            columns.append(data)
    if not blobs:
        return numbers(columns, rows, truths=truths)
    if columns:
        return None
    return np.frombuffer(b"".join(blobs), "<f8").reshape(len(blobs), rows).T


def _texts(tensor: WireTensor) -> Sequence[str] | None:
    if tensor.datatype != "BYTES" or len(tensor.shape) != 1:
        return None
    data = tensor.data
    if data is None:
        data = short_texts(tensor.binary) if tensor.binary is not None else None
        if data is None:
            return None
    elif not usual_texts(data):
        return None
    return data if tensor.shape[0] == len(data) else None
