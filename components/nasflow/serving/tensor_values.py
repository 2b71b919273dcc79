"""A V2 tensor as an array of its announced shape and datatype, nothing converted in silence."""

import math
import struct
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import DataError

INTEGERS = {f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
FLOATS = {"FP16", "FP32", "FP64"}
_DATATYPES = INTEGERS | FLOATS | {"BOOL", "BYTES"}


class Tensor(Protocol):
    """What is read of ``kserve.InferInput``."""

    @property
    def name(self) -> str: ...

    @property
    def datatype(self) -> str: ...

    @property
    def shape(self) -> list[int]: ...

    @property
    def data(self) -> Any:
        """JSON data, flat or nested; None where the tensor came as binary data."""

    def as_numpy(self) -> NDArray[Any]:
        """Binary data as an array."""


def array(tensor: Tensor) -> NDArray[Any]:
    """Of the shape and datatype that it announces; floats of JSON are float64. Text is object[str] or, where it came as
    binary data, object[bytes]; null is NaN, or None.

    Raises:
        DataError: an unknown datatype, or data that does not fit it or the shape.
    """
    if tensor.datatype not in _DATATYPES:
        raise DataError(f"unknown datatype {tensor.datatype!r}; use one of {', '.join(sorted(_DATATYPES))}")
    if any(size < 0 for size in tensor.shape):
        raise DataError(f"shape {tensor.shape} has a negative size")
    try:
        if tensor.data is None:
            return tensor.as_numpy()
        flat = _flattened(tensor.data, tensor.shape)
    except (ValueError, struct.error) as error:  # ragged lists; binary data of another length
        raise DataError(f"data does not fit shape {tensor.shape} and datatype {tensor.datatype}: {error}") from error
    if len(flat) != math.prod(tensor.shape):
        raise DataError(f"shape {tensor.shape} needs {math.prod(tensor.shape)} values, got {len(flat)}")
    try:
        return _typed(flat, tensor.datatype).reshape(tensor.shape)
    except OverflowError as error:
        raise DataError(f"a number does not fit {tensor.datatype}: {error}") from error


def _flattened(data: Sequence[Any], shape: Sequence[int]) -> Sequence[Any]:
    """JSON data, flat or nested as `shape` says; other nesting is left to NumPy, which refuses ragged lists."""
    for size in shape[1:]:
        if set(map(type, data)) != {list} or set(map(len, data)) != {size}:
            break
        data = list(chain.from_iterable(data))
    if list in set(map(type, data)):
        flat: list[Any] = np.asarray(data, dtype=object).reshape(-1).tolist()
        return flat
    return data


def _typed(values: Sequence[Any], name: str) -> NDArray[Any]:
    """JSON values as the announced datatype, nothing converted in silence."""
    kinds = set(map(type, values))  # one look at all values; only where it leaves a doubt, at each
    if name == "BYTES":
        if not kinds <= {str, type(None)}:
            _require(values, lambda value: value is None or isinstance(value, str), name, "text or null")
        texts = np.empty(len(values), object)
        texts[:] = values
        return texts
    if name == "BOOL":
        if not kinds <= {bool}:
            _require(values, lambda value: isinstance(value, bool), name, "true or false")
        return np.array(values, bool)
    if name in FLOATS:
        if not kinds <= {float, int, type(None)}:
            _require(values, lambda value: value is None or _is_number(value), name, "numbers or null")
        return np.array(values, np.float64)  # None becomes NaN
    if not kinds <= {int}:
        _require(values, lambda value: _is_number(value) and float(value).is_integer(), name, "whole numbers")
        values = [int(value) for value in values]
    return np.array(values, np.dtype(name.lower()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require(values: Sequence[Any], fits: Callable[[Any], bool], name: str, what: str) -> None:
    for place, value in enumerate(values):
        if not fits(value):
            raise DataError(f"datatype {name} takes {what}, got {value!r:.80} at place {place}")
