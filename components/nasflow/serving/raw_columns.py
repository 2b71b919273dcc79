"""Raw columns by name, the numbers among them also as one matrix, texts perhaps still in the request's bytes.

A request's numbers are read into one array at once, and a network takes them as one array: in between, a dict of
columns is what everybody else looks at (the request log, the SavedModel). Its columns are views, so this costs next to
nothing; stacking eight columns of one row takes as long as a small layer.
"""

from collections.abc import Iterator, KeysView, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.serving.spans import Spans


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


class LongColumns(Mapping[str, NDArray[Any]]):
    """The same for a request of many rows: texts are cut out of it when somebody asks for their column.

    Attributes:
        matrix, numbers: as above.
        spans: the texts.
        texts: the names of their columns.
    """

    __slots__ = ("_columns", "matrix", "numbers", "spans", "texts")

    def __init__(
        self, matrix: NDArray[np.float64], numbers: tuple[str, ...], spans: Spans, texts: tuple[str, ...]
    ) -> None:
        self._columns: dict[str, NDArray[Any] | None] = dict(zip(numbers, matrix.T, strict=True))
        self._columns.update(dict.fromkeys(texts))
        self.matrix = matrix
        self.numbers = numbers
        self.spans = spans
        self.texts = texts

    def __getitem__(self, name: str) -> NDArray[Any]:
        found = self._columns[name]
        if found is None:
            found = self._columns[name] = self.spans.texts(self.texts.index(name))
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def keys(self) -> KeysView[str]:
        """A dict's, which are compared at once."""
        return self._columns.keys()


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
        if type(raw) is RawColumns or type(raw) is LongColumns:
            if raw.numbers == self._names:
                return raw.matrix
            if all(map(raw.numbers.__contains__, self._names)):
                return raw.matrix.take(list(map(raw.numbers.index, self._names)), axis=1)
        return np.array([raw[name] for name in self._names], np.float64).T
