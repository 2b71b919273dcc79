"""Which rows are left out: duplicates and conflicting labels, decided exactly and in bounded memory.

Every piece of the data leaves a small file of (fingerprint, label, place) records in 256 buckets of the fingerprint. A
worker then takes some buckets of all files, so that equal rows meet, and leaves the places to drop, by piece. Of equal
rows the first in the order of the pieces stays. Test rows are never dropped.
"""

import dataclasses
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from nasflow.core.storage import storage_for
from nasflow.preprocess.clean import CleanRows
from nasflow.preprocess.dead_letters import DROPPED

BUCKETS = 256
RECORD = np.dtype([("row", "<u8"), ("label", "<u8"), ("piece", "<u4"), ("place", "<u4"), ("role", "u1")])
"""Fingerprint; bits of the label; index of the piece; the row's place among the piece's usable rows; `OPTIONAL` or
`KEPT`."""
OPTIONAL, KEPT, TEST_FILE = 0, 1, 2
"""A training or validation row; a test row that was split off; a row of the test file."""
DROP = np.dtype([("place", "<u4"), ("reason", "u1")])
REPEATS, IN_TEST, CONFLICTS, NEARLY_REPEATS, NEAR_TEST, IMAGE_REPEATS, IMAGE_NEAR_TEST, SUSPECT = range(8)
REASONS = (
    DROPPED + "repeats an earlier row",
    DROPPED + "its features are in the test rows",
    DROPPED + "its features have another label more often",
    DROPPED + "its text nearly repeats an earlier row's",
    DROPPED + "its text nearly repeats a test row's",
    DROPPED + "its image nearly repeats an earlier row's",
    DROPPED + "its image nearly repeats a test row's",
    DROPPED + "its label is probably wrong",
)
_COUNT = struct.Struct("<Q")


def decide(
    records: NDArray[np.void], *, duplicates: bool, conflicts: bool
) -> tuple[NDArray[np.void], NDArray[np.int8]]:
    """The records to drop, and why; all records of a fingerprint must be there.

    Conflicts are judged by the rows of the training source as they came, repeats included: a label that was written
    three times weighs more than one written once. A row is dropped for the first reason that holds: conflict, in the
    test rows, repeat.
    """
    order = np.lexsort((records["place"], records["piece"], records["label"], records["row"]))
    records = records[order]
    reasons = np.full(len(records), -1, np.int8)
    if not len(records):
        return records, reasons
    optional = records["role"] == OPTIONAL
    row = _groups(records["row"][1:] != records["row"][:-1])
    new_label = (records["row"][1:] != records["row"][:-1]) | (records["label"][1:] != records["label"][:-1])
    pair = _groups(new_label)
    if duplicates:
        in_test = np.zeros(row[-1] + 1, bool)
        in_test[row[~optional]] = True
        own = records["role"] != TEST_FILE
        first = np.full(pair[-1] + 1, len(records))
        np.minimum.at(first, pair[own], np.flatnonzero(own))  # sorted by place: the smallest index came first
        reasons[own & (np.arange(len(records)) != first[pair])] = REPEATS
        reasons[in_test[row]] = IN_TEST
    if conflicts:
        votes = np.bincount(pair, weights=records["role"] != TEST_FILE)
        row_of_pair = np.zeros(pair[-1] + 1, np.int64)
        row_of_pair[pair] = row
        most = np.zeros(row[-1] + 1)
        np.maximum.at(most, row_of_pair, votes)
        winners = np.bincount(row_of_pair, weights=votes == most[row_of_pair])
        wins = (votes == most[row_of_pair]) & (winners[row_of_pair] == 1)
        reasons[~wins[pair]] = CONFLICTS
    dropped = optional & (reasons >= 0)
    return records[dropped], reasons[dropped]


def _groups(changes: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(changes)])


def bucket(rows: NDArray[np.uint64]) -> NDArray[np.int64]:
    """int64 [n] from uint64 fingerprints [n]: their upper 8 bits."""
    return (rows >> np.uint64(56)).astype(np.int64)


def write_groups(uri: str, records: NDArray[np.void], groups: NDArray[np.int64], count: int) -> None:
    """One object with records by group: the number of groups, where each one starts, then the records."""
    order = np.argsort(groups, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(groups, minlength=count))]).astype("<u8")
    storage_for(uri).write(uri, _COUNT.pack(count) + starts.tobytes() + records[order].tobytes())


def read_groups(uri: str, first: int, stop: int, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """Records of the groups [first, stop) of an object, in order of the groups; only they are read."""
    with storage_for(uri).open(uri) as file:
        (count,) = _COUNT.unpack(file.read(_COUNT.size))
        file.seek(_COUNT.size + 8 * first)
        starts = np.frombuffer(file.read(8 * (stop - first + 1)), "<u8").astype(np.int64)
        file.seek(_COUNT.size + 8 * (count + 1) + int(starts[0]) * dtype.itemsize)
        return np.frombuffer(file.read(int(starts[-1] - starts[0]) * dtype.itemsize), dtype)


def dropped_places(uris: Sequence[str], piece: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """A piece's places to drop, ascending, and the reasons; of several reasons that of the object named first."""
    parts = [read_groups(uri, piece, piece + 1, DROP) for uri in uris]
    found = np.concatenate(parts) if parts else np.empty(0, DROP)
    found = found[np.unique(found["place"], return_index=True)[1]]
    return found["place"].astype(np.int64), found["reason"]


def without(
    batches: Iterable[CleanRows],
    uris: Sequence[str],
    piece: int,
    said: Mapping[int, tuple[str, str]] = MappingProxyType({}),
) -> Iterator[CleanRows]:
    """A piece's batches without the rows to drop, which become dead letters; `said` has column and value of some of
    their places, for rows that are dropped as `SUSPECT`."""
    places, reasons = dropped_places(uris, piece)
    start = 0
    for rows in batches:
        low, high = np.searchsorted(places, [start, start + rows.rows])
        if low < high:
            gone = places[low:high] - start
            letters = []
            for row, reason in zip(gone.tolist(), reasons[low:high].tolist(), strict=True):
                column, value = said[start + row] if reason == SUSPECT else ("", "")
                letters.append(rows.letter(row, column=column, value=value, reason=REASONS[reason]))
            kept = rows.take(np.setdiff1d(np.arange(rows.rows), gone))
            yield dataclasses.replace(kept, dead=(*rows.dead, *letters))
        else:
            yield rows
        start += rows.rows
