"""From the cells of a text column to codes: read once for each different cell, and once for neighbouring batches that
have the same ones (those of a Parquet row group do)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.data.codes import Codes, Texts
from nasflow.preprocess import cells


@dataclasses.dataclass(frozen=True, slots=True)
class _Known:
    cells: pa.Array
    texts: Texts
    moved: NDArray[np.int32]
    """A cell's place in `texts`; −1 for one that means "no value", and behind all."""


class Encoder:
    """Remembers the last batch's different cells of each column."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def codes(self, name: str, values: pa.Array, read: Callable[[pa.Array], pa.Array]) -> Codes:
        """A column of any type that Arrow can encode; `read` makes strings of its different cells, null for none."""
        if pa.types.is_null(values.type):
            values = values.cast(pa.string())
        encoded = values if pa.types.is_dictionary(values.type) else pc.dictionary_encode(values)
        known = self._known.get(name)
        if known is None or not encoded.dictionary.equals(known.cells):
            read_as = Codes.renamed(pa.array(np.arange(len(encoded.dictionary))), read(encoded.dictionary))
            moved = np.append(read_as.indices, np.int32(-1))
            known = self._known[name] = _Known(encoded.dictionary, read_as.texts, moved)
        places = np.asarray(pc.fill_null(encoded.indices, -1))
        return Codes(known.texts, known.moved[places])


def too_long(codes: Codes) -> NDArray[np.bool_] | None:
    """Bool [n], which texts are longer than `cells.MAX_TEXT_BYTES`; None where none are."""
    found = codes.texts.once(too_long, _lengths, missing=False)
    return codes.each(found) if found.any() else None


def among(codes: Codes, texts: tuple[str, ...]) -> NDArray[np.bool_]:
    """Bool [n], which texts are one of `texts`."""
    return codes.each(codes.texts.once(texts, lambda values: _is_in(values, texts), missing=False))


def _lengths(values: pa.Array) -> NDArray[Any]:
    return np.asarray(pc.greater(pc.binary_length(values), cells.MAX_TEXT_BYTES))


def _is_in(values: pa.Array, texts: tuple[str, ...]) -> NDArray[Any]:
    return np.asarray(pc.is_in(values, value_set=pa.array(texts)))
