"""Rows as clients send them (JSON objects) to raw columns, checked against the schema."""

import base64
import binascii
import datetime as dt
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.data.dates import UNIX, seconds_of
from nasflow.data.schema import LIST_SEPARATOR, MAX_TEXT_BYTES, Column, Kind, Schema

Row = Mapping[str, Any]


def raw_batch(rows: Sequence[Row], schema: Schema) -> dict[str, NDArray[Any]]:
    """Columns of the rows, by name.

    numeric, integer: float64 [n], NaN where missing (None). datetime: the same, seconds since 1970 of ISO 8601 text.
    vector: float64 [n, length] of lists of numbers. categorical, text: object[str] [n], "" where missing; booleans
    become ``true`` and ``false``, whole numbers decimal text. list: object[str] [n], the elements joined by
    `LIST_SEPARATOR`. image: uint8 [n, height, width, channels] for arrays, object[bytes] [n] for encoded files (bytes
    or ``{"b64": …}``). Columns that the schema ignores may be there.

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
    return _READERS[column.kind](rows, column, schema)


def _numbers(rows: Sequence[Row], column: Column, _: Schema) -> NDArray[Any]:
    return np.array(_values(rows, column, _number), np.float64)


def _dates(rows: Sequence[Row], column: Column, _: Schema) -> NDArray[Any]:
    return np.array(_values(rows, column, lambda value: date_seconds(value, column.format)), np.float64)


def _vectors(rows: Sequence[Row], column: Column, _: Schema) -> NDArray[Any]:
    length = column.length or 0
    return np.array(_values(rows, column, lambda value: _vector(value, length)), np.float64).reshape(-1, length)


def _texts(read: Callable[[Any], str]) -> Any:
    def texts(rows: Sequence[Row], column: Column, _: Schema) -> NDArray[Any]:
        text = np.empty(len(rows), object)
        text[:] = _values(rows, column, _lower_text if column.dtype == "bool" and read is _text else read)
        return text

    return texts


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


def date_seconds(value: Any, form: str | None = None) -> float:
    """Seconds since 1970 of ISO 8601 text, of text in a column's own format, of a `datetime`, or of a number (seconds,
    or what the format ``unix_ms`` says); NaN for None and "".

    Raises:
        ValueError: it is no date.
    """
    if value is None or value == "":
        return math.nan
    if isinstance(value, dt.date):
        value = value.isoformat()
    if isinstance(value, str):
        try:
            return seconds_of(value, form)
        except ValueError as error:
            also = f", or in the form {form}" if form is not None and form not in UNIX else ""
            raise ValueError(
                f"expected a date or time in ISO 8601 such as 2024-05-17T08:30:00{also}; got {value!r:.80}"
            ) from error
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise ValueError(f"expected a date as ISO 8601 text, seconds since 1970, or null; got {value!r:.80}")
    return _number(value) * UNIX.get(form or "unix", 1.0)


def joined(value: Any) -> str:
    """The elements of a list as one text; "" for None and [].

    >>> joined(["a", None, "", 3, True]).split(LIST_SEPARATOR)
    ['a', '3', 'true']

    Raises:
        ValueError: no list, or an element that is no text.
    """
    if value is None:
        return ""
    if not isinstance(value, list | tuple | np.ndarray):
        raise ValueError(f"expected a list or null, got {value!r:.80}")
    return LIST_SEPARATOR.join(text.replace(LIST_SEPARATOR, " ") for text in map(_text, value) if text)


def _vector(value: Any, length: int) -> list[float]:
    if value is None:
        return [math.nan] * length
    if not isinstance(value, list | tuple | np.ndarray):
        raise ValueError(f"expected a list of {length} numbers or null, got {value!r:.80}")
    if len(value) != length:
        raise ValueError(f"expected a list of {length} numbers, got {len(value)}")
    return [_number(element) for element in value]


TRUE = frozenset({"true", "t", "yes", "y", "on", "1", "1.0"})
FALSE = frozenset({"false", "f", "no", "n", "off", "0", "0.0"})


def boolean_text(value: Any) -> str:
    """``true``, ``false``, or "" for None.

    >>> boolean_text(True), boolean_text("No"), boolean_text(1), boolean_text(None)
    ('true', 'false', 'true', '')

    Raises:
        ValueError: it is neither.
    """
    text = str(value).strip().lower() if isinstance(value, numbers.Real) else _text(value).strip().lower()
    if text in TRUE:
        return "true"
    if text in FALSE:
        return "false"
    if text:
        raise ValueError(f"expected true, false or null, got {value!r:.80}")
    return ""


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


def long_text(value: Any) -> str:
    """Text to be cut into tokens, "" for None.

    Raises:
        ValueError: no text, longer than preprocess takes, or with half of a surrogate pair, which no encoding holds.
    """
    text = _text(value)
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"not text: {error}") from error
    if size > MAX_TEXT_BYTES:
        raise ValueError(f"text of {size:,} bytes; the model takes at most {MAX_TEXT_BYTES:,}")
    return text


def _lower_text(value: Any) -> str:
    return _text(value).lower()


def _images(rows: Sequence[Row], column: Column, schema: Schema) -> NDArray[Any]:
    form = schema.image
    if form is None:
        raise DataError(f"schema.json: column {column.name!r} is an image, but the schema has no image format")
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


_Reader: TypeAlias = Callable[[Sequence[Row], Column, Schema], NDArray[Any]]
_READERS: Mapping[Kind, _Reader] = MappingProxyType(
    {
        "numeric": _numbers,
        "integer": _numbers,
        "boolean": _texts(boolean_text),
        "categorical": _texts(_text),
        "datetime": _dates,
        "list": _texts(joined),
        "vector": _vectors,
        "text": _texts(long_text),
        "image": _images,
    }
)
