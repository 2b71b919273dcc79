"""V2 (Open Inference Protocol) requests: named tensors → raw columns.

| column               | datatype                         | shape                                               |
| -------------------- | -------------------------------- | --------------------------------------------------- |
| numeric, integer     | FP64, FP32, FP16, INT*, UINT*    | [rows] or [rows, 1]; JSON null or NaN is missing    |
| datetime             | BYTES (ISO 8601), or as numeric (seconds since 1970) | [rows] or [rows, 1]             |
| vector               | as numeric                       | [rows, length]                                      |
| categorical, boolean | BYTES (UTF-8), BOOL, INT*, UINT* | [rows] or [rows, 1]; JSON null or "" is missing     |
| list                 | BYTES, each a JSON array as text | [rows] or [rows, 1]; JSON null, "" or "[]" is empty |
| image, pixels        | UINT8, or another INT*, UINT*    | [rows, height, width, channels], a last 1 left out or not |
| image, encoded files | BYTES                            | [rows] or [rows, 1]; in JSON text, base64           |

A tensor is named by its column, or by the column's keyword in ``signature.json``.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.data.raw import boolean_text, date_seconds, joined, long_text
from nasflow.data.schema import ImageFormat, Schema
from nasflow.serving.rows import Raw, check_rows
from nasflow.serving.signature import Input, Signature
from nasflow.serving.tensor_values import FLOATS, INTEGERS, Tensor, array


def raw_from_tensors(inputs: Sequence[Tensor], signature: Signature, schema: Schema, *, max_rows: int) -> Raw:
    """Reads a V2 request's inputs, one after the other.

    Raises:
        DataError: an input is missing, unknown, given twice, or its datatype, shape or data does not fit its column.
    """
    named = _by_column(inputs, signature)
    raw: dict[str, NDArray[Any]] = {}
    rows: int | None = None
    for entry in signature.inputs:
        tensor = named[entry.column]
        values = column(tensor, entry, schema)
        if rows is not None and len(values) != rows:
            raise DataError(f"input {tensor.name!r}: {len(values)} rows, other inputs have {rows}")
        rows = len(values)
        raw[entry.column] = values
    check_rows(rows or 0, max_rows)
    return raw


def column(tensor: Tensor, entry: Input, schema: Schema) -> NDArray[Any]:
    """One input's values, as `nasflow.data.raw.raw_batch` has them.

    Raises:
        DataError: datatype, shape or data do not fit; names the input.
    """
    try:
        return _COLUMN[entry.kind](array(tensor), entry, tensor, schema)
    except DataError as error:
        raise DataError(f"input {tensor.name!r}: {error}") from error


def datatype(entry: Input) -> str:
    """The V2 datatype that metadata announces for a column."""
    return {"float64": "FP64", "string": "BYTES", "uint8": "UINT8"}[entry.dtype]


def output_datatypes(signature: Signature) -> dict[str, str]:
    """The outputs of `nasflow.serving.answer.tensors`, and their V2 datatypes."""
    return {"prediction": "FP32"} if signature.classes is None else {"probabilities": "FP32", "label": "BYTES"}


def _by_column(inputs: Sequence[Tensor], signature: Signature) -> dict[str, Tensor]:
    columns = {entry.tensor: entry.column for entry in signature.inputs}
    columns |= {entry.column: entry.column for entry in signature.inputs}  # where the two clash, the column's name wins
    named: dict[str, Tensor] = {}
    for tensor in inputs:
        if tensor.name not in columns:
            raise DataError(f"input {tensor.name!r} is unknown; the model takes {_names(signature)}")
        if columns[tensor.name] in named:
            raise DataError(f"input {tensor.name!r} is given twice")
        named[columns[tensor.name]] = tensor
    if missing := [entry.column for entry in signature.inputs if entry.column not in named]:
        raise DataError(f"input {missing[0]!r} is missing; the model takes {_names(signature)}")
    return named


def _names(signature: Signature) -> list[str]:
    return [entry.column for entry in signature.inputs]


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim != 1:
        raise DataError(f"shape must be [rows] or [rows, 1], got {list(values.shape)}")
    return values


def _numeric(values: NDArray[Any], entry: Input, tensor: Tensor, schema: Schema) -> NDArray[Any]:
    if tensor.datatype in ("BYTES", "BOOL"):
        raise DataError(f"column {entry.column!r} is numeric; send FP64, FP32 or INT64, not {tensor.datatype}")
    return _flat(values).astype(np.float64)


def _dates(values: NDArray[Any], entry: Input, tensor: Tensor, schema: Schema) -> NDArray[Any]:
    if tensor.datatype != "BYTES":
        return _numeric(values, entry, tensor, schema)
    form = next((column.format for column in schema.columns if column.name == entry.column), None)
    return np.array(_each(values, lambda text: date_seconds(text, form)), np.float64)


def _vectors(values: NDArray[Any], entry: Input, tensor: Tensor, schema: Schema) -> NDArray[Any]:
    if tensor.datatype in ("BYTES", "BOOL"):
        raise DataError(f"column {entry.column!r} holds numbers; send FP64, FP32 or INT64, not {tensor.datatype}")
    if values.shape[1:] != tuple(entry.shape[1:]):
        raise DataError(f"shape must be [rows, {entry.shape[1]}], got {list(tensor.shape)}")
    return values.astype(np.float64)


def _lists(values: NDArray[Any], entry: Input, tensor: Tensor, schema: Schema) -> NDArray[Any]:
    if tensor.datatype != "BYTES":
        raise DataError(f"column {entry.column!r} is a list; send BYTES with a JSON array each, not {tensor.datatype}")
    return _strings(_each(values, lambda text: joined(json.loads(text)) if text.startswith("[") else text))


def _long_texts(values: NDArray[Any], entry: Input, tensor: Tensor, schema: Schema) -> NDArray[Any]:
    if tensor.datatype != "BYTES":
        raise DataError(f"column {entry.column!r} is text; send BYTES, not {tensor.datatype}")
    return _strings(_each(values, long_text))


def _booleans(values: NDArray[Any], entry: Input, tensor: Tensor, schema: Schema) -> NDArray[Any]:
    return _strings(_each(values, boolean_text))


def _each(values: NDArray[Any], read: Callable[[Any], Any]) -> list[Any]:
    """`read` of every value, bytes decoded; null is ""."""
    found = []
    for row, value in enumerate(_flat(values).tolist(), start=1):
        try:
            text = value.decode("utf-8") if isinstance(value, bytes) else value
            found.append(read("" if text is None else text))
        except (ValueError, RecursionError) as error:  # also of JSON, and of bytes that are not UTF-8
            raise DataError(f"row {row}: {error}") from error
    return found


def _strings(texts: list[str]) -> NDArray[Any]:
    found = np.empty(len(texts), dtype=object)
    found[:] = texts
    return found


def _categorical(values: NDArray[Any], entry: Input, tensor: Tensor, schema: Schema) -> NDArray[Any]:
    if tensor.datatype in FLOATS:
        raise DataError(f"column {entry.column!r} is text; send BYTES, not {tensor.datatype}")
    flat = _flat(values).tolist()
    text = np.empty(len(flat), dtype=object)
    boolean = any(column.name == entry.column and column.dtype == "bool" for column in schema.columns)
    if not boolean and set(map(type, flat)) <= {str}:
        text[:] = flat
        return text
    if not boolean and set(map(type, flat)) <= {bytes}:
        try:
            text[:] = [value.decode() for value in flat]
            return text
        except UnicodeDecodeError:
            pass  # says below which row
    for row, value in enumerate(flat, start=1):
        try:
            text[row - 1] = _text(value, lower=boolean)
        except UnicodeDecodeError as error:
            raise DataError(f"row {row}: not UTF-8 text: {error}") from error
    return text


def _text(value: Any, *, lower: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value.decode("utf-8") if isinstance(value, bytes) else str(value)
    return text.lower() if lower else text


def _image(values: NDArray[Any], entry: Input, tensor: Tensor, schema: Schema) -> NDArray[Any]:
    form = schema.image
    if form is None:
        raise DataError(f"schema.json: column {entry.column!r} is an image, but the schema has no image format")
    return _files(values, tensor) if form.encoding == "bytes" else _pixels(values, form, tensor)


def _files(values: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    if tensor.datatype != "BYTES":
        raise DataError(f"the model takes encoded image files; send BYTES, not {tensor.datatype}")
    flat = _flat(values)
    files = np.empty(len(flat), dtype=object)
    for row, value in enumerate(flat.tolist(), start=1):
        if value is None:
            raise DataError(f"row {row}: null is not an image")
        try:
            files[row - 1] = base64.b64decode(value, validate=True) if isinstance(value, str) else bytes(value)
        except binascii.Error as error:
            raise DataError(f"row {row}: not base64: {error}") from error
    return files


def _pixels(values: NDArray[Any], form: ImageFormat, tensor: Tensor) -> NDArray[Any]:
    if tensor.datatype not in INTEGERS:
        raise DataError(f"the model takes pixels of 0–255; send UINT8, not {tensor.datatype}")
    if values.ndim == 3 and form.channels == 1:
        values = values[..., np.newaxis]
    expected = (form.height, form.width, form.channels)
    if values.shape[1:] != expected:
        raise DataError(f"shape must be [rows, {', '.join(map(str, expected))}], got {list(tensor.shape)}")
    if values.dtype == np.uint8:
        return values
    if values.size and (values.min() < 0 or values.max() > 255):
        raise DataError(f"pixels must be from 0 to 255, got {values.min()} to {values.max()}")
    return values.astype(np.uint8)


_COLUMN: Mapping[str, Callable[[NDArray[Any], Input, Tensor, Schema], NDArray[Any]]] = {
    "numeric": _numeric,
    "integer": _numeric,
    "boolean": _booleans,
    "categorical": _categorical,
    "datetime": _dates,
    "list": _lists,
    "vector": _vectors,
    "text": _long_texts,
    "image": _image,
}
