"""The weights of trials that have ended, for others to start from: as many as a bound allows, the best ones longest."""

import math
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from nasflow.search.study import Study

MOST_BYTES = 2 << 30


class Weights:
    """A local folder with one subfolder a trial (`nasflow.models.checkpoint`)."""

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder
        self._most = most_bytes
        self._sizes: dict[str, int] = {}

    def trim(self, study: Study) -> None:
        """Removes what is beyond the bound: first of trials that failed, then the worst of those that ended, never of
        one that runs or that a running trial starts from."""
        held = {r.trial_id for r in study.ledger.running} | {r.inherit for r in study.ledger.running}
        sizes = self._measured(held)
        total = sum(sizes.values())
        for trial_id in sorted(set(sizes) - held, key=lambda name: _worth(study, name)):
            if total <= self._most and _worth(study, trial_id)[0]:
                return
            shutil.rmtree(self.folder / trial_id, ignore_errors=True)
            total -= sizes[trial_id]

    def _measured(self, held: Collection[str | None]) -> dict[str, int]:
        """Bytes of each folder; of a trial that has ended they are counted once."""
        names = [entry.name for entry in os.scandir(self.folder)] if self.folder.is_dir() else []
        sizes = {name: self._sizes[name] if name in self._sizes else _bytes(self.folder / name) for name in names}
        self._sizes = {name: size for name, size in sizes.items() if name not in held}
        return sizes


def _worth(study: Study, trial_id: str) -> tuple[bool, float, str]:
    record = study.ledger.get(trial_id)
    if record is None or record.score is None:
        return (False, -math.inf, trial_id)
    return (True, study.sign * record.score, trial_id)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.npz"))
