"""Which rows are left out because their texts nearly repeat others', in bounded memory.

Every piece of the data leaves its rows' MinHash signatures (`nasflow.preprocess.near_texts`), a column for each band.
For each band, rows that agree in it meet: 8 bytes a row. Each is paired with the first of them, a test row before all
others. Then the pairs' whole signatures are compared, piece by piece. Test rows are never dropped.

A row that is dropped may have been the one that another is dropped for: of a chain of ever more changed texts the first
is left. Of rows whose text is the same, but whose other columns differ, the first is left, too.
"""

import numpy as np
from numpy.typing import NDArray

from nasflow.core.storage import storage_for
from nasflow.preprocess import drops
from nasflow.preprocess.near_texts import BANDS, HASHES, LEAST, bands, resemblance

NO_TEXT = 255
"""Role of rows without any token: they are like nothing."""
PAIR = np.dtype([("piece", "<u4"), ("place", "<u4"), ("other_piece", "<u4"), ("other_place", "<u4"), ("test", "u1")])
"""A row that may be dropped, and the one that it may repeat; whether that is a test row."""
_KEY = 8


def write_signatures(uri: str, signature: NDArray[np.uint16], roles: NDArray[np.uint8]) -> None:
    """One piece's uint16 [n, HASHES] and roles: their number, the roles, then band after band."""
    count = np.array([len(roles)], "<u8").tobytes()
    columns = np.ascontiguousarray(bands(signature).T.astype("<u8")).tobytes()
    storage_for(uri).write(uri, count + roles.astype("u1").tobytes() + columns)


def read_band(uri: str, band: int) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """uint64 [n] of one band, and the roles; only they are read."""
    with storage_for(uri).open(uri) as file:
        count = int(np.frombuffer(file.read(8), "<u8")[0])
        roles = np.frombuffer(file.read(count), "u1")
        file.seek(8 + count + band * count * _KEY)
        return np.frombuffer(file.read(count * _KEY), "<u8"), roles


def read_signatures(uri: str, places: NDArray[np.integer]) -> NDArray[np.uint16]:
    """uint16 [n, HASHES] of some rows of a piece."""
    columns = [read_band(uri, band)[0][places] for band in range(BANDS)]
    return np.stack(columns, axis=1).astype(np.uint64).view(np.uint16).reshape(len(places), HASHES)


def candidates(uris: list[str], band: int) -> NDArray[np.void]:
    """Pairs of all rows that agree in a band with the first that does."""
    parts = [read_band(uri, band) for uri in uris]
    keys = np.concatenate([key for key, _ in parts])
    roles = np.concatenate([role for _, role in parts])
    piece = np.repeat(np.arange(len(parts)), [len(key) for key, _ in parts])
    place = np.concatenate([np.arange(len(key)) for key, _ in parts])
    used = np.flatnonzero(roles != NO_TEXT)
    optional = roles[used] == drops.OPTIONAL
    order = used[np.lexsort((place[used], piece[used], optional, keys[used]))]
    ranked = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if len(ranked) else np.empty(0, int)
    leader = order[np.repeat(starts, np.diff(np.append(starts, len(ranked))))]
    chosen = (leader != order) & (roles[order] == drops.OPTIONAL)
    row, other = order[chosen], leader[chosen]
    found = np.empty(len(row), PAIR)
    found["piece"], found["place"] = piece[row], place[row]
    found["other_piece"], found["other_place"] = piece[other], place[other]
    found["test"] = roles[other] != drops.OPTIONAL
    return found


def verified(uris: list[str], pairs: NDArray[np.void]) -> NDArray[np.void]:
    """The pairs whose signatures are alike enough, one a row; those with a test row first."""
    pairs = np.unique(pairs)
    first = _signatures(uris, pairs["piece"], pairs["place"])
    second = _signatures(uris, pairs["other_piece"], pairs["other_place"])
    alike = pairs[resemblance(first, second) >= LEAST]
    alike = alike[np.lexsort((1 - alike["test"], alike["place"], alike["piece"]))]
    same = (alike["piece"][1:] == alike["piece"][:-1]) & (alike["place"][1:] == alike["place"][:-1])
    return alike[np.concatenate([[True], ~same])] if len(alike) else alike


def dropped(pairs: NDArray[np.void]) -> NDArray[np.void]:
    """Records for `drops.write_groups`, to be grouped by the pairs' piece."""
    found = np.empty(len(pairs), drops.DROP)
    found["place"] = pairs["place"]
    found["reason"] = np.where(pairs["test"] == 1, drops.NEAR_TEST, drops.NEARLY_REPEATS)
    return found


def _signatures(uris: list[str], pieces: NDArray[np.integer], places: NDArray[np.integer]) -> NDArray[np.uint16]:
    found = np.empty((len(pieces), HASHES), np.uint16)
    for piece in np.unique(pieces):
        rows = np.flatnonzero(pieces == piece)
        found[rows] = read_signatures(uris[piece], places[rows])
    return found
