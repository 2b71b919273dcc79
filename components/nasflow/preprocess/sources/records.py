"""Rows that come one by one, as names and Python values: types from a sample of all files, then columns.

A number among texts is text; a list, or an object, makes its column one that is not supported. A value that does not
fit the type that the sample showed, and a name that the sample did not have, make their row a dead letter.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from nasflow.preprocess.dead_letters import DeadLetter
from nasflow.preprocess.sources._base import Profile, RowBatch

Record: TypeAlias = Mapping[str, Any]
Type = Literal["null", "bool", "int", "float", "string", "binary", "other"]

_ARROW: dict[Type, Any] = {
    "null": pa.null(),
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    "binary": pa.large_binary(),
    "other": pa.list_(pa.null()),
}
_UNFIT: dict[Type, str] = {
    "bool": "not true or false",
    "int": "not a whole number",
    "float": "not a number",
    "string": "not text",
    "binary": "not bytes",
}
_PYTHON: dict[Type, set[type]] = {
    "bool": {bool, NoneType},
    "int": {int, NoneType},
    "float": {int, float, NoneType},
    "string": {str, bytes, NoneType},
    "binary": {bytes, NoneType},
}
"""What Arrow may convert at one pass; of others it would make numbers in silence (true: 1, 2.5: 2)."""
UNKNOWN = "a name that the beginning of the files does not have"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Names and types of the columns, in the order in which they first came."""

    types: tuple[tuple[str, Type], ...]

    @classmethod
    def infer(cls, rows: Iterable[Record], label: str) -> "Fields":
        """From a sample. Whole numbers stay whole in the label only: a feature may have a fraction further on."""
        found: dict[str, Type] = {}
        for row in rows:
            for name, value in row.items():
                found[name] = _joined(found.get(name, "null"), _type(value))
        types = ((name, "float" if kind == "int" and name != label else kind) for name, kind in found.items())
        return cls(types=tuple(types))

    @property
    def schema(self) -> pa.Schema:
        """As Arrow."""
        return pa.schema([(name, _ARROW[kind]) for name, kind in self.types])

    def profile(self, file: str, rows: Sequence[Record]) -> Profile:
        """What a file looks like from its first rows."""
        sample = self.batch(file, range(1, len(rows) + 1), rows).columns
        return Profile(file=file, schema=sample.schema, sample=sample)

    def batch(
        self,
        file: str,
        numbers: Sequence[int],
        rows: Sequence[Record],
        dead: Sequence[DeadLetter] = (),
    ) -> RowBatch:
        """Rows with their numbers in the file as columns; those that do not fit join the dead letters."""
        names = dict(self.types)
        bad: dict[int, DeadLetter] = {}

        def refuse(place: int, column: str, value: object, reason: str) -> None:
            shown = json.dumps(value, default=str) if isinstance(value, dict | list) else value
            letter = DeadLetter.of(file=file, row=numbers[place], column=column, value=shown, reason=reason)
            bad.setdefault(place, letter)

        for place, row in enumerate(rows):
            if not row.keys() <= names.keys():
                unknown = next(name for name in row if name not in names)
                refuse(place, unknown, row[unknown], UNKNOWN)
        arrays = []
        for name, kind in self.types:
            if kind in ("null", "other"):
                arrays.append(pa.nulls(len(rows), _ARROW[kind]))
                continue
            values = [row.get(name) for row in rows]
            try:
                if not set(map(type, values)) <= _PYTHON[kind]:
                    raise TypeError(kind)
                arrays.append(pa.array(values, _ARROW[kind]))
            except (pa.ArrowException, TypeError, OverflowError, ValueError):  # one by one, to find which
                for place, value in enumerate(values):
                    try:
                        values[place] = _fit(value, kind)
                    except ValueError:
                        refuse(place, name, value, _UNFIT[kind])
                        values[place] = None
                arrays.append(pa.array(values, _ARROW[kind]))
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        places = np.asarray(numbers, np.int64)
        if bad:
            kept = np.setdiff1d(np.arange(len(rows)), list(bad))
            batch, places = batch.take(pa.array(kept)), places[kept]
        return RowBatch(files=(file,), rows=places, columns=batch, dead=(*dead, *bad.values()))


def _type(value: object) -> Type:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int():
            return "int" if abs(value) < 2**63 else "float"
        case float():
            return "float"
        case str():
            return "string"
        case bytes():
            return "string" if _is_text(value) else "binary"
    return "other"


def _joined(one: Type, two: Type) -> Type:
    kinds = {one, two} - {"null"}
    if len(kinds) < 2:
        return next(iter(kinds), "null")
    if "other" in kinds:
        return "other"
    if kinds == {"int", "float"}:
        return "float"
    return "binary" if kinds == {"string", "binary"} else "other" if "binary" in kinds else "string"


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond float64: infinite, as where text is read
        return math.copysign(math.inf, value)


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fit(value: Any, kind: Type) -> Any:
    """The value as its column's type.

    Raises:
        ValueError: it is none.
    """
    if value is None:
        return None
    match kind, value:
        case "string", bool():
            return str(value).lower()
        case "string", bytes():
            return value.decode()
        case "string", str() | int() | float():
            text = str(value)
            text.encode()  # a lone surrogate is a ValueError
            return text
        case "bool", bool():
            return value
        case "float" | "int", bool():
            pass
        case "float", int() | float():
            return _float(value)
        case "int", int() | float() if abs(value) < 2**63 and int(value) == value:
            return int(value)
        case "binary", bytes():
            return value
        case "binary", str():
            return value.encode()
    raise ValueError(kind)
