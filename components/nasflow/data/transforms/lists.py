"""Lists of categories: which members a row has."""

from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from nasflow.data.codes import Codes
from nasflow.data.schema import LIST_SEPARATOR
from nasflow.data.transforms._base import UNKNOWN_ID, ColumnTransform, Part, RawColumn
from nasflow.data.transforms.categorical import outside_and_inside


class ListTransform(ColumnTransform):
    """A list, its elements joined by `LIST_SEPARATOR`, as many columns of 0.0 and 1.0 (multi-hot): a column for each
    element of the vocabulary, then one for each bucket of elements outside of it, by hash. How often an element is
    repeated does not matter. An empty list, and a missing one, is 0.0 everywhere."""

    vocabulary: tuple[str, ...]
    """Most frequent first, ties by text."""
    oov_buckets: Annotated[int, Field(ge=1)] = 1

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.vocabulary) + self.oov_buckets

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(Part(slot="plain", name=f"list/{self.name}/{place}") for place in range(self.width))

    def apply(self, values: RawColumn) -> list[NDArray[np.generic]]:
        return list(np.ascontiguousarray(multi_hot(self, values).T))


def multi_hot(transform: ListTransform, values: RawColumn) -> NDArray[np.float32]:
    """float32 [n, width].

    >>> transform = ListTransform(name="x", vocabulary=("a", "b"))
    >>> multi_hot(transform, [LIST_SEPARATOR.join(row) for row in (["b", "b"], [], ["c", "a"])]).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]]
    """
    codes = Codes.of(values)
    different = np.vstack([_of_texts(transform, codes.texts.values), np.zeros((1, transform.width), np.float32)])
    return different[codes.indices]  # the last one, of −1, is for missing


def _of_texts(transform: ListTransform, text: pa.Array) -> NDArray[np.float32]:
    split = pc.split_pattern(text, LIST_SEPARATOR)
    flat, rows = pc.list_flatten(split), np.asarray(pc.list_parent_indices(split), np.int64)
    ids = outside_and_inside(flat, transform.vocabulary, transform.oov_buckets)
    places = np.where(ids == UNKNOWN_ID, len(transform.vocabulary), ids - UNKNOWN_ID - 1)
    places = np.where(ids > UNKNOWN_ID + len(transform.vocabulary), ids - UNKNOWN_ID, places)
    found = np.zeros((len(text), transform.width), np.float32)
    named = np.asarray(pc.not_equal(flat, ""))
    found[rows[named], places[named]] = 1.0
    return found
