"""What a study's trials have taught so far, kept up as the ledger grows: the four thousandth suggestion asks no more of
it than the fourth.

Each fact is what a look at the whole ledger would give (a test compares), and none is saved: after a restart all are
worked out again from its lines.
"""

import collections
import math
from collections.abc import Sequence, Set

import numpy as np
from numpy.typing import NDArray

from nasflow.core.spec import Objective
from nasflow.search.cost_model import CostModel, Observed, fitted, observed
from nasflow.search.ledger import Ledger
from nasflow.search.objectives import Ranked
from nasflow.search.record import FREE, Record
from nasflow.spaces.parameters import key
from nasflow.strategies._base import Key, Result

_COMPARED = 50
_WINDOW = 500
"""Trials that costs are predicted from: the last ones. More would not make a line of four coefficients better."""


class Past:
    """Of one study. Reads the lines that were added each time that it is asked."""

    def __init__(
        self, ledger: Ledger, *, sign: int, prior: Sequence[Result] = (), objectives: Sequence[Objective] = ()
    ) -> None:
        """`sign`: what makes more of the metric better; `prior`: results of earlier studies; `objectives`: more than
        one of them make it a Pareto search."""
        self.ledger, self._sign, self._prior = ledger, sign, tuple(prior)
        self._started = self._ended = self._costed = 0
        self._keys: set[Key] = set()
        self._prior_keys = {key(result.values) for result in prior}
        self._trained: dict[str, list[Record]] = {}
        self._proposed: collections.deque[Record] = collections.deque(maxlen=_COMPARED)
        self._history: list[Result] = []
        self._pareto = Ranked(objectives) if len(objectives) > 1 else None
        self._left: list[Result] | None = None
        self._best: Record | None = None
        self._worst: dict[str, float] = {}
        self._least = math.inf
        self._costs: collections.deque[Observed] = collections.deque(maxlen=_WINDOW)
        self._latencies: collections.deque[tuple[float, float, float, float]] = collections.deque(maxlen=_WINDOW)
        self._model: CostModel | None = None

    @property
    def keys(self) -> Set[Key]:
        """Of all points that were recorded."""
        self._read()
        return self._keys

    @property
    def history(self) -> list[Result]:
        """The trials that have ended, as strategies see them; the very same objects each time (see
        `nasflow.strategies.remembered`), in a Pareto search but for those whose rank has changed."""
        self._read()
        return list(self._history if self._pareto is None else self._pareto.history)

    @property
    def known(self) -> list[Result]:
        """`history` after the results of earlier studies whose points were not recorded here."""
        history = self.history
        if self._left is None:
            self._left = [result for result in self._prior if key(result.values) not in self._keys]
        return [*self._left, *history]

    def score(self, trial_id: str) -> float | None:
        """Of a trial, as strategies see it now; None where there is none."""
        if self._pareto is not None:
            self._read()
            return self._pareto.score(trial_id)
        record = self.ledger.get(trial_id)
        return None if record is None or record.score is None else self._sign * record.score

    def trained(self, identity: str) -> Sequence[Record]:
        """Trials of an architecture and recipe that were, or are being, trained, in the order in which they started."""
        self._read()
        return [record for record in self._trained.get(identity, ()) if record.status not in FREE]

    @property
    def proposed(self) -> Sequence[Record]:
        """The last fifty points that broke no limit and were not known before, trained or left out."""
        self._read()
        return tuple(self._proposed)

    @property
    def best(self) -> Record | None:
        """The record with the best score; the earlier one among equals."""
        self._read()
        return self._best

    def worst(self, before: str) -> float:
        """The worst score of the trials that ended before this one, more is better; infinite where there is none."""
        self._read()
        return self._worst.get(before, self._least)

    def cost_model(self, rows: int) -> CostModel:
        """Calibrated by the last trials that have completed."""
        for record in self.ledger.ended[self._costed :]:
            if (seen := observed(record)) is not None:
                self._costs.append(seen)
                self._model = None
        self._costed = len(self.ledger.ended)
        if self._model is None:
            self._model = fitted(self._costs, rows=rows)
        return self._model

    @property
    def latencies(self) -> NDArray[np.float64]:
        """[trials, 4]: one, multiply-adds, activations, and the milliseconds that were measured; of the last trials."""
        self._read()
        return np.array(self._latencies).reshape(-1, 4)

    def _read(self) -> None:
        """What the ledger has got since."""
        for record in self.ledger.records[self._started :]:
            if record.look_of is None:  # a second look teaches nobody: suggestions are over
                self._start(record)
        self._started = len(self.ledger.records)
        for record in self.ledger.ended[self._ended :]:
            if record.look_of is None:
                self._end(record)
        self._ended = len(self.ledger.ended)

    def _start(self, record: Record) -> None:
        place = key(record.values)
        self._keys.add(place)
        if place in self._prior_keys:
            self._left = None
        if record.status not in ("infeasible", "same"):
            self._proposed.append(record)
        if record.status not in FREE:
            self._trained.setdefault(record.architecture_id, []).append(record)

    def _end(self, record: Record) -> None:
        result = record.result(self._sign)
        self._history.append(result)
        if self._pareto is not None:
            self._pareto.add(record, result)
        self._worst[record.trial_id] = self._least
        if result.score is not None:
            self._least = min(self._least, result.score)
            if self._best is None or self._best.score is None or result.score > self._sign * self._best.score:
                self._best = record
        if "latency_ms" in record.metrics and record.costs:
            costs = record.costs
            self._latencies.append((1.0, costs["flops"], costs["activations"], record.metrics["latency_ms"]))
