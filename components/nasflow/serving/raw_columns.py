"""Raw columns by name, as a request has them: numbers side by side in one matrix, texts as they were read.

A network takes the numbers as one array and looks the texts up; the arrays of single columns, which everybody else
looks at (the request log, the SavedModel), are made when they are asked for. Fourteen of them cost as much as a small
layer.
"""

from collections.abc import Iterator, KeysView, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.serving.spans import Spans


class RawColumns(Mapping[str, NDArray[Any]]):
    """As `nasflow.data.raw.raw_batch` makes them.

    Attributes:
        matrix: float64 [rows, numbers], the columns `numbers` side by side; not changed afterwards.
        numbers: their names.
        words: columns of texts, by name, as Python has them.
        spans: instead, of a request of many rows: texts as places in its bytes.
        texts: the names of the spans' columns.
    """

    __slots__ = ("_columns", "matrix", "numbers", "spans", "texts", "words")

    def __init__(
        self,
        matrix: NDArray[np.float64],
        numbers: tuple[str, ...],
        *,
        words: Mapping[str, Sequence[str]] | None = None,
        spans: Spans | None = None,
        texts: tuple[str, ...] = (),
        others: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """`others`: the columns of other kinds."""
        self.matrix = matrix
        self.numbers = numbers
        self.words = words or {}
        self.spans = spans
        self.texts = texts
        self._columns: dict[str, NDArray[Any] | None] = dict.fromkeys((*numbers, *texts, *self.words))
        if others:
            self._columns.update(others)

    def __getitem__(self, name: str) -> NDArray[Any]:
        found = self._columns[name]
        if found is None:
            found = self._columns[name] = self._made(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def keys(self) -> KeysView[str]:
        """A dict's, which are compared at once."""
        return self._columns.keys()

    def _made(self, name: str) -> NDArray[Any]:
        if name in self.words:
            return np.array(self.words[name], object)
        if self.spans is not None and name in self.texts:
            return self.spans.texts(self.texts.index(name))
        return self.matrix[:, self.numbers.index(name)]


def rows_of(raw: Mapping[str, NDArray[Any]]) -> int:
    """How many they have."""
    return len(raw.matrix if type(raw) is RawColumns else next(iter(raw.values())))


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
