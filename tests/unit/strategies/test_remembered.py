"""What is remembered of a history: gone on with, or begun anew, and nothing else."""

import dataclasses

import pytest

from nasflow.strategies._base import Result, ranked
from nasflow.strategies.remembered import best_first, points, remembered, scored


def result(number: int, *, score: float | None = 0.0, status: str = "completed") -> Result:
    return Result(trial_id=str(number), values={"x": number}, status=status, score=score, epochs=1)


class Shown:
    """The trials that a state was shown, over all states."""

    def __init__(self) -> None:
        self.trials: list[str] = []

    def of(self, history) -> list[str]:
        self.trials.clear()
        remembered(history, self, list, lambda _, each: self.trials.append(each.trial_id))
        return list(self.trials)


def test_only_what_is_new_is_shown() -> None:
    shown, history = Shown(), [result(0), result(1)]
    assert shown.of(history) == ["0", "1"]
    assert shown.of(tuple(history)) == []
    assert shown.of([*history, result(2)]) == ["2"]


def test_another_history_is_gone_through_from_its_start() -> None:
    """Equal results, fewer results, one that is another: none of them is the history that is known."""
    shown, history = Shown(), [result(0), result(1)]
    shown.of(history)
    assert shown.of([dataclasses.replace(each) for each in history]) == ["0", "1"]
    assert shown.of(history[:1]) == ["0"]
    assert shown.of([history[0], result(7)]) == ["7"]
    assert shown.of([result(7), history[1]]) == ["7", "1"]


def test_two_studies_in_turn_both_go_on() -> None:
    shown, one, other = Shown(), [result(0)], [result(1)]
    for number in range(2, 6):
        assert len(shown.of(one)) == len(shown.of(other)) == 1
        one.append(result(number))
        other.append(result(number))


def test_what_was_interrupted_is_begun_anew() -> None:
    history, told = [result(0), result(1)], []

    def learn(state: list[str], each: Result) -> None:
        state.append(each.trial_id)
        if not told and each.trial_id == "1":
            told.append("once")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        remembered(history, "interrupted", list, learn)
    assert remembered(history, "interrupted", list, learn) == ["0", "1"]


def test_best_first_is_ranked() -> None:
    """Equal scores in the order of the history, those without one nowhere; also when they come one by one."""
    scores = [0.5, None, 0.75, 0.5, 0.25, 0.75]
    history: list[Result] = []
    for number, score in enumerate(scores):
        history.append(result(number, score=score))
        assert list(best_first(history)) == ranked(history)
    assert [each.trial_id for each in best_first(history)] == ["2", "5", "0", "3", "4"]
    history.append(result(6, score=None, status="failed"))
    assert [each.trial_id for each in scored(history)] == ["0", "2", "3", "4", "5"]
    assert points(history) == {(("x", number),) for number in range(7)}
