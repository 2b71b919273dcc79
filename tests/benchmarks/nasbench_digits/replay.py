"""Searches replayed on the table: what a study would have been told, and what it would have returned.

A *search seed* fixes which of the table's three trainings a search is told of for each architecture, the same one for
every strategy, so that two strategies can be compared in pairs. The budget is epochs: a whole training is 12 of them,
a shorter one is the beginning of a whole one (one schedule spans all 12) and can go on.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.nasbench_digits import landscape
from tests.benchmarks.nasbench_digits.landscape import EPOCHS, SEEDS, Table

from nasflow.spaces.parameters import key
from nasflow.strategies._base import Result, Strategy, Suggestion

TRAININGS = 150
_TIMED = 7
"""Each so many-th suggestion is timed: the clock takes longer than a cheap one."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How one search went."""

    returned: tuple[int, ...]
    """The row of the architecture that it would have returned after 1, 2, … whole trainings' worth of epochs; −1 while
    nothing has been trained."""
    architectures: int
    """Different ones that were trained, however briefly."""
    points: int
    """Suggestions, those that cost nothing too."""
    suggesting_seconds: float
    """CPU, of all of them."""


class Trainings:
    """A budget of epochs, what was trained with it, and which architecture is the best so far as the search sees it.

    The best: the highest score among trainings of at least half of the epochs (among all, while there are none), then
    the fewest parameters, then the earliest; `nasflow.search.selection` does the same.
    """

    def __init__(self, table: Table, seed: int, *, trainings: int = TRAININGS, by_identity: bool = True) -> None:
        """`by_identity`: an architecture is trained once, whatever points mean it, as a study of nasflow does; else a
        point is, as for those that know points only."""
        self.table = table
        self._left = self._budget = trainings * EPOCHS
        self._by_identity = by_identity
        rows = len(table.identities)
        self._order = np.random.default_rng([0, seed]).permuted(np.tile(np.arange(SEEDS), (rows, 1)), axis=1)
        """Which of its trainings an architecture shows first, second, third."""
        self._times = np.zeros(rows, np.int64)
        self._known: dict[Any, tuple[int, int, int]] = {}
        """Row, which training, epochs so far; by row or point."""
        self._best: tuple[bool, float, int, int] | None = None
        self._number = 0
        self._returned: list[int] = []
        self._row = -1

    @property
    def over(self) -> bool:
        """Whether the budget is spent."""
        return self._left <= 0

    @property
    def architectures(self) -> int:
        """Different ones that were trained."""
        return len({row for row, _, _ in self._known.values()})

    @property
    def returned(self) -> tuple[int, ...]:
        """See `Run`."""
        whole = self._budget // EPOCHS
        return tuple((self._returned + [self._row] * whole)[:whole])

    def train(self, values: Mapping[str, Any], epochs: int = EPOCHS, *, afresh: bool = False) -> NDArray[np.float64]:
        """Validation accuracy after each of the first `epochs`. Epochs that the training had already cost nothing.

        Args:
            values: the point.
            epochs: in all.
            afresh: a new training, with another seed, of what was trained already.
        """
        row = self.table.row(values)
        name = row if self._by_identity else key(values)
        if afresh or name not in self._known:
            self._known[name] = (row, int(self._times[row]) % SEEDS, 0)
            self._times[row] += 1
        _, turn, done = self._known[name]
        self._known[name] = (row, turn, max(done, epochs))
        self._left -= max(0, epochs - done)
        curve = self.table.validation[row, self._order[row, turn], :epochs].astype(np.float64)
        spent = (self._budget - max(self._left, 0)) // EPOCHS
        if self._left >= 0:  # one that the budget's end cuts off is not returned
            self._judge(row, float(curve[-1]), epochs)
        self._returned += [self._row] * (spent - len(self._returned))
        return curve

    def knows(self, values: Mapping[str, Any]) -> bool:
        """Whether a point means something that was trained, however briefly."""
        return (self.table.row(values) if self._by_identity else key(values)) in self._known

    def ahead(self, values: Mapping[str, Any]) -> NDArray[np.float64]:
        """The whole curve of what would be trained, which costs nothing: for those who decide where it is cut."""
        row = self.table.row(values)
        known = self._known.get(row if self._by_identity else key(values))
        turn = int(self._times[row]) % SEEDS if known is None else known[1]
        return self.table.validation[row, self._order[row, turn]].astype(np.float64)

    def _judge(self, row: int, score: float, epochs: int) -> None:
        self._number += 1
        mine = (2 * epochs >= EPOCHS, score, -int(self.table.parameters[row]), -self._number)
        if self._best is None or mine > self._best:
            self._best, self._row = mine, row


def search(
    strategy: Strategy,
    table: Table,
    seed: int,
    *,
    trainings: int = TRAININGS,
    presets: Sequence[Mapping[str, Any]] = (),
    by_identity: bool = True,
    stop: Callable[[NDArray[np.float64], Sequence[Result]], int] | None = None,
    keep: Callable[[int], bool] | None = None,
    watch: Callable[[int, Result], None] | None = None,
) -> Run:
    """One search as a study makes it: presets first, then one suggestion at a time, each with a generator that depends
    on the seed and the number of trials. A suggestion that means a known architecture enters the history with the
    known scores and costs nothing (`by_identity`).

    Args:
        strategy: what is replayed.
        table: the landscape.
        seed: of the search.
        trainings: budget.
        presets: the first points.
        by_identity: see `Trainings`.
        stop: (the whole curve of a new training, the results so far) -> the epochs after which it is stopped; for
            those that are granted all of them, presets excepted.
        keep: row -> whether a suggestion is trained that means no known architecture; else it has broken a limit.
        watch: told of each result, with its row.
    """
    parameters = landscape.space().parameters()
    trained = Trainings(table, seed, trainings=trainings, by_identity=by_identity)
    history: list[Result] = []
    first: dict[tuple[int, int], str] = {}
    """The trial that trained an architecture, by its row and epochs."""
    cut: dict[int, int] = {}
    """Epochs of the trainings that were granted all, by row."""
    waiting, cpu = [dict(preset) for preset in presets], 0.0
    while not trained.over:
        values: Mapping[str, Any]
        given = bool(waiting)
        if waiting:
            values = waiting.pop(0)
        else:
            rng = np.random.default_rng([seed, len(history)])
            timed = len(history) % _TIMED == 0
            started = time.process_time() if timed else 0.0
            found = strategy.suggest(parameters, presets, history, 1, rng)
            cpu += _TIMED * (time.process_time() - started) if timed else 0.0
            if not found:
                break
            values = found[0]
        granted = values.epochs if isinstance(values, Suggestion) else None
        row, trial_id = table.row(values), str(len(history))
        if keep is not None and not given and not trained.knows(values) and not keep(row):
            left_out = Result(trial_id=trial_id, values=dict(values), status="infeasible", score=None, epochs=0)
            history.append(left_out)
            continue
        if granted is None and row not in cut:
            cut[row] = EPOCHS if stop is None or given else stop(trained.ahead(values), history)
        curve = trained.train(values, granted or cut[row])
        original = first.setdefault((row, len(curve)), trial_id) if by_identity else trial_id
        history.append(
            Result(
                trial_id=trial_id,
                values=dict(values),
                status="completed",
                score=float(curve[-1]),
                epochs=len(curve),
                granted=granted,
                curve=tuple(curve.tolist()),
                same_as=None if original == trial_id else original,
            )
        )
        if watch is not None:
            watch(row, history[-1])
    return Run(
        returned=trained.returned,
        architectures=trained.architectures,
        points=len(history),
        suggesting_seconds=cpu,
    )


def regret(final: NDArray[np.float64], returned: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far what was returned is below the best there is, in percentage points; nothing (−1) is as far as the worst.

    >>> regret(np.array([0.5, 0.75]), np.array([[-1, 0, 1]]))
    array([[25., 25.,  0.]])
    """
    found = np.where(returned < 0, final.min(), final[returned])
    return 100 * (final.max() - found)
