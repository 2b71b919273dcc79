"""Categories: text to ids."""

from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from nasflow.data.codes import Codes
from nasflow.data.transforms._base import FIRST_ID, MISSING_ID, UNKNOWN_ID, ColumnTransform, Part, RawColumn
from nasflow.data.transforms.hashing import buckets_of


class CategoricalTransform(ColumnTransform):
    """Text to id: 0 missing (null or empty text), 1 not in the vocabulary, 2.. the vocabulary's place + 2.

    With several `oov_buckets` a text outside of the vocabulary goes to bucket b by its hash
    (`nasflow.data.transforms.hashing`): id 1 for b = 0, and behind the vocabulary for the others. Without a vocabulary
    every text is hashed.
    """

    vocabulary: tuple[str, ...]
    """Most frequent first, ties by text."""
    oov_buckets: Annotated[int, Field(ge=1)] = 1

    @property
    def ids(self) -> int:
        """How many there are."""
        return FIRST_ID + len(self.vocabulary) + self.oov_buckets - 1

    @property
    def parts(self) -> tuple[Part, ...]:
        return (Part(slot="categorical", name=f"categorical/{self.name}", ids=self.ids),)

    def apply(self, values: RawColumn) -> list[NDArray[np.generic]]:
        return [categorical(self, values)]


def categorical(transform: CategoricalTransform, values: RawColumn) -> NDArray[np.int32]:
    """Text to ids, int32 [n]: 0 for null and empty text.

    >>> hashed = CategoricalTransform(name="x", vocabulary=("a",), oov_buckets=3)
    >>> categorical(hashed, ["a", "", "b", "c", "e"]).tolist()  # the hashes of b, c and e, mod 3, are 1, 0 and 2
    [2, 0, 3, 1, 4]
    """

    def ids(text: pa.Array) -> NDArray[np.int32]:
        known = outside_and_inside(text, transform.vocabulary, transform.oov_buckets)
        return np.where(np.asarray(pc.equal(text, "")), MISSING_ID, known).astype(np.int32)

    codes = Codes.of(values)
    return codes.each(codes.texts.once(transform, ids, missing=MISSING_ID))


def outside_and_inside(text: pa.Array, vocabulary: tuple[str, ...], oov_buckets: int) -> NDArray[np.int64]:
    """Ids [n] from 1: 1 for bucket 0, then the vocabulary, then the other buckets."""
    places = pc.index_in(text, value_set=pa.array(vocabulary, pa.string()))
    ids = np.array(pc.fill_null(pc.add(places, pa.scalar(FIRST_ID, pa.int32())), UNKNOWN_ID), np.int64)
    if oov_buckets > 1:
        unknown = np.flatnonzero(ids == UNKNOWN_ID)
        buckets = buckets_of(text.take(pa.array(unknown)), oov_buckets)
        ids[unknown] = np.where(buckets > 0, buckets + len(vocabulary) + UNKNOWN_ID, UNKNOWN_ID)
    return ids
