"""Rows as clients send them (JSON objects) to raw columns, checked against the schema."""

import base64
import binascii
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.data.schema import Column, ImageFormat, Schema

Row = Mapping[str, Any]


def raw_batch(rows: Sequence[Row], schema: Schema) -> dict[str, NDArray[Any]]:
    """Columns of the rows, by name.

    numeric: float64 [n], NaN where missing (None). categorical: object[str] [n], "" where missing; booleans become
    ``true`` and ``false``, whole numbers decimal text. image: uint8 [n, height, width, channels] for arrays,
    object[bytes] [n] for encoded files (bytes or ``{"b64": …}``). Columns that the schema ignores may be there.

    Raises:
        DataError: a column is missing or unknown, or a value has the wrong type; names row (from 1) and column.
    """
    if not rows:
        raise DataError("no rows were given; send at least one")
    _check_names(rows, schema)
    return {column.name: _column(rows, column, schema) for column in schema.columns}


def _check_names(rows: Sequence[Row], schema: Schema) -> None:
    names = {column.name for column in schema.columns}
    known = names | set(schema.ignored)
    for place, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise DataError(f"row {place}: expected an object with the columns {sorted(names)}, got {row!r:.80}")
        if absent := [name for name in names if name not in row]:
            raise DataError(f"row {place}: column {min(absent)!r} is missing; send null where the value is unknown")
        if unknown := [name for name in row if name not in known]:
            what = "is the label, which the model predicts" if schema.label.name in unknown else "is unknown"
            raise DataError(f"row {place}: column {unknown[0]!r} {what}; the model takes {sorted(names)}")


def _column(rows: Sequence[Row], column: Column, schema: Schema) -> NDArray[Any]:
    match column.kind:
        case "numeric":
            return np.array(_values(rows, column, _number), np.float64)
        case "categorical":
            text = np.empty(len(rows), object)
            text[:] = _values(rows, column, _lower_text if column.dtype == "bool" else _text)
            return text
        case "image":
            form = schema.image
            if form is None:
                raise DataError(f"schema.json: column {column.name!r} is an image, but the schema has no image format")
            return _images(rows, column, form)


def _values(rows: Sequence[Row], column: Column, read: Callable[[Any], Any]) -> list[Any]:
    values = []
    for place, row in enumerate(rows, start=1):
        try:
            values.append(read(row[column.name]))
        except ValueError as error:
            raise DataError(f"row {place}: column {column.name!r}: {error}") from error
    return values


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise ValueError(f"expected a number or null, got {value!r:.80}")
    try:
        return float(value)
    except OverflowError:
        return math.inf  # counts as missing, like every number that float64 cannot hold


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    raise ValueError(f"expected text or null, got {value!r:.80}")


def _lower_text(value: Any) -> str:
    return _text(value).lower()


def _images(rows: Sequence[Row], column: Column, form: ImageFormat) -> NDArray[Any]:
    if form.encoding == "bytes":
        encoded = np.empty(len(rows), object)
        encoded[:] = _values(rows, column, _encoded)
        return encoded
    shape = (form.height, form.width, form.channels)
    return np.stack(_values(rows, column, lambda value: _array(value, shape)))


def _encoded(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, Mapping) and set(value) == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"b64 is not base64: {error}") from error
    raise ValueError(f'expected {{"b64": "…"}} with an encoded image, got {value!r:.80}')


def _array(value: Any, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    try:
        pixels = np.asarray(value)
    except ValueError as error:  # a ragged list
        raise ValueError(f"expected pixels of shape {list(shape)}, got lists of different lengths") from error
    if pixels.ndim == 2 and shape[2] == 1:
        pixels = pixels[:, :, np.newaxis]
    if pixels.shape != shape:
        raise ValueError(f"expected pixels of shape {list(shape)}, got {list(pixels.shape)}")
    if pixels.dtype.kind not in "iu" or pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"expected whole numbers from 0 to 255, got {pixels.flat[0]!r} and others ({pixels.dtype})")
    return pixels.astype(np.uint8)
