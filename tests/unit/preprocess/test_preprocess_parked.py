"""Fingerprints that wait in the work dir: the same counts as if they had stayed, and nothing of them is left."""

from pathlib import Path

import numpy as np

from nasflow.preprocess.fingerprints import Fingerprints
from nasflow.preprocess.parked import collect, park, remove


def _prints(rows: list[int], labels: list[int]) -> Fingerprints:
    found = Fingerprints()
    found.update(np.array(rows, np.uint64), np.array(labels, np.uint64) << np.uint64(40))
    return found


def test_parked_parts_are_counted_together(tmp_path: Path) -> None:
    first = {"train": _prints([1, 2, 2], [0, 0, 0]), "test": _prints([], [])}
    second = {"train": _prints([2, 3], [1, 0]), "test": _prints([3, 9], [0, 0])}
    names = [*park(first, str(tmp_path / "parts"), 0), *park(second, str(tmp_path / "parts"), 1)]
    assert [Path(name).name for name in names] == ["00000-train", "00001-train", "00001-test"]
    content = Path(names[0]).read_bytes()
    assert len(content) == 16 + 2 * 20  # two different rows of 20 bytes
    assert park(first, str(tmp_path / "parts"), 0) == tuple(names[:1])  # a retry leaves the same
    assert Path(names[0]).read_bytes() == content
    found = collect(names)
    assert found["train"].duplicates() == 2  # 2 comes three times
    assert found["train"].conflicting() == 3  # with two labels
    assert found["test"].shared(found["train"]) == 1
    remove(names)
    assert not [*(tmp_path / "parts").iterdir()]
