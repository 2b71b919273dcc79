"""Which rows are dropped: against a slow and simple rule, and through the files between workers."""

from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.preprocess import drops

_ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), max_size=25)


def _records(rows: list[tuple[int, int, int, int]]) -> np.ndarray:
    """(row, label, role, piece); the place counts within the piece. A role belongs to the row, as splits do, but for
    the test file, which may hold anything."""
    records = np.zeros(len(rows), drops.RECORD)
    seen: Counter[int] = Counter()
    for number, (row, label, role, piece) in enumerate(rows):
        records[number] = (row, label, piece, seen[piece], role)
        seen[piece] += 1
    return records


def _slowly(records: np.ndarray, *, duplicates: bool, conflicts: bool) -> dict[tuple[int, int], int]:
    ordered = sorted(records.tolist(), key=lambda r: (r[2], r[3]))
    own = [r for r in ordered if r[4] != drops.TEST_FILE]
    votes = Counter((r[0], r[1]) for r in own)
    held_out = {r[0] for r in ordered if r[4] != drops.OPTIONAL}
    dropped, seen = {}, set()
    for row, label, piece, place, role in own:
        repeated = (row, label) in seen
        seen.add((row, label))
        if role != drops.OPTIONAL:
            continue
        rivals = [count for (other, name), count in votes.items() if other == row and name != label]
        if conflicts and rivals and max(rivals) >= votes[row, label]:
            dropped[piece, place] = drops.CONFLICTS
        elif duplicates and row in held_out:
            dropped[piece, place] = drops.IN_TEST
        elif duplicates and repeated:
            dropped[piece, place] = drops.REPEATS
    return dropped


@settings(deadline=None)
@given(_ROWS, st.booleans(), st.booleans(), st.randoms())
def test_equal_to_the_simple_rule_in_any_order(
    rows: list[tuple[int, int, int, int]], duplicates: bool, conflicts: bool, random: object
) -> None:
    records = _records(rows)
    expected = _slowly(records, duplicates=duplicates, conflicts=conflicts)
    order = list(range(len(records)))
    random.shuffle(order)
    found, reasons = drops.decide(records[order], duplicates=duplicates, conflicts=conflicts)
    got = {(r["piece"], r["place"]): why for r, why in zip(found, reasons.tolist(), strict=True)}
    assert got == expected


def test_by_hand() -> None:
    records = _records(
        [(7, 1, 0, 0), (7, 1, 0, 0), (7, 2, 0, 1), (8, 1, 0, 1), (8, 2, 0, 1), (9, 1, 0, 1), (9, 1, 2, 2)]
    )
    found, reasons = drops.decide(records, duplicates=True, conflicts=True)
    why = {(r["row"], r["label"], r["place"]): reason for r, reason in zip(found, reasons.tolist(), strict=True)}
    assert why == {
        (7, 1, 1): drops.REPEATS,
        (7, 2, 0): drops.CONFLICTS,  # two against one
        (8, 1, 1): drops.CONFLICTS,  # one against one: both go
        (8, 2, 2): drops.CONFLICTS,
        (9, 1, 3): drops.IN_TEST,
    }


def test_groups_are_read_back_alone(tmp_path: Path) -> None:
    rows = np.array([0, 1 << 56, 255 << 56, 1 << 56], np.uint64)
    records = np.zeros(4, drops.RECORD)
    records["row"], records["place"] = rows, np.arange(4)
    uri = str(tmp_path / "records")
    drops.write_groups(uri, records, drops.bucket(rows), drops.BUCKETS)
    assert drops.read_groups(uri, 1, 2, drops.RECORD)["place"].tolist() == [1, 3]
    assert drops.read_groups(uri, 2, 256, drops.RECORD)["place"].tolist() == [2]
    assert drops.read_groups(uri, 0, 256, drops.RECORD)["place"].tolist() == [0, 1, 3, 2]
    assert drops.read_groups(uri, 5, 6, drops.RECORD).tolist() == []
