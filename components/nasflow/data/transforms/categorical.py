"""Categories: text to ids."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.data.codes import Codes
from nasflow.data.transforms._base import FIRST_ID, MISSING_ID, UNKNOWN_ID, ColumnTransform, Part, RawColumn


class CategoricalTransform(ColumnTransform):
    """Text to id: 0 missing (null or empty text), 1 not in the vocabulary, 2.. the vocabulary's place + 2."""

    vocabulary: tuple[str, ...]
    """Most frequent first, ties by text."""

    @property
    def parts(self) -> tuple[Part, ...]:
        return (Part(slot="categorical", name=f"categorical/{self.name}", ids=len(self.vocabulary) + FIRST_ID),)

    def apply(self, values: RawColumn) -> list[NDArray[np.generic]]:
        return [categorical(self, values)]


def categorical(transform: CategoricalTransform, values: RawColumn) -> NDArray[np.int32]:
    """Text to ids, int32 [n]: 0 for null and empty text, 1 for text outside the vocabulary."""

    def ids(text: pa.Array) -> NDArray[np.int32]:
        places = pc.index_in(text, value_set=pa.array(transform.vocabulary, pa.string()))
        known = pc.fill_null(pc.add(places, pa.scalar(FIRST_ID, pa.int32())), UNKNOWN_ID)
        return np.asarray(pc.if_else(pc.equal(text, ""), pa.scalar(MISSING_ID, pa.int32()), known), np.int32)

    codes = Codes.of(values)
    return codes.each(codes.texts.once(transform, ids, missing=MISSING_ID))
