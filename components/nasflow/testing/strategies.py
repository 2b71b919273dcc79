"""What every strategy must do."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nasflow.spaces.parameters import (
    Choice,
    Integer,
    Parameter,
    Real,
    When,
    key,
    problems,
)
from nasflow.strategies._base import Result, Status, Strategy, Suggestion


class StrategyConformance:
    """What every strategy must hold. Say in `make` which one."""

    def make(self) -> Strategy:
        """A new strategy."""
        raise NotImplementedError("a subclass says which strategy is tested")

    def parameters(self) -> tuple[Parameter, ...]:
        """A small space of every kind of parameter, with conditions two deep."""
        return (
            Choice(name="body", values=("plain", "deep")),
            Integer(name="depth", low=1, high=4, when=When(parent="body", values=("deep",))),
            Choice(name="join", values=("add", "concat"), when=When(parent="depth", values=(3, 4))),
            Choice(name="width", values=(16, 32, 64)),
            Real(name="rate", low=1e-4, high=1e-1, log=True),
        )

    def presets(self) -> tuple[dict[str, Any], ...]:
        """Points of that space."""
        return ({"body": "plain", "width": 32, "rate": 1e-2}, {"body": "deep", "depth": 2, "width": 16, "rate": 1e-3})

    def score(self, values: Mapping[str, Any]) -> float | None:
        """What a trial with these values scores; more is better."""
        return float(values["width"] / 64 + 0.1 * values.get("depth", 0) + values["rate"])

    def run(self, trials: int, *, seed: int = 3, n: int = 1, history: Sequence[Result] = ()) -> list[Result]:
        """A whole study: presets first, then `n` suggestions at a time, each with a generator of its own."""
        done = list(history)
        while len(done) < trials:
            for values in self.ask(done, seed=seed, n=n) or ():
                done.append(self.result(len(done), values))
        return done[:trials]

    def ask(self, history: Sequence[Result], *, seed: int = 3, n: int = 1) -> list[Mapping[str, Any]]:
        """The next suggestions of a study."""
        if len(history) < len(self.presets()):
            return [self.presets()[len(history)]]
        rng = np.random.default_rng([seed, len(history)])
        return list(self.make().suggest(self.parameters(), self.presets(), history, n, rng))

    def result(self, number: int, values: Mapping[str, Any], status: Status = "completed") -> Result:
        """How a trial ends here."""
        score = self.score(values) if status == "completed" else None
        granted = _granted(values)
        return Result(
            trial_id=f"{number:04d}", values=dict(values), status=status, score=score, epochs=1, granted=granted
        )

    def test_same_seed_and_history_same_suggestion(self) -> None:
        assert self.run(30) == self.run(30)

    def test_another_seed_gives_another_study(self) -> None:
        assert [r.values for r in self.run(30, seed=1)] != [r.values for r in self.run(30, seed=2)]

    def test_never_suggests_a_point_twice(self) -> None:
        """But for more epochs."""
        tried = [(key(result.values), result.granted) for result in self.run(40)]
        assert len(tried) == len(set(tried))

    def test_suggests_exactly_the_active_parameters(self) -> None:
        for result in self.run(40):
            assert problems(self.parameters(), result.values) == []

    def test_parallel_suggestions_are_as_many_as_asked_for_and_different(self) -> None:
        history = self.run(16)
        suggestions = self.ask(history, n=5)
        assert len(suggestions) == 5
        tried = {(key(result.values), result.granted) for result in history}
        assert len({(key(values), _granted(values)) for values in suggestions} - tried) == 5

    def test_resumed_study_equals_the_uninterrupted_one(self) -> None:
        whole = self.run(24)
        assert self.run(24, history=self.run(9)) == whole

    def test_suggests_the_same_to_who_asks_for_the_first_time(self) -> None:
        """A strategy may go on with what it made of a history before (`nasflow.strategies.remembered`): that must save
        time and change nothing."""
        history = self.run(25)
        for count in range(len(self.presets()), 25, 3):
            unknown = [dataclasses.replace(result) for result in history[:count]]
            assert self.result(count, self.ask(unknown)[0]) == history[count]

    def test_small_space_is_searched_to_its_last_point_and_then_exhausted(self) -> None:
        parameters = self.parameters()[:4]  # plain: 3 widths; deep: 3 × (depth 1, 2, and 3, 4 with two joins) = 18
        history: list[Result] = []
        for number in range(100):
            rng = np.random.default_rng([5, number])
            suggestions = self.make().suggest(parameters, (), history, 1, rng)
            if not suggestions:
                break
            values, granted = dict(suggestions[0]), _granted(suggestions[0])
            history.append(
                Result(
                    trial_id=str(number),
                    values=values,
                    status="completed",
                    score=number / 100,
                    epochs=1,
                    granted=granted,
                )
            )
        assert len({key(result.values) for result in history}) == 21
        assert len({(key(result.values), result.granted) for result in history}) == len(history) < 100

    def test_asks_for_more_than_the_space_has(self) -> None:
        parameters = (Choice(name="width", values=(16, 32, 64)),)
        suggestions = self.make().suggest(parameters, (), [], 10, np.random.default_rng(0))
        assert sorted(values["width"] for values in suggestions) == [16, 32, 64]

    def test_goes_on_when_every_trial_failed(self) -> None:
        self._goes_on("failed")

    def test_goes_on_when_every_trial_was_infeasible(self) -> None:
        self._goes_on("infeasible")

    def test_goes_on_when_completed_trials_have_no_score(self) -> None:
        history = [
            Result(trial_id=r.trial_id, values=r.values, status="completed", score=None, epochs=0) for r in self.run(15)
        ]
        assert problems(self.parameters(), self.ask(history)[0]) == []

    def _goes_on(self, status: Status) -> None:
        history: list[Result] = []
        for number in range(30):
            history.append(self.result(number, self.ask(history)[0], status))
        assert len({key(result.values) for result in history}) == 30


def _granted(values: Mapping[str, Any]) -> int | None:
    return values.epochs if isinstance(values, Suggestion) else None
