"""Which rows are left out because their images nearly repeat others', in bounded memory.

Every piece of the data leaves its rows' difference hashes and shrunken pictures (`nasflow.preprocess.near`). The 64
bits are cut into four quarters: of two hashes that differ in two bits at most, two whole quarters are the same, so that
each such pair meets in one of the six pairs of quarters. There, rows are ordered by their whole hash and each is
compared with the 200 after it, and with the first of its hash; so a near duplicate can be missed only among more than
200 images that share half of their hash. Pairs that are near by their hashes are then compared by their grey levels
and, where rows have texts, by these.

A row is left out only for one that stays: a test row, or one that came before it. Test rows are never dropped.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.storage import storage_for
from nasflow.preprocess import drops
from nasflow.preprocess.near import BITS, HEIGHT, WIDTH, alike, dhash
from nasflow.preprocess.near_drops import PAIR, read_signatures
from nasflow.preprocess.near_texts import LEAST, resemblance

QUARTERS = tuple(itertools.combinations(range(4), 2))
"""The bands: any two of the four quarters of a hash."""
_NEIGHBOURS = 200
_MOST_PAIRS = 5_000_000
"""Of a band: 40 bytes each while it is looked at."""
_PICTURE = HEIGHT * WIDTH
_AT_ONCE = 1 << 18


def write_pictures(uri: str, small: NDArray[np.uint8], roles: NDArray[np.uint8]) -> None:
    """One piece's uint8 [n, 8, 9] and roles: their number, the roles, the hashes, the pictures."""
    count = np.array([len(roles)], "<u8").tobytes()
    hashes = dhash(small).astype("<u8").tobytes()
    storage_for(uri).write(uri, count + roles.astype("u1").tobytes() + hashes + np.ascontiguousarray(small).tobytes())


def read_hashes(uri: str) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """uint64 [n] and the roles; the pictures are not read."""
    with storage_for(uri).open(uri) as file:
        count = int(np.frombuffer(file.read(8), "<u8")[0])
        roles = np.frombuffer(file.read(count), "u1")
        return np.frombuffer(file.read(8 * count), "<u8"), roles


def read_pictures(uri: str, places: NDArray[np.integer]) -> NDArray[np.uint8]:
    """uint8 [n, 8, 9] of some rows of a piece."""
    with storage_for(uri).open(uri) as file:
        count = int(np.frombuffer(file.read(8), "<u8")[0])
        file.seek(8 + 9 * count)
        return np.frombuffer(file.read(_PICTURE * count), np.uint8).reshape(count, HEIGHT, WIDTH)[places]


def candidates(uris: Sequence[str], band: int) -> NDArray[np.void]:
    """Pairs whose hashes share both quarters of a band and differ in two bits at most, the later one first; a test row
    counts as earlier than all others, and two test rows are no pair."""
    parts = [read_hashes(uri) for uri in uris]
    hashes = np.concatenate([found for found, _ in parts])
    optional = np.concatenate([roles for _, roles in parts]) == drops.OPTIONAL
    piece = np.repeat(np.arange(len(parts)), [len(found) for found, _ in parts])
    place = np.concatenate([np.arange(len(found)) for found, _ in parts])
    mask = np.uint64(sum(0xFFFF << 16 * quarter for quarter in QUARTERS[band]))
    keys = hashes & mask
    order = np.lexsort((place, piece, hashes, keys))
    found = [_with_first(order, hashes, optional)]
    for step in range(1, min(_NEIGHBOURS, len(order) - 1) + 1):
        first, second = order[:-step], order[step:]
        meets = keys[first] == keys[second]
        if not meets.any():
            break  # ordered by key: farther neighbours do not meet, either
        meets &= np.bitwise_count(hashes[first] ^ hashes[second]) <= BITS
        meets &= optional[first] | optional[second]
        found.append(np.stack([first[meets], second[meets]], axis=1))
        if sum(map(len, found)) > _MOST_PAIRS:
            break  # masses of one hash, whose rows are paired with its first
    rows = np.sort(np.concatenate(found), axis=1)[:, ::-1]  # (later, earlier), in the order of the pieces
    rows = np.where(optional[rows[:, 0]][:, None], rows, rows[:, ::-1])  # the row that may go first
    pairs = np.empty(len(rows), PAIR)
    pairs["piece"], pairs["place"] = piece[rows[:, 0]], place[rows[:, 0]]
    pairs["other_piece"], pairs["other_place"] = piece[rows[:, 1]], place[rows[:, 1]]
    pairs["test"] = ~optional[rows[:, 1]]
    return pairs


def _with_first(order: NDArray[np.int64], hashes: NDArray[np.uint64], optional: NDArray[np.bool_]) -> NDArray[np.int64]:
    """int64 [n, 2]: every row with the first of its whole hash, a test row before all others."""
    order = order[np.lexsort((order, optional[order], hashes[order]))]
    ranked = hashes[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if len(ranked) else np.empty(0, int)
    leader = order[np.repeat(starts, np.diff(np.append(starts, len(ranked))))]
    pairs = np.stack([leader, order], axis=1)
    return pairs[(leader != order) & optional[order]]


def verified(uris: Sequence[str], pairs: NDArray[np.void], signed: Sequence[str] | None) -> NDArray[np.void]:
    """The pairs that are near duplicates, by row. `signed`: where the rows' texts have left their signatures; then
    these must be alike, too (two rows without any token are)."""
    pairs = np.unique(pairs)
    kept = [pairs[:0]]
    for start in range(0, len(pairs), _AT_ONCE):
        part = pairs[start : start + _AT_ONCE]
        mine, others = (
            _rows(uris, part[piece], part[place], read_pictures)
            for piece, place in (("piece", "place"), ("other_piece", "other_place"))
        )
        part = part[alike(mine, others)]
        if signed is not None:
            first = _rows(signed, part["piece"], part["place"], read_signatures)
            second = _rows(signed, part["other_piece"], part["other_place"], read_signatures)
            part = part[resemblance(first, second) >= LEAST]
        kept.append(part)
    return np.concatenate(kept)


def dropped(pairs: NDArray[np.void]) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """Records for `drops.write_groups` and their pieces: row after row, one is dropped where it is near a test row, or
    near an earlier row that was not dropped itself."""
    pairs = pairs[np.lexsort((1 - pairs["test"], pairs["place"], pairs["piece"]))]
    gone: dict[tuple[int, int], int] = {}
    for piece, place, other_piece, other_place, test in pairs.tolist():
        if (piece, place) not in gone and (test or (other_piece, other_place) not in gone):
            gone[piece, place] = drops.IMAGE_NEAR_TEST if test else drops.IMAGE_REPEATS
    records = np.array([(place, reason) for (_, place), reason in gone.items()], drops.DROP)
    return records, np.array([piece for piece, _ in gone], np.int64)


def _rows(uris: Sequence[str], pieces: NDArray[np.integer], places: NDArray[np.integer], read: Any) -> NDArray[Any]:
    found: Any = None
    for piece in np.unique(pieces):
        rows = np.flatnonzero(pieces == piece)
        values = read(uris[piece], places[rows])
        if found is None:
            found = np.empty((len(pieces), *values.shape[1:]), values.dtype)
        found[rows] = values
    return read(uris[0], places) if found is None else found
