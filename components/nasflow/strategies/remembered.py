"""What a history comes to, gone on with instead of worked out anew at each call.

A strategy keeps nothing between two calls: what it suggests follows from its arguments alone. But a study asks again
and again with the results of before and a few more. So what was made of those before is kept here, and shown only what
is new. It is used only where *the very same objects* come again in the same order; another history is gone through from
its first result. Nothing but time depends on it.
"""

import bisect
import operator
import threading
from collections.abc import Callable, Hashable, Sequence, Set
from typing import Any, TypeVar

from nasflow.spaces.parameters import key
from nasflow.strategies._base import Key, Result, descending, is_scored

State = TypeVar("State")

_HISTORIES = 4
"""That are known at a time, in each thread: the last ones asked for."""


class _Known:
    """Results, and what was made of them: how many each state has seen, and the state."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = list(results)
        self.states: dict[Hashable, tuple[int, Any]] = {}


class _Kept(threading.local):
    def __init__(self) -> None:
        self.histories: list[_Known] = []


_KEPT = _Kept()


def remembered(
    history: Sequence[Result], name: Hashable, start: Callable[[], State], learn: Callable[[State, Result], object]
) -> State:
    """What `learn` makes of what `start` gives, shown every result of the history once, in order.

    Args:
        history: every trial that has ended.
        name: of the state; says all that `start` and `learn` depend on.
        start: a new state.
        learn: changes the state.

    Returns:
        The state itself: it belongs to the next call, too, so the caller changes nothing in it.
    """
    known = _known(history)
    seen, state = known.states.pop(name, (0, None))  # gone, should `learn` be interrupted
    state = start() if state is None else state
    for result in known.results[seen:]:
        learn(state, result)
    known.states[name] = (len(known.results), state)
    return state


def points(history: Sequence[Result]) -> Set[Key]:
    """Keys of what was tried."""
    return remembered(history, "points", set[Key], lambda known, result: known.add(key(result.values)))


def scored(history: Sequence[Result]) -> Sequence[Result]:
    """The completed results that have a score, in the order of the history."""
    return remembered(history, "scored", list[Result], _append)


def best_first(history: Sequence[Result]) -> Sequence[Result]:
    """`nasflow.strategies._base.ranked` of a whole history."""
    return remembered(history, "best first", list[Result], _insert)


def _append(known: list[Result], result: Result) -> None:
    if is_scored(result):
        known.append(result)


def _insert(known: list[Result], result: Result) -> None:
    if is_scored(result):
        bisect.insort_right(known, result, key=descending)


def _known(history: Sequence[Result]) -> _Known:
    kept = _KEPT.histories
    for place, known in enumerate(kept):
        count = len(known.results)
        if count <= len(history) and all(map(operator.is_, known.results, history)):
            known.results += history[count:]
            kept.insert(0, kept.pop(place))
            return known
    kept.insert(0, _Known(history))
    del kept[_HISTORIES:]
    return kept[0]
