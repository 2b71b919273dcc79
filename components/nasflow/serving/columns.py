"""V1 rows to raw columns without a call of our own for each value: what a client sends when all is well.

Numbers are read together, as one matrix. Each other kind of column has one entry in `_READERS`: the column's values as
JSON has them → the array of `nasflow.data.raw.raw_batch`, or None where there is any doubt. In doubt, and for a kind
without an entry, `raw_batch` reads that column one value at a time, and says which is wrong and why.
"""

import contextlib
import operator
import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.data.raw import raw_batch
from nasflow.data.schema import MAX_TEXT_BYTES, Column, Schema
from nasflow.serving.raw_columns import RawColumns

Reader = Callable[[Sequence[Any], Column, Schema], NDArray[np.generic] | None]

_NUMBERS = frozenset({float, int, type(None)})
_NUMERIC = frozenset({"numeric", "integer"})
_SHORT = MAX_TEXT_BYTES // 4
"""Characters of a text that has at most `MAX_TEXT_BYTES` in UTF-8, whichever they are."""
_TEXTS: Mapping[type, Callable[[Any], str]] = {
    str: str,
    type(None): lambda _value: "",
    bool: lambda value: "true" if value else "false",
    int: str,
}


class ColumnReader:
    """Reads rows of one schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        numbers = [column for column in schema.columns if column.kind in _NUMERIC]
        self._numbers = tuple(column.name for column in numbers)
        self._readers = [(column, _READERS.get(column.kind)) for column in schema.columns if column not in numbers]
        self._columns = [*numbers, *(column for column, _ in self._readers)]
        self._known = {column.name for column in schema.columns}
        self._allowed = self._known | set(schema.ignored)
        self._pick = operator.itemgetter(*[column.name for column in self._columns])
        if len(self._columns) == 1:
            one = self._pick
            self._pick = lambda row: (one(row),)  # type: ignore[assignment]  # an itemgetter of one gives no tuple

    def read(self, rows: Sequence[Any], *, truths: bool = True) -> Mapping[str, NDArray[Any]]:
        """The columns by name, as `raw_batch` has them. `truths`: whether true or false may be among the values.

        Raises:
            DataError: as `raw_batch`.
        """
        if set(map(type, rows)) != {dict}:
            return raw_batch(rows, self._schema)
        if set(map(len, rows)) != {len(self._known)} and any(row.keys() - self._allowed for row in rows):
            return raw_batch(rows, self._schema)
        try:
            columns = list(zip(*map(self._pick, rows), strict=True))
        except KeyError:
            return raw_batch(rows, self._schema)
        count = len(self._numbers)
        matrix = numbers(columns[:count], len(rows), truths=truths)
        words: dict[str, Sequence[str]] = {}
        others: dict[str, NDArray[Any]] = {}
        if matrix is None:
            for column, values in zip(self._columns, columns[:count], strict=False):
                others[column.name] = self._read(rows, column, _numeric, values)
        for (column, reader), values in zip(self._readers, columns[count:], strict=True):
            textual = reader is _text or reader is _long_text
            if matrix is not None and textual and column.dtype != "bool" and usual_texts(values):
                words[column.name] = values
            else:
                others[column.name] = self._read(rows, column, reader, values)
        return others if matrix is None else RawColumns(matrix, self._numbers, words=words, others=others)

    def _read(self, rows: Sequence[Any], column: Column, reader: Reader | None, values: Sequence[Any]) -> NDArray[Any]:
        array = reader(values, column, self._schema) if reader is not None else None
        return self._slowly(rows, column) if array is None else array

    def _slowly(self, rows: Sequence[Any], column: Column) -> NDArray[Any]:
        others = {name: "" for name in self._allowed if name != column.name}
        alone = self._schema.model_copy(update={"columns": (column,), "ignored": others})
        return raw_batch(rows, alone)[column.name]


def numbers(columns: Sequence[Sequence[Any]], rows: int, *, truths: bool = True) -> NDArray[np.float64] | None:
    """JSON's numbers, by column, as float64 [rows, columns]; null is NaN. None where something else is among them.

    `truths`: whether true or false may be among them. If not, what is no number is refused by `struct`, which takes a
    third of the time of a look at the types and a conversion; it would take True for 1.

    >>> numbers([[1, None], [0.5, 2.5]], 2).tolist(), numbers([[1], [True]], 1), numbers([["1"]], 1, truths=False)
    ([[1.0, 0.5], [nan, 2.5]], None, None)
    """
    if not truths:
        with contextlib.suppress(struct.error):  # text, a list or null: look closer
            packed = struct.pack(f"{len(columns) * rows}d", *chain.from_iterable(columns))
            return np.frombuffer(packed).reshape(len(columns), rows).T
    if not _NUMBERS.issuperset(map(type, chain.from_iterable(columns))):
        return None
    try:
        return np.array(columns, np.float64).reshape(len(columns), rows).T
    except OverflowError:
        return None


def usual_texts(values: Sequence[Any]) -> bool:
    """Whether all are text, and so short that no column refuses them (`nasflow.data.raw.long_text`). Joining them says
    so four times as fast as a set of their types.

    >>> usual_texts(["a", ""]), usual_texts(["a", None]), usual_texts([b"a"]), usual_texts(["a", "b" * 300_000])
    (True, False, False, False)
    """
    try:
        length = len("".join(values))
    except TypeError:
        return False
    return length <= _SHORT or max(map(len, values)) <= _SHORT


def may_hold_truths(body: bytes | memoryview) -> bool:
    """Whether JSON has true or false somewhere, perhaps only in a text."""
    text = bytes(body)
    return b"true" in text or b"false" in text


def _numeric(values: Sequence[Any], _column: Column, _schema: Schema) -> NDArray[np.float64] | None:
    if not _NUMBERS.issuperset(map(type, values)):
        return None
    try:
        return np.array(values, np.float64)  # None becomes NaN
    except OverflowError:
        return None


def _vector(values: Sequence[Any], column: Column, _schema: Schema) -> NDArray[np.float64] | None:
    if set(map(type, values)) != {list} or set(map(len, values)) != {column.length}:
        return None
    numbers = list(chain.from_iterable(values))
    if not _NUMBERS.issuperset(map(type, numbers)):
        return None
    return np.array(numbers, np.float64).reshape(len(values), -1)


def _text(values: Sequence[Any], column: Column, _schema: Schema) -> NDArray[Any] | None:
    if not usual_texts(values):
        if not set(map(type, values)) <= _TEXTS.keys():
            return None
        values = [_TEXTS[type(value)](value) for value in values]
    if column.dtype == "bool":
        values = [value.lower() for value in values]
    return np.array(values, object)


def _long_text(values: Sequence[Any], column: Column, schema: Schema) -> NDArray[Any] | None:
    texts = _text(values, column, schema)
    return texts if texts is not None and usual_texts(texts.tolist()) else None


def _boolean(values: Sequence[Any], _column: Column, _schema: Schema) -> NDArray[Any] | None:
    if not set(map(type, values)) <= {bool, type(None)}:
        return None
    text = np.empty(len(values), object)
    text[:] = [_TEXTS[type(value)](value) for value in values]
    return text


def _image(values: Sequence[Any], _column: Column, schema: Schema) -> NDArray[Any] | None:
    form = schema.image
    if form is None or form.encoding != "array":
        return None
    sizes = [form.height, form.width, form.channels]
    flat: Sequence[Any] = values
    for place, size in enumerate(sizes):
        if set(map(type, flat)) != {list}:
            if place == 2 and form.channels == 1:
                break  # [height, width] of a grey image
            return None
        if set(map(len, flat)) != {size}:
            return None
        flat = list(chain.from_iterable(flat))
    if set(map(type, flat)) != {int}:
        return None
    try:
        pixels = bytes(flat)  # 0–255, or an error
    except ValueError:
        return None
    return np.frombuffer(pixels, np.uint8).reshape(len(values), *sizes)


_READERS: Mapping[str, Reader] = {
    "boolean": _boolean,
    "categorical": _text,
    "text": _long_text,
    "vector": _vector,
    "image": _image,
}
