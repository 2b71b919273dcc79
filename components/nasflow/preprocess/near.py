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
from nasflow.data.reader import pixels
from nasflow.preprocess.clean import CleanRows
from nasflow.preprocess.inspection import RowSample, row_ranks, shrink

HEIGHT, WIDTH = 8, 9
_KNOWN = 50_000
_ASKED = 1_000
BITS, _LEVELS = 2, 4
_THIRDS = tuple(np.uint64(sum(1 << bit for bit in range(third, 64, 3))) for third in range(3))
_AT_ONCE = 1_000_000
"""Pairs whose hashes are compared at once."""
_LOOKED, _BLOCK = 64, 16_384
"""Candidates of a picture, and pairs of pictures, whose grey levels are compared at once."""
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
                self.samples[split].add(ranks[chosen], _table(rows, chosen))

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

    Nearest by bits, ties by place. Hashes that differ in at most 2 bits agree in one of three thirds of them: only
    pictures that do are compared.
    """
    mine, others = dhash(first), dhash(second)
    found = np.full(len(first), -1)
    if not len(first) or not len(second):
        return found
    looked = [_Third.of(mine & third, others & third) for third in _THIRDS]
    total = np.cumsum(np.sum([third.counts for third in looked], axis=0))
    start = 0
    while start < len(first):
        before = int(total[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(total, before + _AT_ONCE, side="right")))
        rows, columns = (np.concatenate(each) for each in zip(*(t.pairs(start, stop) for t in looked), strict=True))
        bits = np.bitwise_count(mine[rows] ^ others[columns])
        near = np.flatnonzero(bits <= BITS)
        order = near[np.lexsort((columns[near], bits[near], rows[near]))]
        _choose(found, first, second, rows[order], columns[order])
        start = stop
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class _Third:
    """For each asked hash, which known ones agree with it in a third of the bits: `counts` from `starts` of `order`."""

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, asked: NDArray[np.uint64], known: NDArray[np.uint64]) -> "_Third":
        """Both uint64 [any number], the other bits 0."""
        order = np.argsort(known, kind="stable")
        ordered = known[order]
        starts = np.searchsorted(ordered, asked, side="left")
        return cls(order, starts, np.searchsorted(ordered, asked, side="right") - starts)

    def pairs(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of the asked ones [start, stop), and of those that agree with them."""
        rows = np.repeat(np.arange(start, stop), self.counts[start:stop])
        return rows, self.order[_ranges(self.starts[start:stop], self.counts[start:stop])]


def _ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """start, start + 1, … of each, one after the other.

    >>> _ranges(np.array([3, 7]), np.array([2, 1])).tolist()
    [3, 4, 7]
    """
    ends = np.cumsum(counts)
    return np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)


def _choose(
    found: NDArray[np.int64],
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> None:
    """The first of each row's candidates, which come in order, whose grey levels are alike; a few of each at a time."""
    open_rows = np.unique(rows)
    starts = np.searchsorted(rows, open_rows, side="left")
    stops = np.searchsorted(rows, open_rows, side="right")
    while len(open_rows):
        taken = np.minimum(stops - starts, _LOOKED)
        places = _ranges(starts, taken)
        parts = np.array_split(places, 1 + len(places) // _BLOCK)
        fits = np.concatenate([part[alike(first[rows[part]], second[columns[part]])] for part in parts])[::-1]
        found[rows[fits]] = columns[fits]  # of several, the last assignment stays: the first candidate
        starts += taken
        left = (found[open_rows] < 0) & (starts < stops)
        open_rows, starts, stops = open_rows[left], starts[left], stops[left]


def alike(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether grey levels uint8 [n, 8, 9] are alike, each picture moved to the same mean; bool [n]."""
    delta = (second.astype(np.int32) - first).reshape(len(first), HEIGHT * WIDTH)
    size = delta.shape[1]
    moved = size * delta - delta.sum(axis=1, keepdims=True)  # whole numbers: `size` times the levels, exactly
    return np.asarray(np.abs(moved).sum(axis=1) <= _LEVELS * size * size)


def _compare(asked: pa.Table, known: pa.Table) -> dict[str, Any]:
    new = np.isin(asked.column("fingerprint").to_numpy(), known.column("fingerprint").to_numpy(), invert=True)
    asked = asked.filter(pa.array(new))
    found = pairs(_pictures(asked), _pictures(known))
    near = np.flatnonzero(found >= 0)
    where = [_where(asked, int(place)) + _where(known, int(found[place])) for place in near[:_EXAMPLES]]
    return {"asked": len(new), "near": len(near), "known": known.num_rows, "examples": where}


def _where(table: pa.Table, row: int) -> list[Any]:
    return [table.column("file")[row].as_py(), table.column("row")[row].as_py()]


def _pictures(table: pa.Table) -> NDArray[np.uint8]:
    if not table.num_rows:
        return np.empty((0, HEIGHT, WIDTH), np.uint8)
    flat = [pixels(chunk, (HEIGHT, WIDTH, 1)) for chunk in table.column("picture").chunks]
    return np.concatenate(flat)[..., 0]


def shrunken(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [n, 8, 9] of uint8 [n, height, width, channels]."""
    return shrink(images, HEIGHT, WIDTH)


def _table(rows: CleanRows, chosen: NDArray[np.int64]) -> pa.Table:
    assert rows.images is not None
    flat = pa.py_buffer(np.ascontiguousarray(shrunken(rows.images[chosen])).reshape(-1))
    pictures = pa.FixedSizeBinaryArray.from_buffers(pa.binary(HEIGHT * WIDTH), len(chosen), [None, flat])
    kept = rows.kept[chosen]
    files = rows.batch.files_of(kept)
    numbers = pa.array(np.asarray(rows.batch.rows)[kept])
    return pa.table({"picture": pictures, "fingerprint": rows.fingerprints[chosen], "file": files, "row": numbers})
