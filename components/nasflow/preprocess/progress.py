"""How far a Beam job is: what the workers leave below the work dir, and what the one who waits reads from it.

Metrics of Beam's own are not the same on all runners, and some give none before the end; every worker can write to the
work dir. A part of the data that is delivered twice leaves the same name, so it counts once.
"""

import dataclasses
import logging
import re
import time
from collections.abc import Callable

from nasflow.core.storage import join, storage_for

logger = logging.getLogger(__name__)

_BEGUN = "begun"
_NAME = re.compile(r"(?P<part>\d+)\.rows-(?P<rows>\d+)\.dead-(?P<dead>\d+)\.shards-(?P<shards>\d+)")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Goes with the DoFns to the workers."""

    stage: str
    uri: str | None
    """A folder of this job alone; None: the workers run in this process, and their log is enough."""

    def begun(self) -> None:
        """A worker can run our code."""
        if self.uri is not None:
            storage_for(self.uri).write(join(self.uri, _BEGUN), b"")

    def done(self, place: str, index: int, *, rows: int, dead: int, shards: int = 0) -> None:
        """A part is finished; `rows` includes the dead ones."""
        logger.info("preprocess: %s part %d: %s: %d rows, %d dead letters", self.stage, index + 1, place, rows, dead)
        if self.uri is not None:
            name = f"{index:06d}.rows-{rows}.dead-{dead}.shards-{shards}"
            storage_for(self.uri).write(join(self.uri, name), b"")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What all workers together have done."""

    begun: bool
    parts: int = 0
    rows: int = 0
    dead: int = 0
    shards: int = 0


class Watch:
    """Reads the marks, logs them, and removes them in the end."""

    def __init__(self, progress: Progress, *, parts: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress, self._parts, self._clock = progress, parts, clock
        self._started = clock()
        self._logged = Reached(begun=False)

    def look(self) -> Reached:
        """How far the job is; a log line where that changed."""
        if self._progress.uri is None:
            return Reached(begun=True)
        names = [uri.rpartition("/")[2] for uri in storage_for(self._progress.uri).list(self._progress.uri)]
        found = {match["part"]: match for name in names if (match := _NAME.fullmatch(name))}
        total = {key: sum(int(match[key]) for match in found.values()) for key in ("rows", "dead", "shards")}
        reached = Reached(begun=bool(names), parts=len(found), **total)
        if reached != self._logged:
            self._logged = reached
            self._log(reached)
        return reached

    def close(self) -> None:
        """Removes the marks."""
        if self._progress.uri is not None:
            storage = storage_for(self._progress.uri)
            for uri in storage.list(self._progress.uri):
                storage.delete(uri)

    def _log(self, reached: Reached) -> None:
        seconds = self._clock() - self._started
        rate = reached.rows / seconds if seconds > 0 else 0.0
        logger.info(
            "preprocess: %s %d of %d parts, %s rows (%s rows/s), %d shards, %d dead letters",
            self._progress.stage,
            reached.parts,
            self._parts,
            f"{reached.rows:,}",
            f"{rate:,.0f}",
            reached.shards,
            reached.dead,
            extra={"stage": self._progress.stage, "rows_per_second": round(rate, 1), **dataclasses.asdict(reached)},
        )
