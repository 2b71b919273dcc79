"""Text columns, dictionary-encoded: what is done to a text is done once for each different one, not once a row."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


class Texts:
    """Different texts, and what was worked out about them. Batches of one column may share them."""

    __slots__ = ("_known", "values")

    def __init__(self, values: pa.Array) -> None:
        """`values`: Arrow strings without null; a text may be there twice."""
        self.values = values
        self._known: dict[int, tuple[object, NDArray[Any]]] = {}

    def __len__(self) -> int:
        return len(self.values)

    def once(self, owner: object, make: Callable[[pa.Array], NDArray[Any]], *, missing: Any) -> NDArray[Any]:
        """`make(values)` with `missing` behind it, for `Codes.each`; remembered for `owner`, which is compared by
        identity."""
        known = self._known.get(id(owner))
        if known is None:  # the owner is kept, so that its identity stays its own
            made = make(self.values)
            known = self._known[id(owner)] = (owner, np.append(made, np.asarray(missing, made.dtype)))
        return known[1]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """A text column [n]: places in `texts`, int32 [n], −1 where the text is missing."""

    texts: Texts
    indices: NDArray[np.int32]

    @classmethod
    def of(cls, values: Any) -> "Codes":
        """From Arrow strings (also dictionary-encoded), or from an iterable of str and None."""
        if isinstance(values, Codes):
            return values
        if not isinstance(values, pa.Array):
            values = pa.array(list(values), pa.string())
        if not pa.types.is_dictionary(values.type):
            values = pc.dictionary_encode(values)
        return cls.renamed(values.indices, values.dictionary)

    @classmethod
    def renamed(cls, indices: Any, names: pa.Array) -> "Codes":
        """Arrow integers [n], null for missing, and what each stands for: null is missing, too."""
        places = np.asarray(pc.fill_null(indices, -1)).astype(np.int32, copy=False)
        if names.null_count:
            present = np.asarray(names.is_valid())
            moved = np.append(np.where(present, np.cumsum(present) - 1, -1), -1).astype(np.int32)
            places, names = moved[places], pc.drop_null(names)
        return cls(Texts(names), places)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, row: int) -> str | None:
        place = int(self.indices[row])
        return None if place < 0 else str(self.texts.values[place].as_py())

    def __iter__(self) -> Iterator[str | None]:
        return iter(self.text().to_pylist())

    def take(self, rows: NDArray[np.integer[Any]]) -> "Codes":
        """A selection of rows."""
        return Codes(self.texts, self.indices[rows])

    def each(self, values: NDArray[Any]) -> NDArray[Any]:
        """What a row's text has in `values` [texts + 1]; the last one is for missing. See `Texts.once`."""
        return values[self.indices]

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Bool [n]."""
        return self.indices < 0

    def counts(self) -> NDArray[np.int64]:
        """int64 [texts + 1]: how often each text occurs, and last how many are missing."""
        found = np.bincount(self.indices + np.int32(1), minlength=len(self.texts) + 1)
        return np.append(found[1:], found[0])

    def text(self) -> pa.Array:
        """Arrow strings [n], null where missing."""
        return self.texts.values.take(pa.array(self.indices, mask=self.missing))
