"""Raw columns by name, the numbers among them also as one matrix.

A request's numbers are read into one array at once, and a network takes them as one array: in between, a dict of
columns is what everybody else looks at (the request log, the SavedModel). Its columns are views, so this costs next to
nothing; stacking eight columns of one row takes as long as a small layer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class RawColumns(dict[str, NDArray[Any]]):
    """As `nasflow.data.raw.raw_batch` makes them.

    Attributes:
        matrix: float64 [rows, numbers], the columns `numbers` side by side; not changed afterwards.
        numbers: their names.
    """

    __slots__ = ("matrix", "numbers")

    def __init__(self, matrix: NDArray[np.float64], numbers: tuple[str, ...]) -> None:
        super().__init__(zip(numbers, matrix.T, strict=True))
        self.matrix = matrix
        self.numbers = numbers


class Numbers:
    """Takes some columns out of raw ones, as one matrix."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)

    def __call__(self, raw: Mapping[str, Any]) -> NDArray[np.float64]:
        """Float64 [rows, columns]; not to be written to.

        >>> raw = RawColumns(np.array([[1.0, 2.0], [3.0, 4.0]]), ("a", "b"))
        >>> Numbers(["b", "a"])(raw).tolist() == Numbers(["b", "a"])(dict(raw)).tolist() == [[2.0, 1.0], [4.0, 3.0]]
        True
        """
        if type(raw) is RawColumns:
            if raw.numbers == self._names:
                return raw.matrix
            if all(map(raw.numbers.__contains__, self._names)):
                return raw.matrix.take(list(map(raw.numbers.index, self._names)), axis=1)
        return np.array([raw[name] for name in self._names], np.float64).T
