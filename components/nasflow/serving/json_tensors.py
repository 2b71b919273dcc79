"""Usual V2 requests in JSON, of numbers and texts, to raw columns.

Of many rows: without a Python object for each value. simdjson checks the whole body and keeps its numbers, which are
copied out as buffers; texts stay where they are (`nasflow.serving.spans`). Of few: without an object for each input.

Whatever is not usual is not read here: `nasflow.serving.v2` and `nasflow.serving.tensor_reader` read it again, and say
what is wrong.
"""

import itertools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from simdjson import Array, Object, Parser

from nasflow.data.schema import MAX_TEXT_BYTES, Schema
from nasflow.serving.columns import may_hold_truths, numbers, usual_texts
from nasflow.serving.raw_columns import RawColumns
from nasflow.serving.signature import Signature
from nasflow.serving.spans import brackets, quoted
from nasflow.serving.v2 import InferRequest, request_of

LEAST_BYTES = 12 * 1024
"""Below that (100 rows of 14 columns), making buffers and views costs more than making Python objects."""
_MOST_BYTES = 8 * 2**20
"""A parser takes fifteen times as much memory as the body has."""
_KEPT_BYTES = 2**20
"""Of the largest body that a parser is kept after."""

_KEYS = frozenset(
    keys
    for names in (("name", "datatype", "shape", "data"), ("name", "datatype", "shape", "data", "parameters"))
    for keys in itertools.permutations(names)
)
"""Of an input, in any order."""
_NUMBERS: Mapping[str, tuple[Literal["d", "i"], type]] = {
    "FP64": ("d", np.float64),
    "FP32": ("d", np.float64),
    "INT64": ("i", np.int64),
}
"""Datatype → what simdjson calls it, and NumPy. JSON has doubles, whatever they are called."""

_FLOATS, _TEXTS = frozenset({"FP64", "FP32"}), frozenset({"BYTES"})


class JsonTensors:
    """Reads the bodies of one model's requests. May be called from several threads at once."""

    def __init__(self, signature: Signature, schema: Schema, *, least_bytes: int = LEAST_BYTES) -> None:
        """`least_bytes`: what is shorter is not read here."""
        entries = signature.inputs
        numeric = [entry.column for entry in entries if entry.kind in ("numeric", "integer")]
        truths = {column.name for column in schema.columns if column.dtype == "bool"}
        texts = [
            entry.column for entry in entries if entry.kind in ("categorical", "text") and entry.column not in truths
        ]
        self._numbers, self._texts = tuple(numeric), tuple(texts)
        self._columns = {entry.tensor: entry.column for entry in entries}
        self._columns |= {entry.column: entry.column for entry in entries}  # a clash: the column's name wins
        self._datatypes = dict.fromkeys(numeric, _FLOATS) | dict.fromkeys(texts, _TEXTS)
        self._usable = len(numeric) + len(texts) == len(entries)
        self._least = least_bytes
        self._parsers: list[Parser] = []

    def read(self, body: bytes, *, max_rows: int) -> tuple[InferRequest, RawColumns] | None:
        """The request, without its inputs, and the columns; None: not the usual request."""
        if not self._usable or len(body) > _MOST_BYTES:
            return None
        if len(body) < self._least:
            return self._few(body, max_rows)
        try:
            parser = self._parsers.pop()
        except IndexError:
            parser = Parser()
        try:
            found = self._read(parser.parse(body), body, max_rows)
        except (ValueError, TypeError, LookupError, RuntimeError):  # simdjson's, for what is not as it was taken to be
            return None  # the parser goes, too: the exception may hold a part of its document
        if len(body) <= _KEPT_BYTES:
            self._parsers.append(parser)
        return found

    def _few(self, body: bytes, max_rows: int) -> tuple[InferRequest, RawColumns] | None:
        try:
            content = orjson.loads(body)
            inputs = content["inputs"]
            first = inputs[0]["shape"]
            (rows,) = first
            data = dict[str, list[Any]]()
            for entry in inputs:
                shape, values = entry["shape"], entry["data"]
                if not (shape == first and type(shape[0]) is int and type(values) is list and len(values) == rows):
                    return None
                name = self._columns[entry["name"]]
                if entry["datatype"] not in self._datatypes[name] or entry.get("parameters"):
                    return None
                data[name] = values
        except (ValueError, TypeError, LookupError, AttributeError):
            return None
        if len(inputs) != len(data) or len(data) != len(self._datatypes) or not 1 <= rows <= max_rows:
            return None
        matrix = numbers([data[name] for name in self._numbers], rows, truths=may_hold_truths(body))
        words = {name: data[name] for name in self._texts}
        if matrix is None or not all(map(usual_texts, words.values())):
            return None
        return request_of(content, [], truths=False), RawColumns(matrix, self._numbers, words=words)

    def _read(self, document: Any, body: bytes, max_rows: int) -> tuple[InferRequest, RawColumns] | None:
        keys = list(document) if type(document) is Object else []
        if "inputs" not in keys or len(set(keys)) != len(keys):
            return None
        content = {key: document[key] for key in keys}
        inputs = content.pop("inputs")
        found = self._named(inputs)
        if found is None:
            return None
        tensors, rows = found
        if not 1 <= rows <= max_rows:
            return None
        arrays = 1 + 2 * len(inputs)
        for key, value in content.items():
            if type(value) is Object:
                content[key] = value.as_dict()
            elif type(value) is Array:
                if key != "outputs":
                    return None  # texts in it might be taken for a column's
                content[key] = value.as_list()
                arrays += 1
        places = brackets(body)
        if len(places) != arrays:
            return None  # perhaps lists in lists, or a text has one; as many as there must be: all data is flat
        matrix = self._matrix(tensors, rows)
        if matrix is None:
            return None
        request = request_of(content, [], truths=False)
        spans = quoted(body, places, rows, len(self._texts)) if self._texts else None
        if spans is not None and (len(body) <= MAX_TEXT_BYTES or spans.lengths.max() <= MAX_TEXT_BYTES):
            order = [name for name in tensors if name in self._texts]
            return request, RawColumns(matrix, self._numbers, spans=spans, texts=tuple(order))
        words: dict[str, Any] = {name: tensors[name][1].as_list() for name in self._texts}
        if not all(map(usual_texts, words.values())):
            return None
        return request, RawColumns(matrix, self._numbers, words=words)

    def _named(self, inputs: Any) -> tuple[dict[str, tuple[str, Array]], int] | None:
        """Datatype and data by column, in the body's order; and how many values each has."""
        found: dict[str, tuple[str, Array]] = {}
        size = None
        for entry in inputs:
            keys = tuple(entry)
            if keys not in _KEYS or (len(keys) == 5 and len(entry["parameters"])):
                return None
            shape, data = entry["shape"].as_list(), entry["data"]
            if size is None:
                size = shape
            if shape != size or len(data) != shape[0] or type(data) is not Array:
                return None
            found[self._columns[entry["name"]]] = (entry["datatype"], data)
        if size is None or len(size) != 1 or type(size[0]) is not int or len(found) != len(inputs):
            return None
        return (found, size[0]) if len(found) == len(self._numbers) + len(self._texts) else None

    def _matrix(self, tensors: Mapping[str, tuple[str, Array]], rows: int) -> NDArray[np.float64] | None:
        if any(tensors[name][0] != "BYTES" for name in self._texts):
            return None
        columns = np.empty((len(self._numbers), rows))
        for place, name in enumerate(self._numbers):
            datatype, data = tensors[name]
            letter, kind = _NUMBERS[datatype]
            try:
                columns[place] = np.frombuffer(data.as_buffer(of_type=letter), kind)
            except TypeError:  # null, or what is no number
                if kind is not np.float64:
                    return None
                column = numbers([data.as_list()], rows)
                if column is None:
                    return None
                columns[place] = column[:, 0]
        return columns.T
