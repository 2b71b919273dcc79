"""Reinforcement learning: a controller that writes a point gene by gene, trained on the scores."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nasflow.spaces import parameters as space
from nasflow.spaces.parameters import Choice, Parameter
from nasflow.strategies._base import Positive, Result, Share, Suggestion, Trace
from nasflow.strategies.novelty import Novelty
from nasflow.strategies.remembered import remembered

_CLIP = 3.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reinforce:
    """Zoph & Le 2017, "Neural Architecture Search with Reinforcement Learning", with the estimator of Williams 1992:
    logits += rate × advantage × ∇ log p(point), advantage = score − baseline, a moving average of the scores.

    Where we differ: the controller is a table of logits, a row for each parameter *and value of its parent*, instead of
    an LSTM of 35 hidden units, which needs thousands of trials to learn anything; scores are divided by their standard
    deviation so far, so that the rate means the same for every metric; real-valued parameters are cut into bins.

    The policy is not saved: it is what the whole history makes of it (`nasflow.strategies.remembered`). A trial
    that failed or broke a limit is rewarded as the worst one so far. Presets are learned from like any other point.
    """

    rate: Annotated[float, Field(gt=0.0, le=5.0)] = 0.4
    """Learning rate of the logits."""
    baseline: Share = 0.8
    """How much of the old baseline is kept at each trial."""
    entropy: Annotated[float, Field(ge=0.0)] = 0.01
    """Weight of the entropy bonus, against a policy that becomes certain too early."""
    bins: Positive = 6
    """Of a real-valued parameter, or of an integer with more values than that."""

    def suggest(
        self,
        parameters: tuple[Parameter, ...],
        presets: Sequence[Mapping[str, Any]],
        history: Sequence[Result],
        n: int,
        rng: np.random.Generator,
    ) -> list[Suggestion]:
        """See `nasflow.strategies._base.Strategy`."""
        novelty = Novelty(parameters, history, rng)
        policy = self.policy(parameters, history)
        return novelty.many(n, lambda: Suggestion(policy.draw(rng)))

    def policy(self, parameters: tuple[Parameter, ...], history: Sequence[Result]) -> "Policy":
        """The controller after the whole history."""

        def start() -> _Learner:
            return _Learner(self, Policy(parameters, self.bins))

        return remembered(history, (self, parameters), start, _Learner.add).policy

    def view(self, parameters: tuple[Parameter, ...], history: Sequence[Result]) -> list[Trace]:
        """How certain the controller has become."""
        learner = _Learner(self, Policy(parameters, self.bins))
        values = tuple(learner.policy.entropy() for result in history if learner.add(result))
        told = (
            "the mean entropy of the controller's softmaxes, 1 where every value is as likely as the others, 0 where "
            "it has made up its mind. If it falls to 0 early, raise settings.entropy or lower settings.rate."
        )
        return [Trace(name="Controller entropy", told=told, values=values)] if values else []


class _Learner:
    """Trains a policy, one result after the other."""

    def __init__(self, settings: Reinforce, policy: "Policy") -> None:
        self.policy, self._settings = policy, settings
        self._count, self._worst = 0, math.inf
        self._mean, self._average, self._squares = 0.0, 0.0, 0.0

    def add(self, result: Result) -> bool:
        """Whether something could be learnt from the result."""
        if result.status == "completed" and result.score is not None:
            reward = result.score
        elif self._count:
            reward = self._worst
        else:
            return False
        if not self._count:
            self._average = reward
        self._count += 1
        self._worst = min(self._worst, reward)
        delta = reward - self._mean  # Welford: the standard deviation of the rewards so far
        self._mean += delta / self._count
        self._squares += delta * (reward - self._mean)
        deviation = (self._squares / self._count) ** 0.5
        settings = self._settings
        if deviation > 0:
            advantage = min(max((reward - self._average) / deviation, -_CLIP), _CLIP)
            self.policy.learn(result.values, rate=settings.rate, advantage=advantage, entropy=settings.entropy)
        self._average = settings.baseline * self._average + (1 - settings.baseline) * reward
        return True


class Policy:
    """A softmax for each parameter and arm of its parent; an arm is a value, or a bin of the scale."""

    def __init__(self, parameters: Sequence[Parameter], bins: int) -> None:
        self._parameters, self._bins = tuple(parameters), bins
        self._by_name = {parameter.name: parameter for parameter in parameters}
        self._arms = {parameter.name: self._count(parameter) for parameter in parameters}
        self._row: dict[str, int] = {}
        rows: list[int] = []
        for parameter in parameters:
            self._row[parameter.name] = len(rows)
            contexts = self._arms[parameter.when.parent] if parameter.when else 1
            rows += [self._arms[parameter.name]] * contexts
        self.logits = np.where(np.arange(max(rows)) < np.array(rows)[:, None], 0.0, -np.inf)
        """float64 [parameter and parent's arm, arm]; −∞ where a parameter has no such arm."""

    def learn(self, values: Mapping[str, Any], *, rate: float, advantage: float, entropy: float) -> None:
        """One step on the log-probability of a point, and on the entropy of the softmaxes that made it."""
        names = [parameter.name for parameter in self._parameters if parameter.name in values]
        arms = {name: self._arm(self._by_name[name], values[name]) for name in names}
        rows = np.array([self._context(name, arms) for name in names])
        chosen = np.array([arms[name] for name in names])
        p = _softmax(self.logits[rows])
        log = np.log(np.where(p > 0, p, 1.0))
        slope = -p * (log - (p * log).sum(axis=1, keepdims=True))
        gradient = -advantage * p
        gradient[np.arange(len(rows)), chosen] += advantage
        self.logits[rows] += rate * (gradient + entropy * slope)

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """A point from the policy: parents first, each child given its parent's arm."""
        p = _softmax(self.logits)
        values: dict[str, Any] = {}
        arms: dict[str, int] = {}
        for parameter in self._parameters:
            if space.is_active(parameter, values):
                name = parameter.name
                own = p[self._context(name, arms), : self._arms[name]]
                arms[name] = int(np.searchsorted(own.cumsum(), rng.random() * own.sum(), side="right"))
                values[name] = self._value(parameter, min(arms[name], len(own) - 1), rng)
        return values

    def probabilities(self, name: str, parent_arm: int = 0) -> NDArray[np.float64]:
        """Of a parameter's arms, given its parent's."""
        return _softmax(self.logits[self._row[name] + parent_arm][None])[0, : self._arms[name]]

    def entropy(self) -> float:
        """The mean over the genes of their softmax's entropy, each of its own maximum, 0–1. A child's rows count by how
        likely the policy makes their parent's arms; a gene that has one arm only has no say."""
        p = _softmax(self.logits)
        log = np.log(np.where(p > 0, p, 1.0))
        rows = -(p * log).sum(axis=1)
        likely: dict[str, NDArray[np.float64]] = {}
        found = []
        for parameter in self._parameters:
            first, arms = self._row[parameter.name], self._arms[parameter.name]
            contexts = likely[parameter.when.parent] if parameter.when else np.ones(1)
            own = slice(first, first + len(contexts))
            likely[parameter.name] = contexts @ p[own, :arms]
            if arms > 1:
                found.append(float(contexts @ rows[own]) / math.log(arms))
        return sum(found) / len(found) if found else 0.0

    def _context(self, name: str, arms: Mapping[str, int]) -> int:
        when = self._by_name[name].when
        return self._row[name] + (arms[when.parent] if when else 0)

    def _count(self, parameter: Parameter) -> int:
        if isinstance(parameter, Choice):
            return parameter.count
        return self._bins if parameter.count is None else min(self._bins, parameter.count)

    def _arm(self, parameter: Parameter, value: Any) -> int:
        if isinstance(parameter, Choice):
            return parameter.values.index(value)
        arms = self._arms[parameter.name]
        return min(int(parameter.unit(value) * arms), arms - 1)

    def _value(self, parameter: Parameter, arm: int, rng: np.random.Generator) -> Any:
        if isinstance(parameter, Choice):
            return parameter.values[arm]
        return parameter.at((arm + float(rng.random())) / self._arms[parameter.name])


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row; exactly 0 where a logit is −∞."""
    exponential: NDArray[np.float64] = np.exp(logits - logits.max(axis=1, keepdims=True))
    exponential /= exponential.sum(axis=1, keepdims=True)
    return exponential
