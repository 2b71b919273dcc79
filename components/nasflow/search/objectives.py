"""Several objectives as one number a trial, kept up as trials end."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from nasflow.core.metrics import maximised
from nasflow.core.spec import COSTS, Objective
from nasflow.search.pareto import Levels
from nasflow.search.record import Record
from nasflow.strategies._base import Result


def oriented(record: Record, objectives: Sequence[Objective]) -> list[float]:
    """A completed trial's value of each objective, more is better; NaN where it has none."""
    known = {**record.costs, **record.metrics}
    signs = [1 if objective not in COSTS and maximised(objective) else -1 for objective in objectives]
    return [sign * known.get(objective, math.nan) for sign, objective in zip(signs, objectives, strict=True)]


class Ranked:
    """The history of a Pareto search: each score is the trial's rank among all (`pareto.ranks`), so an earlier one's
    changes as others end. The same point twice would crowd itself out: a trial that is the same as another has its
    rank, and none of its own."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._objectives = tuple(objectives)
        self._levels = Levels(len(self._objectives))
        self._place: dict[str, int] = {}
        self._scores: list[dict[str, float]] = []
        self._results: list[Result] = []
        self._by_id: dict[str, int] = {}
        self._stale = False

    def add(self, record: Record, result: Result) -> None:
        """One more has ended; `result` is what the metric alone makes of it."""
        if result.score is not None and result.same_as is None:
            point = oriented(record, self._objectives)
            self._place[result.trial_id] = self._levels.add(np.array(point))
            self._scores.append(dict(zip(self._objectives, point, strict=True)))
        self._by_id[result.trial_id] = len(self._results)
        self._results.append(result)
        self._stale = True

    @property
    def history(self) -> Sequence[Result]:
        """All that were added, with these scores."""
        self._rank()
        return self._results

    def score(self, trial_id: str) -> float | None:
        """As `history` has it; None where there is none."""
        self._rank()
        place = self._by_id.get(trial_id)
        return None if place is None else self._results[place].score

    def _rank(self) -> None:
        if not self._stale:
            return
        self._stale = False
        ranks = self._levels.ranks()
        for number, result in enumerate(self._results):
            place = self._place.get(result.same_as or result.trial_id)
            if place is not None and (result.score != ranks[place] or not result.scores):
                score, scores = ranks[place], self._scores[place]
                self._results[number] = dataclasses.replace(result, score=score, scores=scores)
