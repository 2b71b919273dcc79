"""The study's memory: an append-only file of JSON lines, one an event. Nothing else is saved, so nothing can disagree.

    started   trial_id, values, control, origin, parents, architecture_id, parameters, flops, same_as, …
    beat      trial_id, seconds, epochs: now and then while it trains, so that a crash does not forget the time spent
    again     trial_id, seconds, died: the trial is tried once more, because the process that ran it is gone
    scored    architecture_id, values, seconds, cpu_seconds: zero-cost proxies of an architecture, computed once
    ended     trial_id, status, score, metrics, epochs, seconds, cpu_seconds, message, history, …
    preparing, prepared    see `nasflow.search.preparation`

The order of the lines is the order in which things happened, also with several workers: `steps` gives it back.

A point that means an architecture and recipe tried before is not trained again: its line `started` names that trial
(``same_as``) and is its only one. It ends as that trial has ended, or with it. One
that a zero-cost score leaves out (``filtered``: why) has that single line, too.

A process that is killed inside a line leaves a torn one: it is skipped, and what it said is done again.
"""

import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from nasflow.core.storage import storage_for
from nasflow.strategies._base import Result, Status

logger = logging.getLogger(__name__)

LEDGER = "ledger.jsonl"
"""Its name in the search's place."""

TrialStatus = Literal["running", "completed", "failed", "infeasible", "same", "filtered"]
Origin = Literal["preset", "earlier", "strategy", "shrunk", "supernet"]

SUGGESTED: frozenset[Origin] = frozenset({"strategy", "shrunk"})
"""What a strategy came up with; the rest was given."""
FREE: frozenset[TrialStatus] = frozenset({"infeasible", "same", "filtered"})
"""What was recorded and never trained."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Record:
    """One trial, as far as the ledger tells."""

    trial_id: str
    values: dict[str, Any]
    origin: Origin
    """``earlier``: the best of an earlier study (`search.warm_start`). ``shrunk``: a suggestion that broke a
    constraint, changed until it did not. ``supernet``: derived from one (`nasflow.search.preparation`)."""
    parents: tuple[str, ...] = ()
    """Trials that it descends from."""
    control: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Keras Tuner's own values, ``tuner/…``."""
    inherit: str | None = None
    """The trial whose weights it starts from."""
    horizon: int | None = None
    """Epochs that its learning-rate schedule spans; None: those that it is trained for."""
    same_as: str | None = None
    """The trial whose result this is: the same architecture, recipe and epochs, so it was not trained. Its status is
    ``same``, also while that trial runs; it has cost nothing."""
    filtered: str = ""
    """Why `search.filter` left it out; empty: it did not. Its status is ``filtered``."""
    architecture_id: str = ""
    parameters: int = 0
    flops: int = 0
    costs: dict[str, float] = dataclasses.field(default_factory=dict)
    """All that was counted: parameters, flops, activations, memory_mb, size_mb (of the weights alone), batch."""
    predicted_seconds: float | None = None
    """What the cost model said before it started."""
    status: TrialStatus = "running"
    deaths: int = 0
    """Worker processes that ended while they ran it."""
    stalled: int = 0
    """Times that it was started again since it last got through an epoch."""
    score: float | None = None
    """In the metric's own units."""
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    runs: list[float] = dataclasses.field(default_factory=list)
    """The score of each training that the trial is made of (seeds, folds), in their order."""
    notes: list[str] = dataclasses.field(default_factory=list)
    """What a reader of the score should know: a smaller batch, a stop before the last epoch, inherited weights."""
    epochs: int = 0
    seconds: float = 0.0
    """Wall-clock, over all attempts at this trial."""
    cpu_seconds: float = 0.0
    """Of the attempt that ended it."""
    ended_seconds: float | None = None
    """Wall-clock seconds of searching when it ended; None where its ledger does not say."""
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
        seen: dict[TrialStatus, Status] = {"completed": "completed", "failed": "failed"}
        seen["same"] = "failed" if score is None else "completed"
        return Result(
            trial_id=self.trial_id,
            values=self.values,
            status=seen.get(self.status, "infeasible"),
            score=score,
            epochs=self.epochs,
            granted=self.control.get("tuner/epochs"),
            curve=tuple(sign * entry["score"] for entry in self.history if entry.get("score") is not None),
            same_as=self.same_as,
        )


@dataclasses.dataclass(slots=True, kw_only=True)
class Prepared:
    """What a strategy had prepared, as far as the ledger tells."""

    started: bool = False
    ended: bool = False
    limit: float | None = None
    """Seconds that it may take; None: as many as it needs."""
    seconds: float = 0.0
    """Wall-clock, over all attempts."""
    cpu_seconds: float = 0.0
    """Of the attempt that ended it."""
    epochs: int = 0
    deaths: int = 0
    """Worker processes that ended while they ran it."""
    stalled: int = 0
    """Times that it was started since it last got through an epoch."""
    content: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What came out."""


class Ledger:
    """The records of a study, in the order in which they started; every change is a line in the file first."""

    def __init__(self, uri: str) -> None:
        """Reads what is there; a missing file is an empty ledger."""
        self._uri = uri
        self._storage = storage_for(uri)
        self._records: dict[str, Record] = {}
        self._ended: list[str] = []
        self._done: set[str] = set()
        self._waiting: dict[str, list[str]] = {}
        self._elapsed: float | None = None
        self._proxies: dict[str, dict[str, float | None]] = {}
        self._scoring = [0.0, 0.0]
        self._steps: list[tuple[Literal["started", "ended"], str]] = []
        self.preparation = Prepared()
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
    def running(self) -> Sequence[Record]:
        """Those that are trained and have not ended, in the order in which they started."""
        return tuple(record for record in self._records.values() if record.status == "running")

    @property
    def waiting(self) -> Sequence[Record]:
        """Those that end when the running trial does whose result will be theirs."""
        return tuple(self._records[trial_id] for trial_ids in self._waiting.values() for trial_id in trial_ids)

    @property
    def steps(self) -> Sequence[tuple[Literal["started", "ended"], Record]]:
        """What happened, in order, for those who must be brought to where the study is."""
        return tuple((kind, self._records[trial_id]) for kind, trial_id in self._steps)

    @property
    def trained(self) -> int:
        """Trials that cost something."""
        return sum(record.status not in FREE for record in self._records.values())

    @property
    def seconds(self) -> float:
        """Wall-clock seconds spent in trials, in preparing for them and on proxies, over all attempts: more than went
        by where they ran side by side."""
        trials = sum(record.seconds for record in self._records.values())
        return trials + self.preparation.seconds + self._scoring[0]

    @property
    def scoring_cpu_seconds(self) -> float:
        """Spent on zero-cost proxies."""
        return self._scoring[1]

    def proxies(self, architecture_id: str) -> Mapping[str, float | None]:
        """What was computed of an architecture; None: not finite."""
        return self._proxies.get(architecture_id, {})

    @property
    def elapsed(self) -> float:
        """Wall-clock seconds of searching, over all attempts."""
        return self.seconds if self._elapsed is None else self._elapsed

    def get(self, trial_id: str) -> Record | None:
        """The trial's record, if it has started."""
        return self._records.get(trial_id)

    def has_ended(self, trial_id: str) -> bool:
        """Whether its result is known."""
        return trial_id in self._done

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
            costs=record.costs,
            predicted_seconds=record.predicted_seconds,
            inherit=record.inherit,
            horizon=record.horizon,
            same_as=record.same_as,
            filtered=record.filtered,
        )

    def scored(
        self, architecture_id: str, values: Mapping[str, float | None], *, seconds: float, cpu_seconds: float
    ) -> None:
        """Proxies of an architecture, and what they cost."""
        cost = {"seconds": round(seconds, 3), "cpu_seconds": round(cpu_seconds, 3)}
        self._write("scored", architecture_id=architecture_id, values=dict(values), **cost)

    def beat(self, trial_id: str, seconds: float, epochs: int = 0, *, elapsed: float | None = None) -> None:
        """A trial goes on; `seconds` over all attempts at it, `epochs` that it got through, `elapsed` as in `end`."""
        self._write("beat", trial_id=trial_id, seconds=round(seconds, 3), epochs=epochs, **_clock(elapsed))

    def again(self, trial_id: str, seconds: float, *, died: str = "") -> None:
        """A trial is tried once more. `died`: how the worker process ended that had it; empty: nobody knows, the whole
        search was started again."""
        self._write("again", trial_id=trial_id, seconds=round(seconds, 3), died=died)

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
        runs: Sequence[float] = (),
        notes: Sequence[str] = (),
        elapsed: float | None = None,
    ) -> None:
        """A trial ends. `elapsed`: wall-clock seconds of the search so far, over all attempts at it."""
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
            runs=list(runs),
            notes=list(notes),
            **_clock(elapsed),
        )

    def preparing(
        self, seconds: float, epochs: int = 0, *, elapsed: float | None = None, died: str | None = None, **begins: Any
    ) -> None:
        """The strategy's preparation begins (with its ``limit``), goes on (`epochs` that it got through), or is tried
        once more (`died`: as in `again`)."""
        more = {} if died is None else {"died": died}
        self._write("preparing", seconds=round(seconds, 3), epochs=epochs, **more, **begins, **_clock(elapsed))

    def prepared(self, *, seconds: float, cpu_seconds: float, elapsed: float | None = None, **content: Any) -> None:
        """It is over; `content`: what came out."""
        spent = {"seconds": round(seconds, 3), "cpu_seconds": round(cpu_seconds, 3)}
        self._write("prepared", **spent, content=content, **_clock(elapsed))

    def _write(self, kind: str, **content: Any) -> None:
        event = {"event": kind, **content}
        self._storage.append(self._uri, json.dumps(event, allow_nan=False).encode())
        self._apply(event)

    def _apply(self, event: Mapping[str, Any]) -> None:
        content = {key: value for key, value in event.items() if key != "event"}
        self._elapsed = content.pop("elapsed", self._elapsed)
        if event["event"] in ("scored", "preparing", "prepared"):
            self._apply_other(event["event"], content)
        else:
            self._apply_trial(event["event"], content.pop("trial_id"), content)

    def _apply_other(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "scored":
            self._proxies.setdefault(content["architecture_id"], {}).update(content["values"])
            self._scoring = [self._scoring[0] + content["seconds"], self._scoring[1] + content["cpu_seconds"]]
        else:
            self._apply_preparation(content, ended=kind == "prepared")

    def _apply_trial(self, kind: str, trial_id: str, content: dict[str, Any]) -> None:
        match kind:
            case "started":
                parents = tuple(content.pop("parents"))
                record = self._records[trial_id] = Record(trial_id=trial_id, parents=parents, **content)
                self._steps.append(("started", trial_id))
                if record.filtered:
                    record.status, record.message = "filtered", record.filtered
                    self._end(trial_id)
                elif record.same_as is not None:
                    record.status = "same"
                    record.message = f"the same architecture and recipe as trial {record.same_as}: not trained again"
                    if record.same_as in self._done:
                        self._answer(record)
                    else:
                        self._waiting.setdefault(record.same_as, []).append(trial_id)
            case "beat":
                record = self._records[trial_id]
                record.seconds = content["seconds"]
                if content["epochs"] > record.epochs:
                    record.epochs, record.stalled = content["epochs"], 0
            case "again":
                record = self._records[trial_id]
                record.seconds = content["seconds"]
                record.stalled += 1
                record.deaths += bool(content["died"])
            case "ended":
                for name, value in content.items():
                    setattr(self._records[trial_id], name, value)
                self._end(trial_id)
                for other in self._waiting.pop(trial_id, []):
                    self._answer(self._records[other])

    def _answer(self, record: Record) -> None:
        """Gives it the result of the trial that it is the same as."""
        original = self._records[record.same_as or ""]
        for name in ("score", "metrics", "runs", "epochs", "history"):
            setattr(record, name, getattr(original, name))
        self._end(record.trial_id)

    def _end(self, trial_id: str) -> None:
        self._records[trial_id].ended_seconds = self._elapsed
        self._ended.append(trial_id)
        self._done.add(trial_id)
        self._steps.append(("ended", trial_id))

    def _apply_preparation(self, content: Mapping[str, Any], *, ended: bool) -> None:
        known = self.preparation
        known.started, known.ended, known.seconds = True, ended, content["seconds"]
        known.limit = content.get("limit", known.limit)
        if ended:
            known.content, known.cpu_seconds = dict(content["content"]), content["cpu_seconds"]
            return
        if content["epochs"] > known.epochs:
            known.epochs, known.stalled = content["epochs"], 0
        if "died" in content:
            known.stalled += 1
            known.deaths += bool(content["died"])

    def _events(self) -> Iterator[dict[str, Any]]:
        if not self._storage.exists(self._uri):
            return
        for number, line in enumerate(self._storage.read(self._uri).splitlines(), start=1):
            try:
                yield json.loads(line)
            except ValueError:
                logger.warning("%s:%d: torn line skipped: the process that wrote it was killed", self._uri, number)


def _clock(elapsed: float | None) -> dict[str, float]:
    return {} if elapsed is None else {"elapsed": round(elapsed, 3)}
