"""Progressive ASHA: the longest trials are not run until rankings of the shorter ones contradict each other."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nasflow.spaces.parameters import Parameter, key
from nasflow.strategies._base import Result, Suggestion, is_scored, ranked
from nasflow.strategies.asha import Asha, Rungs
from nasflow.strategies.remembered import remembered

_PERCENTILE = 90.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pasha(Asha):
    """Bohdal, Balles, Wistuba, Ermis, Archambeau, Zappella 2023, "PASHA: Efficient HPO and NAS with Progressive
    Resource Allocation", algorithm 1 with soft ranking (section 4.2).

    ASHA with only its two lowest rungs at first. When a trial of the highest open rung ends, the points in that rung
    are ranked by it and by the rung below; the next rung opens where the two disagree. Softly: a point may stand where
    another one is that scored within ε of it in the rung below. ε is the 90th percentile of the differences between
    learning curves that crossed twice, which only noise explains; until two did it is 0, and every swap of two unequal
    scores opens a rung.

    Where we differ: the paper trains its choice for all epochs once the search is over. Here the best of the highest
    open rung gets a whole trial as soon as that rung has `factor` results, and each better one after it, so that what
    the study returns is compared with the presets on equal epochs (`nasflow.search.selection` takes no trial of less
    than half of them). In a Pareto search ε stays 0: scores are ranks there, curves are not.

    With no more than two rungs it is ASHA. Worked out again from the history at each call, as everywhere.
    """

    def suggest(
        self,
        parameters: tuple[Parameter, ...],
        presets: Sequence[Mapping[str, Any]],
        history: Sequence[Result],
        n: int,
        rng: np.random.Generator,
    ) -> list[Suggestion]:
        """See `nasflow.strategies._base.Strategy`."""
        whole = self._whole(history)[:n]
        return [*whole, *Asha.suggest(self, parameters, presets, history, n - len(whole), rng)]

    def open_rungs(self, history: Sequence[Result]) -> tuple[int, ...]:
        """Epochs of the rungs that points are promoted to by now, the lowest first."""
        ladder = self.ladder()
        opening = remembered(history, (_Opening, ladder), lambda: _Opening(ladder), _Opening.add)
        return ladder[: opening.top + 1]

    def _whole(self, history: Sequence[Result]) -> list[Suggestion]:
        """The best of the highest open rung, where that is not the last one and it had no whole trial yet."""
        highest, rungs = self.open_rungs(history)[-1], Rungs.of(history, self.epochs)
        if highest == self.epochs:
            return []
        order = rungs.order(highest)
        if len(order) < self.factor or rungs.has(self.epochs, order[0]):
            return []
        return [self._promoted(order[0], self.epochs)]


class _Opening:
    """Which rung is the highest open one, result by result."""

    def __init__(self, ladder: tuple[int, ...]) -> None:
        self.top = min(1, len(ladder) - 1)
        """Its place in the ladder."""
        self._ladder, self._epsilon = ladder, 0.0
        self._rungs: dict[int, list[Result]] = {epochs: [] for epochs in ladder}
        self._noise: list[float] = []

    def add(self, result: Result) -> None:
        """The next trial that has ended."""
        ladder, rungs = self._ladder, self._rungs
        epochs = result.granted or ladder[-1]
        if self.top == len(ladder) - 1 or epochs not in rungs or not is_scored(result):
            return
        highest = epochs == ladder[self.top]
        if highest:
            self._noise += [gap for other in rungs[epochs] if (gap := crossed_twice(result, other)) is not None]
            self._epsilon = float(np.percentile(self._noise, _PERCENTILE)) if self._noise else self._epsilon
        rungs[epochs].append(result)
        if highest and not agree(rungs[epochs], rungs[ladder[self.top - 1]], self._epsilon):
            self.top, self._noise = self.top + 1, []


def agree(top: Sequence[Result], below: Sequence[Result], epsilon: float) -> bool:
    """Whether two rungs rank the points that are in both softly alike: whoever is i-th in `top` scored in `below`
    within `epsilon` of who is i-th there."""
    scores = {key(result.values): result.score for result in below if result.score is not None}
    order = [scores[key(result.values)] for result in ranked(top) if key(result.values) in scores]
    return all(abs(one - other) <= epsilon for one, other in zip(order, sorted(order, reverse=True), strict=True))


def crossed_twice(one: Result, other: Result) -> float | None:
    """How far apart two curves are at their last common epoch, where one was ahead, then behind, then ahead again;
    None where they did not cross so often, or in a Pareto search."""
    if one.scores or other.scores:
        return None
    gaps = [first - second for first, second in zip(one.curve, other.curve, strict=False)]
    signs = [gap > 0 for gap in gaps if gap != 0]
    turns = sum(now != before for before, now in itertools.pairwise(signs))
    return abs(gaps[-1]) if turns >= 2 else None
