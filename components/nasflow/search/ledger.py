"""The study's memory: an append-only file of JSON lines, one an event. Nothing else is saved, so nothing can disagree.

    started   trial_id, values, control, origin, parents, architecture_id, parameters, flops
    beat      trial_id, seconds: now and then while it trains, so that a crash does not forget the time spent
    ended     trial_id, status, score, metrics, epochs, seconds, cpu_seconds, message, history

A process that is killed inside a line leaves a torn one: it is skipped, and what it said is done again.
"""

import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from nasflow.core.storage import storage_for
from nasflow.strategies._base import Result

logger = logging.getLogger(__name__)

TrialStatus = Literal["running", "completed", "failed", "infeasible"]
Origin = Literal["preset", "strategy", "shrunk"]


@dataclasses.dataclass(slots=True, kw_only=True)
class Record:
    """One trial, as far as the ledger tells."""

    trial_id: str
    values: dict[str, Any]
    origin: Origin
    """``shrunk``: a suggestion that broke a constraint, changed until it did not."""
    parents: tuple[str, ...] = ()
    """Trials that it descends from."""
    control: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Keras Tuner's own values, ``tuner/…``."""
    architecture_id: str = ""
    parameters: int = 0
    flops: int = 0
    status: TrialStatus = "running"
    score: float | None = None
    """In the metric's own units."""
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    epochs: int = 0
    seconds: float = 0.0
    """Wall-clock, over all attempts at this trial."""
    cpu_seconds: float = 0.0
    """Of the attempt that ended it."""
    message: str = ""
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """One entry an epoch: number, loss, score, seconds."""

    def result(self, sign: int) -> Result:
        """As strategies see it; `sign` is −1 where the metric is minimised.

        Raises:
            ValueError: the trial has not ended.
        """
        if self.status == "running":
            raise ValueError(f"trial {self.trial_id} has not ended")
        score = None if self.score is None else sign * self.score
        return Result(
            trial_id=self.trial_id,
            values=self.values,
            status=self.status,
            score=score,
            epochs=self.epochs,
            granted=self.control.get("tuner/epochs"),
        )


class Ledger:
    """The records of a study, in the order in which they started; every change is a line in the file first."""

    def __init__(self, uri: str) -> None:
        """Reads what is there; a missing file is an empty ledger."""
        self._uri = uri
        self._storage = storage_for(uri)
        self._records: dict[str, Record] = {}
        self._ended: list[str] = []
        for event in self._events():
            self._apply(event)

    @property
    def records(self) -> Sequence[Record]:
        """All, in the order in which they started."""
        return tuple(self._records.values())

    @property
    def ended(self) -> Sequence[Record]:
        """Those that have ended, in that order."""
        return tuple(self._records[trial_id] for trial_id in self._ended)

    @property
    def trained(self) -> int:
        """Trials that cost something: all but the infeasible ones."""
        return sum(record.status != "infeasible" for record in self._records.values())

    @property
    def seconds(self) -> float:
        """Wall-clock seconds spent in trials, over all attempts."""
        return sum(record.seconds for record in self._records.values())

    def get(self, trial_id: str) -> Record | None:
        """The trial's record, if it has started."""
        return self._records.get(trial_id)

    def start(self, record: Record) -> None:
        """A trial begins."""
        self._write(
            "started",
            trial_id=record.trial_id,
            values=record.values,
            control=record.control,
            origin=record.origin,
            parents=list(record.parents),
            architecture_id=record.architecture_id,
            parameters=record.parameters,
            flops=record.flops,
        )

    def beat(self, trial_id: str, seconds: float) -> None:
        """A trial goes on; `seconds` over all attempts at it."""
        self._write("beat", trial_id=trial_id, seconds=round(seconds, 3))

    def end(
        self,
        trial_id: str,
        status: TrialStatus,
        *,
        score: float | None = None,
        metrics: Mapping[str, float] | None = None,
        epochs: int = 0,
        seconds: float = 0.0,
        cpu_seconds: float = 0.0,
        message: str = "",
        history: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """A trial ends."""
        self._write(
            "ended",
            trial_id=trial_id,
            status=status,
            score=score,
            metrics=dict(metrics or {}),
            epochs=epochs,
            seconds=round(seconds, 3),
            cpu_seconds=round(cpu_seconds, 3),
            message=message,
            history=[dict(entry) for entry in history],
        )

    def _write(self, kind: str, **content: Any) -> None:
        event = {"event": kind, **content}
        self._storage.append(self._uri, json.dumps(event, allow_nan=False).encode())
        self._apply(event)

    def _apply(self, event: Mapping[str, Any]) -> None:
        content = {key: value for key, value in event.items() if key != "event"}
        trial_id = content.pop("trial_id")
        match event["event"]:
            case "started":
                parents = tuple(content.pop("parents"))
                self._records[trial_id] = Record(trial_id=trial_id, parents=parents, **content)
            case "beat":
                self._records[trial_id].seconds = content["seconds"]
            case "ended":
                for name, value in content.items():
                    setattr(self._records[trial_id], name, value)
                self._ended.append(trial_id)

    def _events(self) -> Iterator[dict[str, Any]]:
        if not self._storage.exists(self._uri):
            return
        for number, line in enumerate(self._storage.read(self._uri).splitlines(), start=1):
            try:
                yield json.loads(line)
            except ValueError:
                logger.warning("%s:%d: torn line skipped: the process that wrote it was killed", self._uri, number)
