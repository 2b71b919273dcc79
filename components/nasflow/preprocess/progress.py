"""How far a Beam job is: what the workers leave below the work dir, and what the one who waits reads from it.

Metrics of Beam's own are not the same on all runners, and some give none before the end; every worker can write to the
work dir. A part of the data that is delivered twice leaves the same name, so it counts once.
"""

import contextlib
import dataclasses
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator

from nasflow.core.errors import TryAgainError
from nasflow.core.storage import is_local, join, storage_for

logger = logging.getLogger(__name__)

_BEGUN, _CANCELLED = "begun", "cancelled"
_DONE = re.compile(r"(?P<part>\d+)\.rows-(?P<rows>\d+)\.dead-(?P<dead>\d+)\.shards-(?P<shards>\d+)")
_DOING = re.compile(r"(?P<part>\d+)\.doing")
_SECONDS_HERE, _SECONDS_ELSEWHERE = 0.5, 10.0
"""Between two marks of a part that is being read, and between two looks at them: in a folder of this machine, and in a
bucket, where each costs a request."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Goes with the DoFns to the workers."""

    stage: str
    uri: str
    """A folder of this job alone."""

    def begun(self) -> None:
        """A worker can run our code."""
        storage_for(self.uri).write(join(self.uri, _BEGUN), b"")

    def part(self, place: str, index: int) -> "Part":
        """The part that a worker begins.

        Raises:
            TryAgainError: the job was cancelled.
        """
        self.go_on()
        return Part(progress=self, place=place, index=index)

    def cancel(self) -> None:
        """Tells the workers. The runner is told, too; but Flink's, on a cluster, was seen to let the job go on."""
        storage_for(self.uri).write(join(self.uri, _CANCELLED), b"")

    def go_on(self) -> None:
        """Whether to.

        Raises:
            TryAgainError: the job was cancelled.
        """
        if storage_for(self.uri).exists(join(self.uri, _CANCELLED)):
            raise TryAgainError(f"preprocess: {self.stage}: the job was cancelled")


@dataclasses.dataclass(slots=True, kw_only=True)
class Part:
    """One part, in the worker that reads it."""

    progress: Progress
    place: str
    index: int
    rows: int = 0
    """Read so far, dead ones included."""
    dead: int = 0
    _marked: float = dataclasses.field(default_factory=time.monotonic)

    def add(self, *, rows: int, dead: int) -> None:
        """Some rows are read; `rows` includes the dead ones. From time to time this leaves a mark.

        Raises:
            TryAgainError: the job was cancelled.
        """
        self.rows, self.dead = self.rows + rows, self.dead + dead
        now, uri = time.monotonic(), self.progress.uri
        if now - self._marked >= _between(uri):
            self._marked = now
            self.progress.go_on()
            storage_for(uri).write(join(uri, f"{self.index:06d}.doing"), f"{self.rows} {self.dead}".encode())

    def done(self, *, shards: int = 0) -> None:
        """The part is finished."""
        logger.debug("preprocess: %s: %s: %d rows, %d dead letters", self.progress.stage, self.place, *self._counts())
        name = f"{self.index:06d}.rows-{self.rows}.dead-{self.dead}.shards-{shards}"
        storage_for(self.progress.uri).write(join(self.progress.uri, name), b"")

    def _counts(self) -> tuple[int, int]:
        return self.rows, self.dead


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What all workers together have done."""

    begun: bool
    parts: int = 0
    rows: int = 0
    """Of finished parts and of those that are being read."""
    dead: int = 0
    shards: int = 0


class Watch:
    """Reads the marks, says what they mean, and removes them in the end."""

    def __init__(
        self,
        progress: Progress,
        *,
        parts: int,
        rows: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rows`: how many there are, where that is known."""
        self._progress, self._parts, self._rows, self._clock = progress, parts, rows, clock
        self._started = clock()
        self._logged = Reached(begun=False)
        self._doing: dict[str, tuple[int, int]] = {}
        self._read_at = float("-inf")
        self._cancelled = False

    def look(self, *, last: bool = False) -> Reached:
        """How far the job is; a log line where that changed, and one that stays where it is the `last`."""
        storage = storage_for(self._progress.uri)
        names = [uri.rpartition("/")[2] for uri in storage.list(self._progress.uri)]
        done = {match["part"]: match for name in names if (match := _DONE.fullmatch(name))}
        doing = {match["part"]: name for name in names if (match := _DOING.fullmatch(name))}
        now = self._clock()
        if now - self._read_at >= _between(self._progress.uri):
            self._read_at = now
            for part in doing.keys() - done.keys():
                with contextlib.suppress(FileNotFoundError, ValueError):  # the next look sees it
                    rows, dead = storage.read(join(self._progress.uri, doing[part])).split()
                    self._doing[part] = int(rows), int(dead)
        unfinished = [counts for part, counts in self._doing.items() if part not in done]
        total = {key: sum(int(match[key]) for match in done.values()) for key in ("rows", "dead", "shards")}
        reached = Reached(
            begun=bool(names),
            parts=len(done),
            rows=total["rows"] + sum(rows for rows, _ in unfinished),
            dead=total["dead"] + sum(dead for _, dead in unfinished),
            shards=total["shards"],
        )
        if last or reached != self._logged:
            self._logged = reached
            self._log(reached, live=not last)
        return reached

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Looks in a thread of its own while the block runs, and once more in the end."""
        ended = threading.Event()

        def follow() -> None:
            while not ended.wait(_SECONDS_HERE):
                self.look()

        thread = threading.Thread(target=follow, name="beam-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        self.look(last=True)

    def cancel(self) -> None:
        """Tells the workers that their job is cancelled."""
        self._cancelled = True
        with contextlib.suppress(OSError):  # what ends the job may be that the work dir is full
            self._progress.cancel()

    def close(self) -> None:
        """Removes the marks, but the one that says to those who still work that the job was cancelled."""
        storage = storage_for(self._progress.uri)
        for uri in storage.list(self._progress.uri):
            if not (self._cancelled and uri.endswith(f"/{_CANCELLED}")):
                storage.delete(uri)

    def left(self, reached: Reached) -> float | None:
        """Seconds that the rest takes at the speed so far: by rows where their number is known, else by finished
        parts. None before there is anything to go by."""
        seconds = self._clock() - self._started
        done = reached.rows / self._rows if self._rows else reached.parts / max(1, self._parts)
        return seconds * (1 / min(1.0, done) - 1) if done > 0 else None

    def _log(self, reached: Reached, *, live: bool) -> None:
        seconds = self._clock() - self._started
        rate = reached.rows / seconds if seconds > 0 else 0.0
        left = self.left(reached)
        logger.info(
            "preprocess: %s %d of %d parts, %s rows (%s rows/s), %d shards, %d dead letters%s",
            self._progress.stage,
            reached.parts,
            self._parts,
            f"{reached.rows:,}",
            f"{rate:,.0f}",
            reached.shards,
            reached.dead,
            f", left: {_duration(left)}" if left else "",
            extra={
                "live": live,  # one line in place, where it is shown to a person
                "stage": self._progress.stage,
                "rows_per_second": round(rate, 1),
                "seconds_left": None if left is None else round(left, 1),
                **dataclasses.asdict(reached),
            },
        )


def _between(uri: str) -> float:
    return _SECONDS_HERE if is_local(uri) else _SECONDS_ELSEWHERE


def _duration(seconds: float) -> str:
    """For people.

    >>> _duration(4.2), _duration(400), _duration(20_000)
    ('4 s', '6 min 40 s', '5 h 33 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 60:
        return f"{minutes // 1:.0f} min {seconds % 60:.0f} s"
    return f"{minutes // 60:.0f} h {minutes % 60:.0f} min"
