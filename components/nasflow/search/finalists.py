"""Second looks: the last part of a budget trains the best few once more, with other seeds, and their means decide.

The best of many scores is the luckiest of many (tests/benchmarks/nasbench_digits/LEVERS.md: what is returned suffers
from that more than what is found does). So a search leaves trainings, or time, for its finalists: the best completed
trials of as many epochs as there are, one an architecture. The last place among them is the best preset's, where it is
none of the best: what a study returns is held against it, and a mean should be held against a mean.

Second looks are trials of the ledger, `Record.look_of` names the one that they look at. A strategy never sees them.
Who the finalists are follows from the trials that have ended, so a search that was killed among them goes on with them.
They go in rounds: everybody's first look before anybody's second.
"""

import bisect
import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

from nasflow.search.budget import NOTHING, Budget, Kept
from nasflow.search.ledger import Ledger
from nasflow.search.record import EndReason, Record

MOST = 50
"""Finalists."""
_LEAST = 2
"""One alone is compared with nothing."""
_AUTOMATIC_FROM, _AUTOMATIC_MOST = 30, 10
_TIME_SHARE = 0.15
_MOST_SHARE = 0.5
"""Of a budget: the search must not starve, however many finalists the user asks for."""
_SLACK = 1.5
"""Of a network's latency, beyond which the export that will be served is surely too slow (`Study.too_slow`)."""


def automatic(trainings: int) -> int:
    """Finalists of a search with so many trainings: none below 30, else 0.41 times their root, 10 at most.

    >>> [automatic(trainings) for trainings in (20, 30, 50, 100, 150, 1000)]
    [0, 2, 3, 4, 5, 10]
    """
    if trainings < _AUTOMATIC_FROM:
        return 0
    return min(_AUTOMATIC_MOST, round(0.41 * math.sqrt(trainings)))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SecondLooks:
    """What is wanted of them."""

    finalists: int | Literal["auto"] = 0
    """Places; 0: there are no second looks."""
    each: int = 2
    """Trainings more of each finalist."""
    workers: int = 1
    """That share them."""
    latency_ms: float | None = None
    """The limit: what is surely above it is no finalist."""


class Finalists:
    """Of one study, kept up as the ledger grows."""

    def __init__(self, ledger: Ledger, budget: Budget, wanted: SecondLooks, *, sign: int) -> None:
        """`sign`: what makes more of the metric better."""
        self._ledger, self._budget, self._wanted, self._sign = ledger, budget, wanted, sign
        self._timed = budget.seconds is not None or budget.device_seconds is not None
        self._started = self._ended = 0
        self._place: dict[str, int] = {}
        self._best: list[tuple[tuple[float, int, int], Record]] = []
        self._preset: tuple[tuple[float, int, int], Record] | None = None

    def of(self, places: int) -> list[Record]:
        """The best, as `nasflow.search.selection` orders them by one score: then fewer parameters, then earlier."""
        self._read()
        found = [record for _, record in self._best[:places]]
        if self._preset is not None and self._preset[1] not in found and len(found) >= _LEAST:
            found = [*found[: places - 1], self._preset[1]]
        return found

    def kept(self) -> Kept:
        """What the search leaves of its budget for them, and for the trials that run: nothing while there are no two to
        compare."""
        if not self._wanted.finalists or self._ledger.closed is not None:
            return NOTHING
        each, limits = self._wanted.each, self._budget.section
        trials = 0
        if limits.trials is not None:
            trials = min(each * len(self._chosen("trials")), int(_MOST_SHARE * limits.trials))
        chosen = self._chosen("hours") if self._timed else []
        if not chosen:
            return Kept(trials=trials)
        cost = each * sum(map(expected, chosen))
        seconds = max(cost / min(self._wanted.workers, each * len(chosen)), *map(expected, chosen))
        usual = cost / each / len(chosen)
        going = [max(0.0, (r.predicted_seconds or usual) - r.seconds) for r in self._ledger.running]
        return Kept(
            trials=trials,
            seconds=min(seconds + max(going, default=0.0), _MOST_SHARE * (self._budget.seconds or math.inf)),
            device_seconds=min(cost + sum(going), _MOST_SHARE * (self._budget.device_seconds or math.inf)),
        )

    def next(self, reason: EndReason, *, running: Sequence[Record] = ()) -> Record | None:
        """The next second look, recorded as started; None: there is none, or none that the budget allows, or none yet.

        Args:
            reason: why there are no more suggestions.
            running: trials of the search that have not ended. Meanwhile those are looked at who will be finalists
                whatever becomes of them.
        """
        if self._ledger.closed is None:
            chosen = self._chosen(reason)
            if not chosen:
                return None
            self._ledger.close(reason, finalists=self._places(reason), looks=self._wanted.each)
        closed = self._ledger.closed
        assert closed is not None
        for number in range(1, closed.looks + 1):
            for record in self._sure(closed.finalists, running):
                if len(self._ledger.looks(record.trial_id)) >= number:
                    continue
                if self._budget.trials_left is not None and self._budget.trials_left <= 0:
                    return None
                if self._budget.has_time_for(expected(record)):
                    return self._start(record, number)
        return None

    def _start(self, record: Record, number: int) -> Record:
        look = Record(
            trial_id=f"{record.trial_id}.{number}",
            values=record.values,
            origin="look",
            look_of=record.trial_id,
            look=number,
            control=record.control,
            horizon=record.horizon,
            architecture_id=record.architecture_id,
            parameters=record.parameters,
            flops=record.flops,
            costs=record.costs,
            predicted_seconds=expected(record),
        )
        self._ledger.start(look)
        found = self._ledger.get(look.trial_id)
        assert found is not None
        return found

    def _chosen(self, reason: EndReason) -> list[Record]:
        """Who would be the finalists, if the search ended now; nobody where it would be one."""
        chosen = self.of(self._places(reason))
        return chosen if len(chosen) >= _LEAST else []

    def _places(self, reason: EndReason) -> int:
        """By the trials that may start where these end the search; else by those that have started, and then `auto`
        takes no more than a seventh of the time that the search has taken."""
        wanted = self._wanted
        if wanted.finalists != "auto":
            return wanted.finalists
        limit = self._budget.section.trials
        if reason == "trials" and limit is not None:
            return automatic(limit)
        places = automatic(self._ledger.trained)
        while places and wanted.each * sum(map(expected, self.of(places))) > _TIME_SHARE * self._ledger.seconds:
            places -= 1
        return places if places >= _LEAST else 0

    def _sure(self, places: int, running: Sequence[Record]) -> list[Record]:
        """Finalists, the best preset first, then the best first; while trials run, those that stay finalists."""
        chosen = self.of(places)
        preset = None if self._preset is None else self._preset[1]
        if running:
            safe = chosen[: max(0, places - 1 - len(running))]
            given = any(record.origin == "preset" for record in running)
            chosen = [record for record in chosen if record in safe or (record is preset and not given)]
        return sorted(chosen, key=lambda record: record is not preset)

    def _read(self) -> None:
        """What the ledger has got since."""
        for record in self._ledger.records[self._started :]:
            self._place[record.trial_id] = len(self._place)
        self._started = len(self._ledger.records)
        for record in self._ledger.ended[self._ended :]:
            self._add(record)
        self._ended = len(self._ledger.ended)

    def _add(self, record: Record) -> None:
        if not self._eligible(record):
            return
        score = record.score or 0.0
        entry = ((-self._sign * score, record.parameters, self._place[record.trial_id]), record)
        if record.origin == "preset" and (self._preset is None or entry[0] < self._preset[0]):
            self._preset = entry
        known = next((e for e in self._best if e[1].architecture_id == record.architecture_id), None)
        if known is not None:
            if known[0] <= entry[0]:
                return
            self._best.remove(known)
        bisect.insort(self._best, entry, key=lambda each: each[0])
        del self._best[MOST:]

    def _eligible(self, record: Record) -> bool:
        """Completed, with all epochs granted, and not stopped before them by the others' curves or by the budget."""
        if record.status != "completed" or record.score is None or record.look_of is not None or record.message:
            return False
        limit = self._wanted.latency_ms
        if limit is not None and record.metrics.get("latency_ms", 0.0) > _SLACK * limit:
            return False
        return int(record.control.get("tuner/epochs", self._budget.epochs)) >= self._budget.epochs


def expected(record: Record) -> float:
    """Seconds that a training like this trial's takes from the start; one that went on with another had to do less."""
    return record.seconds * max(1.0, record.epochs / max(1, len(record.history)))
