"""Texts: the ids of their first tokens, one tensor a column."""

import numpy as np
from numpy.typing import NDArray

from nasflow.data.codes import Codes
from nasflow.data.tensors import TEXT, TextShape
from nasflow.data.tokens import FIRST_ID, sequences
from nasflow.data.transforms._base import ColumnTransform, Part, RawColumn


class TextTransform(ColumnTransform):
    """Cut into tokens (`nasflow.data.tokens`), looked up in a vocabulary, cut or padded to `length` tokens.

    0 no token, 1 not in the vocabulary, 2.. the vocabulary's place + 2, then `buckets` ids for tokens outside of it, by
    their hash (so that 1 does not occur).
    """

    place: int
    """The tensor is ``text_PLACE``."""
    vocabulary: tuple[str, ...]
    """Folded tokens, those of most training rows first, ties by text."""
    buckets: int = 0
    length: int
    idf: tuple[float, ...] = ()
    """Of each token of the vocabulary, ln((1 + rows) / (1 + rows with it)) + 1 over the training rows: scikit-learn's
    smoothed inverse document frequency. What is not in the vocabulary is taken to be in one row."""
    unknown_idf: float = 0.0

    @property
    def parts(self) -> tuple[Part, ...]:
        return (Part(slot=f"{TEXT}{self.place}", name=f"text/{self.name}"),)

    @property
    def shape(self) -> TextShape:
        """Of the tensor."""
        ids = FIRST_ID + len(self.vocabulary) + self.buckets
        idf = (0.0, self.unknown_idf, *self.idf, *[self.unknown_idf] * self.buckets) if self.idf else ()
        return TextShape(length=self.length, ids=ids, idf=idf)

    def apply(self, values: RawColumn) -> list[NDArray[np.generic]]:
        """int32 [n, length]."""
        return [
            sequences(Codes.of(values).text(), vocabulary=self.vocabulary, buckets=self.buckets, length=self.length)
        ]
