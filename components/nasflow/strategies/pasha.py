"""Progressive ASHA: the longest trials are not run until rankings of the shorter ones contradict each other."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nasflow.spaces.parameters import Parameter, key
from nasflow.strategies._base import Result, Suggestion, ranked
from nasflow.strategies.asha import Asha

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
        top, epsilon = min(1, len(ladder) - 1), 0.0
        rungs: dict[int, list[Result]] = {epochs: [] for epochs in ladder}
        noise: list[float] = []
        for result in history:
            epochs = result.granted or self.epochs
            if top == len(ladder) - 1:
                break
            if epochs not in rungs or result.status != "completed" or result.score is None:
                continue
            if epochs == ladder[top]:
                noise += [gap for other in rungs[epochs] if (gap := crossed_twice(result, other)) is not None]
                epsilon = float(np.percentile(noise, _PERCENTILE)) if noise else epsilon
            rungs[epochs].append(result)
            if epochs == ladder[top] and not agree(rungs[epochs], rungs[ladder[top - 1]], epsilon):
                top, noise = top + 1, []
        return ladder[: top + 1]

    def _whole(self, history: Sequence[Result]) -> list[Suggestion]:
        """The best of the highest open rung, where that is not the last one and it had no whole trial yet."""
        highest = self.open_rungs(history)[-1]
        order = ranked(self._at(highest, history))
        if highest == self.epochs or len(order) < self.factor:
            return []
        known = {key(result.values) for result in self._at(self.epochs, history)}
        return [] if key(order[0].values) in known else [self._promoted(order[0], self.epochs)]


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
