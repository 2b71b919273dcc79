"""Near duplicates among images: the same picture, saved or cropped or lit a little differently.

Each image has a difference hash of 64 bits (Krawetz 2013: grey, 9 × 8 by averaging areas, does brightness rise to the
right?) and its 72 grey levels. Two images are near duplicates where at most 2 bits differ and the mean difference of
their grey levels, each set moved to the same mean, is at most 4 of 255; flat pictures would else be all alike.
"""

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.core.artifacts import SPLITS
from nasflow.preprocess.clean import CleanRows
from nasflow.preprocess.inspection import RowSample, row_ranks, shrink

HEIGHT, WIDTH = 8, 9
_KNOWN = 50_000
_ASKED = 1_000
BITS, _LEVELS = 2, 4.0
_AT_ONCE = 100
_EXAMPLES = 10


def dhash(small: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """uint64 [n] of uint8 [n, 8, 9]: bit 8 × row + column, from the top left, is 1 where the next is brighter."""
    rises = small[:, :, 1:] > small[:, :, :-1]
    return np.packbits(rises.reshape(len(small), 64), axis=1).view(">u8")[:, 0].astype(np.uint64)


@dataclasses.dataclass(slots=True)
class NearImages:
    """Samples of each split's images, as shrunken pictures: 50,000 of the training rows, 1,000 of the others."""

    samples: dict[str, RowSample] = dataclasses.field(
        default_factory=lambda: {split: RowSample(_KNOWN if split == "train" else _ASKED) for split in SPLITS}
    )

    def update(self, rows: CleanRows, places: NDArray[np.int8], priorities: NDArray[np.uint64]) -> None:
        """Offers cleaned images."""
        if rows.images is None:
            return
        ranks = row_ranks(rows, priorities)
        for number, split in enumerate(SPLITS):
            chosen = np.flatnonzero(places == number)
            chosen = chosen[self.samples[split].wanted(ranks[chosen])]
            if len(chosen):
                self.samples[split].add(ranks[chosen], _table(rows.take(chosen)))

    def merge(self, other: "NearImages") -> None:
        """Adds another part's."""
        for split, sample in self.samples.items():
            sample.merge(other.samples[split])

    def found(self) -> dict[str, dict[str, Any]]:
        """By split (``validation``, ``test``): how many images were looked at, how many have a near duplicate among
        the known training images that is not an exact one, of how many, and examples."""
        tables = {split: sample.compact() for split, sample in self.samples.items()}
        train = tables["train"]
        if train is None:
            return {}
        return {split: _compare(tables[split], train) for split in SPLITS[1:] if tables[split] is not None}


def pairs(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.int64]:
    """int64 [n]: for each of `first` uint8 [n, 8, 9] the place of its nearest near duplicate in `second`, −1 for none.

    Nearest by bits, ties by place.
    """
    mine, others = dhash(first), dhash(second)
    found = np.full(len(first), -1)
    flat = second.reshape(len(second), -1).astype(np.float32)
    for start in range(0, len(first), _AT_ONCE):
        bits = np.bitwise_count(mine[start : start + _AT_ONCE, None] ^ others[None, :])
        for row, column in zip(*np.nonzero(bits <= BITS), strict=True):
            place = start + int(row)
            if found[place] >= 0 and bits[row, found[place]] <= bits[row, column]:
                continue
            delta = flat[column] - first[place].reshape(-1)
            if np.abs(delta - delta.mean()).mean() <= _LEVELS:
                found[place] = column
    return found


def alike(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether grey levels uint8 [n, 8, 9] are alike, each picture moved to the same mean; bool [n]."""
    delta = (second.astype(np.float32) - first.astype(np.float32)).reshape(len(first), -1)
    return np.asarray(np.abs(delta - delta.mean(axis=1, keepdims=True)).mean(axis=1) <= _LEVELS)


def _compare(asked: pa.Table, known: pa.Table) -> dict[str, Any]:
    exact = set(known.column("fingerprint").to_pylist())
    new = np.array([print_ not in exact for print_ in asked.column("fingerprint").to_pylist()])
    asked = asked.filter(pa.array(new))
    found = pairs(_pictures(asked), _pictures(known))
    near = np.flatnonzero(found >= 0)
    where = [_where(asked, int(place)) + _where(known, int(found[place])) for place in near[:_EXAMPLES]]
    return {"asked": len(new), "near": len(near), "known": known.num_rows, "examples": where}


def _where(table: pa.Table, row: int) -> list[Any]:
    return [table.column("file")[row].as_py(), table.column("row")[row].as_py()]


def _pictures(table: pa.Table) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(table.column("picture").to_pylist()), np.uint8).reshape(-1, HEIGHT, WIDTH)


def shrunken(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [n, 8, 9] of uint8 [n, height, width, channels]."""
    return shrink(images, HEIGHT, WIDTH)


def _table(rows: CleanRows) -> pa.Table:
    assert rows.images is not None
    flat = pa.py_buffer(np.ascontiguousarray(shrunken(rows.images)).reshape(-1))
    pictures = pa.FixedSizeBinaryArray.from_buffers(pa.binary(HEIGHT * WIDTH), rows.rows, [None, flat])
    files = pa.array([rows.batch.file(int(place)) for place in rows.kept], pa.string())
    numbers = pa.array(np.asarray(rows.batch.rows)[rows.kept])
    return pa.table({"picture": pictures, "fingerprint": rows.fingerprints, "file": files, "row": numbers})
