"""The tree-structured Parzen estimator."""

import bisect
import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nasflow.spaces import parameters as space
from nasflow.spaces.parameters import Choice, Parameter, Value
from nasflow.strategies._base import Positive, Result, Suggestion
from nasflow.strategies.neighbourhood import levels
from nasflow.strategies.novelty import Novelty
from nasflow.strategies.remembered import best_first, remembered

_FEW = 10
"""Integers with at most so many values are counted, not smoothed."""
_MOST_GOOD = 25


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TreeParzen:
    """Bergstra, Bardenet, Bengio, Kégl 2011, "Algorithms for Hyper-Parameter Optimization", section 4.

    The results are split into the good ones and the rest. Each parameter gets two densities, l(x) over the good and
    g(x) over the rest, each from those results alone in which it was *active*: an inactive value never counts.
    Candidates are drawn from l, from the root of the tree down, so that each has exactly its active parameters; the one
    with the largest product of l/g over those is suggested. Failed trials and those that broke a limit belong to the
    rest.

    Where we differ: densities are reflected at the ends of a scale instead of truncated, and each draw that was tried
    before halves the number of candidates for the next one, so that on a space of few values, where the best of 24 is
    always the same point, the search falls back to l itself, not to chance.
    """

    startup: Positive = 10
    """Results with a score, presets included, before the first estimate; until then points are random."""
    gamma: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """Fraction of the results that is good; never more than 25 of them."""
    candidates: Positive = 24
    """Points drawn from l, for each suggestion."""
    prior: Annotated[float, Field(gt=0.0)] = 1.0
    """Weight of the uniform prior, in results."""

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
        draw = self.proposals(parameters, history, rng)
        if draw is None:
            return novelty.many(n, novelty.random)
        return novelty.many(n, draw, then=draw.begin)

    def proposals(
        self, parameters: tuple[Parameter, ...], history: Sequence[Result], rng: np.random.Generator
    ) -> "Proposals | None":
        """Points, tried or not; None before the first estimate."""
        order = best_first(history)
        if len(order) < self.startup:
            return None
        cut = min(_MOST_GOOD, math.ceil(self.gamma * len(order)))
        good = order[:cut]
        below, every = _Columns(parameters), _Columns.of(parameters, history)
        for result in good:
            below.add(result)
        pairs = {
            p.name: (self._density(p, below.of_one(p)), self._density(p, every.of_one(p, less=below)))
            for p in parameters
        }
        return Proposals(parameters, pairs, parent=good[0].trial_id, candidates=self.candidates, rng=rng)

    def _density(self, parameter: Parameter, seen: "Counter[Value] | list[float]") -> "_Density":
        if isinstance(seen, Counter):
            return _Counted(levels(parameter, _FEW), seen, self.prior)
        return _Parzen(parameter, seen, self.prior)


class Proposals:
    """Draws from an estimate, each one the best of half as many candidates as the one before."""

    def __init__(
        self,
        parameters: tuple[Parameter, ...],
        pairs: "Mapping[str, tuple[_Density, _Density]]",
        *,
        parent: str,
        candidates: int,
        rng: np.random.Generator,
    ) -> None:
        """`pairs`: l and g, by parameter; `parent`: the trial that is named as such."""
        self._parameters, self._pairs, self._parent, self._rng = parameters, pairs, parent, rng
        self._candidates = candidates
        self._flat = all(parameter.when is None for parameter in parameters)
        self.begin()

    def begin(self) -> None:
        """The next draw compares all candidates again."""
        self._draws = self._candidates * 2

    def __call__(self) -> Suggestion:
        """The best of its candidates by l/g; the first one among equals."""
        self._draws = max(1, self._draws // 2)
        drawn = {name: below.draw(self._draws, self._rng) for name, (below, _) in self._pairs.items()}
        gains = {
            name: np.log(below.density(drawn[name])) - np.log(above.density(drawn[name]))
            for name, (below, above) in self._pairs.items()
        }
        if self._flat:
            total = np.zeros(self._draws)
            for own in gains.values():
                total += own
            place = int(np.argmax(total))
            values = {name: below.value(drawn[name][place]) for name, (below, _) in self._pairs.items()}
            return Suggestion(values, parents=[self._parent])
        best, most = dict[str, Any](), -math.inf
        for place in range(self._draws):
            values, gain = dict[str, Any](), 0.0
            for parameter in self._parameters:
                if space.is_active(parameter, values):
                    name = parameter.name
                    values[name] = self._pairs[name][0].value(drawn[name][place])
                    gain += gains[name][place]
            if gain > most:
                best, most = values, gain
        return Suggestion(best, parents=[self._parent])


class _Columns:
    """Of each parameter, over the results in which it was active: how often it had each value; of one that is smoothed
    the places on its scale, sorted."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self._smoothed = {p.name: p for p in parameters if not isinstance(p, Choice) and (p.count or math.inf) > _FEW}
        self._counts: dict[str, Counter[Value]] = {parameter.name: Counter() for parameter in parameters}
        self._places: dict[str, list[float]] = {name: [] for name in self._smoothed}

    @classmethod
    def of(cls, parameters: tuple[Parameter, ...], history: Sequence[Result]) -> "_Columns":
        """The whole history, whatever became of its trials."""
        return remembered(history, (cls, parameters), lambda: cls(parameters), cls.add)

    def add(self, result: Result) -> None:
        """One more result."""
        for name, value in result.values.items():
            if (smoothed := self._smoothed.get(name)) is not None:
                bisect.insort(self._places[name], float(smoothed.unit(value)))
            elif name in self._counts:
                self._counts[name][value] += 1

    def of_one(self, parameter: Parameter, *, less: "_Columns | None" = None) -> "Counter[Value] | list[float]":
        """A parameter's, without those of `less`, which are among them."""
        name = parameter.name
        if name not in self._smoothed:
            return self._counts[name] if less is None else self._counts[name] - less._counts[name]
        left = list(self._places[name])
        for place in less._places[name] if less is not None else ():
            del left[bisect.bisect_left(left, place)]
        return left


class _Counted:
    """A categorical distribution: how often each value was seen, and the prior."""

    def __init__(self, values: Sequence[Value], seen: Counter[Value], prior: float) -> None:
        self._values = values
        counts = np.array([seen[value] for value in values], dtype=np.float64)
        self._probabilities: NDArray[np.float64] = (counts + prior / len(values)) / (counts.sum() + prior)
        self._edges = self._probabilities.cumsum()
        self._edges /= self._edges[-1]

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Places of `n` values."""
        drawn: NDArray[np.int64] = self._edges.searchsorted(rng.random(n), side="right")  # rng.choice's own way
        return drawn.astype(np.float64)

    def density(self, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._probabilities[drawn.astype(np.int64)]

    def value(self, drawn: float) -> Value:
        return self._values[int(drawn)]


class _Parzen:
    """Normal densities about what was seen, on the parameter's scale from 0 to 1, and a uniform prior.

    As in the paper, each one's width is the distance to its farther neighbour, between 1/min(100, n + 1) and 1.
    """

    def __init__(self, parameter: Parameter, seen: Sequence[float], prior: float) -> None:
        self._parameter = parameter
        self._means = np.array(seen, dtype=np.float64)
        gaps = np.diff(np.concatenate([[0.0], self._means, [1.0]]))
        least = 1 / min(100, len(seen) + 1)
        self._widths = np.clip(np.maximum(gaps[:-1], gaps[1:]), least, 1.0) if len(seen) else np.empty(0)
        self._prior = prior / (prior + len(seen))

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """`n` places in [0, 1]."""
        drawn = rng.random(n)
        if len(self._means):
            chosen = rng.integers(len(self._means), size=n)
            moved = np.abs(rng.normal(self._means[chosen], self._widths[chosen])) % 2.0
            moved = np.where(moved > 1.0, 2.0 - moved, moved)
            drawn = np.where(rng.random(n) < self._prior, drawn, moved)
        return drawn

    def density(self, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        """With the images that reflection at both ends makes; those beyond ±2 hold under 3 % of the widest kernel."""
        if not len(self._means):
            return np.ones_like(drawn)
        total = np.zeros_like(drawn)
        for image in (drawn, -drawn, 2.0 - drawn, drawn - 2.0, drawn + 2.0):
            z = (image[:, None] - self._means) / self._widths
            total += (np.exp(-0.5 * z * z) / (self._widths * math.sqrt(2 * math.pi))).mean(axis=1)
        return self._prior + (1 - self._prior) * total

    def value(self, drawn: float) -> Value:
        if isinstance(self._parameter, Choice):
            raise TypeError(f"{self._parameter.name}: a choice is counted, not smoothed")
        return self._parameter.at(float(drawn))


_Density = _Counted | _Parzen
