"""The study's memory: an append-only file of JSON lines, one an event. Nothing else is saved, so nothing can disagree.

    started   trial_id, values, control, origin, parents, architecture_id, parameters, flops, same_as, …
    beat      trial_id, seconds, epochs: now and then while it trains, so that a crash does not forget the time spent
    again     trial_id, seconds, died: the trial is tried once more, because the process that ran it is gone
    scored    architecture_id, values, seconds, cpu_seconds: zero-cost proxies of an architecture, computed once
    ended     trial_id, status, score, metrics, epochs, seconds, cpu_seconds, message, history, …
    closed    reason, finalists, looks: no more suggestions; what is left of the budget is for second looks
    preparing, prepared    see `nasflow.search.preparation`

The order of the lines is the order in which things happened, also with several workers: `steps` gives it back.

A point that means an architecture and recipe tried before is not trained again: its line `started` names that trial
(``same_as``) and is its only one. It ends as that trial has ended, or with it. One that breaks a limit
(``infeasible``: why), or that a zero-cost score leaves out (``filtered``: why), has that single line, too.
"""

import collections
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from nasflow.search.events import Events
from nasflow.search.record import Closed, EndReason, Prepared, Record, TrialStatus

LEDGER = "ledger.jsonl"
"""Its name in the search's place."""


class Ledger:
    """The records of a study, in the order in which they started; every change is a line in the file first."""

    def __init__(self, uri: str) -> None:
        """Reads what is there; a missing file is an empty ledger."""
        self.uri = uri
        self._events = Events(uri)
        self._by_id: dict[str, Record] = {}
        self._records: list[Record] = []
        self._ended: list[Record] = []
        self._done: set[str] = set()
        self._running: dict[str, Record] = {}
        self._waiting: dict[str, list[str]] = {}
        self._twins: dict[str, list[Record]] = {}
        self._free: collections.Counter[TrialStatus] = collections.Counter()
        self._looks: dict[str, list[Record]] = {}
        self.closed: Closed | None = None
        """Set once second looks have begun."""
        self._seconds = 0.0
        self._elapsed: float | None = None
        self._proxies: dict[str, dict[str, float | None]] = {}
        self._scoring = [0.0, 0.0]
        self._steps: list[tuple[Literal["started", "ended"], Record]] = []
        self.preparation = Prepared()
        for event in self._events.read():
            self._apply(event)

    @property
    def records(self) -> Sequence[Record]:
        """All, in the order in which they started; more follow at its end as trials start."""
        return self._records

    @property
    def ended(self) -> Sequence[Record]:
        """Those that have ended, in that order; more follow at its end as trials end. They change no more."""
        return self._ended

    @property
    def running(self) -> Sequence[Record]:
        """Those that are trained and have not ended, in the order in which they started."""
        return tuple(self._running.values())

    @property
    def waiting(self) -> Sequence[Record]:
        """Those that end when the running trial does whose result will be theirs."""
        return tuple(self._by_id[trial_id] for trial_ids in self._waiting.values() for trial_id in trial_ids)

    @property
    def steps(self) -> Sequence[tuple[Literal["started", "ended"], Record]]:
        """What happened, in order, for those who must be brought to where the study is."""
        return self._steps

    def twins(self, trial_id: str) -> Sequence[Record]:
        """Those that are the same as this trial, in the order in which they started."""
        return tuple(self._twins.get(trial_id, ()))

    def count(self, status: TrialStatus) -> int:
        """How many were recorded and never trained, for this reason (one of `FREE`)."""
        return self._free[status]

    def looks(self, trial_id: str) -> Sequence[Record]:
        """The trials that train this one once more, in the order in which they started."""
        return self._looks.get(trial_id, ())

    @property
    def trained(self) -> int:
        """Trials that cost something, second looks too."""
        return len(self._records) - self._free.total()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds spent in trials, in preparing for them and on proxies, over all attempts: more than went
        by where they ran side by side."""
        running = sum(record.seconds for record in self._running.values())
        return self._seconds + running + self.preparation.seconds + self._scoring[0]

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
        return self._by_id.get(trial_id)

    def has_ended(self, trial_id: str) -> bool:
        """Whether its result is known."""
        return trial_id in self._done

    def start(self, record: Record, *, infeasible: str = "") -> None:
        """A trial begins. `infeasible`: it breaks a limit, which is all there will ever be to say of it."""
        more = {"infeasible": infeasible} if infeasible else {}
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
            **({"look_of": record.look_of, "look": record.look} if record.look else {}),
            **more,
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

    def close(self, reason: EndReason, *, finalists: int, looks: int) -> None:
        """The search for architectures is over; the best `finalists` will be trained `looks` times more."""
        self._write("closed", reason=reason, finalists=finalists, looks=looks)

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
        self._events.append(event)
        self._apply(event)

    def _apply(self, event: Mapping[str, Any]) -> None:
        content = {key: value for key, value in event.items() if key != "event"}
        self._elapsed = content.pop("elapsed", self._elapsed)
        if event["event"] == "closed":
            self.closed = Closed(**content)
        elif event["event"] in ("scored", "preparing", "prepared"):
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
                infeasible, parents = content.pop("infeasible", ""), tuple(content.pop("parents"))
                self._begin(Record(trial_id=trial_id, parents=parents, **content), infeasible)
            case "beat":
                record = self._by_id[trial_id]
                record.seconds = content["seconds"]
                if content["epochs"] > record.epochs:
                    record.epochs, record.stalled = content["epochs"], 0
            case "again":
                record = self._by_id[trial_id]
                record.seconds = content["seconds"]
                record.stalled += 1
                record.deaths += bool(content["died"])
            case "ended":
                record = self._by_id[trial_id]
                for name, value in content.items():
                    setattr(record, name, value)
                self._end(record)
                for other in self._waiting.pop(trial_id, []):
                    self._answer(self._by_id[other])

    def _begin(self, record: Record, infeasible: str) -> None:
        self._by_id[record.trial_id] = record
        self._records.append(record)
        if record.look_of is not None:
            self._looks.setdefault(record.look_of, []).append(record)
        self._steps.append(("started", record))
        if infeasible or record.filtered:
            record.status, record.message = "infeasible" if infeasible else "filtered", infeasible or record.filtered
            self._end(record)
        elif record.same_as is not None:
            record.status = "same"
            record.message = f"the same architecture and recipe as trial {record.same_as}: not trained again"
            self._twins.setdefault(record.same_as, []).append(record)
            self._free["same"] += 1
            if record.same_as in self._done:
                self._answer(record)
            else:
                self._waiting.setdefault(record.same_as, []).append(record.trial_id)
        else:
            self._running[record.trial_id] = record

    def _answer(self, record: Record) -> None:
        """Gives it the result of the trial that it is the same as."""
        original = self._by_id[record.same_as or ""]
        for name in ("score", "metrics", "runs", "epochs", "history"):
            setattr(record, name, getattr(original, name))
        self._end(record)

    def _end(self, record: Record) -> None:
        record.ended_seconds = self._elapsed
        self._running.pop(record.trial_id, None)
        if record.status in ("infeasible", "filtered"):
            self._free[record.status] += 1
        self._seconds += record.seconds
        self._ended.append(record)
        self._done.add(record.trial_id)
        self._steps.append(("ended", record))

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


def _clock(elapsed: float | None) -> dict[str, float]:
    return {} if elapsed is None else {"elapsed": round(elapsed, 3)}
