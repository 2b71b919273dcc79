"""What a search varies: choices, integers and reals, with conditions; and pure functions over a tuple of them.

A *value* is a string, an int or a float. There are no booleans: Keras Tuner turns a choice of them into 0 and 1.
Values of a tuple of parameters are a dict by name that holds exactly the *active* ones: those without a condition, and
those whose parent is active and has one of the values that the condition names.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from nasflow.core.errors import NasflowError

Value: TypeAlias = str | int | float

_TOLERANCE = 1e-5
"""Relative. Keras Tuner's protocol carries floats as float32, so a value may come back a little changed."""
_MUTATION_SCALE = 0.15
"""Standard deviation of a mutation of an integer or real, of its range."""
_MUTATION_TRIES = 100
"""Steps of a real that rounding may take back."""


class ParameterError(NasflowError):
    """Parameters that contradict themselves, or values that do not belong to them."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """The condition of a child parameter."""

    parent: str
    """Name of a parameter that is declared earlier."""
    values: tuple[Value, ...]
    """The child is active where the parent has one of these."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of a few values, all strings or all numbers. Numbers are in order: a mutation prefers the neighbours."""

    name: str
    values: tuple[Value, ...]
    when: When | None = None

    def __post_init__(self) -> None:
        kinds = {type(value) for value in self.values}
        if not self.values or len(set(self.values)) != len(self.values) or kinds not in ({str}, {int}, {float}):
            raise ParameterError(f"{self.name}: values must be distinct and of one kind, got {self.values!r}")

    @property
    def count(self) -> int:
        """How many values there are."""
        return len(self.values)

    def contains(self, value: Any) -> bool:
        """Whether this is one of the values (exactly)."""
        return any(type(value) is type(known) and value == known for known in self.values)

    def sample(self, rng: np.random.Generator) -> Value:
        """Uniform."""
        return self.values[int(rng.integers(len(self.values)))]

    def snap(self, value: Any) -> Value | None:
        """The value that this one means: the nearest number, within rounding; None where it means none."""
        if self.contains(value):
            return value  # type: ignore[no-any-return]  # contains() has checked it
        if isinstance(self.values[0], str) or not _is_number(value):
            return None
        nearest = min(self.values, key=lambda known: abs(float(known) - float(value)))
        return nearest if math.isclose(float(nearest), float(value), rel_tol=_TOLERANCE, abs_tol=1e-12) else None

    def mutate(self, value: Value, rng: np.random.Generator) -> Value:
        """Another value; for numbers one of the two neighbours, three times in four."""
        place = self.values.index(value)
        others = [other for other in range(len(self.values)) if other != place]
        near = [other for other in others if abs(other - place) == 1]
        if not isinstance(value, str) and rng.random() < 0.75:
            others = near
        return self.values[others[int(rng.integers(len(others)))]]

    def unit(self, value: Value) -> float:
        """The value's place in [0, 1], for surrogates and plots."""
        return self.values.index(value) / max(1, len(self.values) - 1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Integer:
    """A whole number, `low` to `high`, both included."""

    name: str
    low: int
    high: int
    log: bool = False
    when: When | None = None

    def __post_init__(self) -> None:
        if self.low > self.high or (self.log and self.low < 1):
            raise ParameterError(f"{self.name}: must hold low <= high, and low >= 1 with log, got {self!r}")

    @property
    def count(self) -> int:
        """How many values there are."""
        return self.high - self.low + 1

    def contains(self, value: Any) -> bool:
        """Whether it is an int in the range."""
        return type(value) is int and self.low <= value <= self.high

    def sample(self, rng: np.random.Generator) -> int:
        """Uniform, or with `log` uniform in the logarithm."""
        return self.at(float(rng.random()))

    def snap(self, value: Any) -> int | None:
        """The nearest int in the range; None for what is no finite number."""
        return min(max(round(float(value)), self.low), self.high) if _is_number(value) else None

    def mutate(self, value: Value, rng: np.random.Generator) -> int:
        """Another int, normally distributed about this one on the parameter's scale."""
        moved = self.at(_reflect(self.unit(value) + float(rng.normal(0, _MUTATION_SCALE))))
        if moved != value:
            return moved
        neighbours = [other for other in (int(value) - 1, int(value) + 1) if self.contains(other)]
        return neighbours[int(rng.integers(len(neighbours)))]

    def unit(self, value: Value) -> float:
        """The value's place in (0, 1): the middle of its share of the scale."""
        number = float(value)
        if self.log:
            low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return (math.log(number) - low) / (high - low)
        return (number - self.low + 0.5) / self.count

    def at(self, unit: float) -> int:
        """The value at a place in [0, 1]."""
        if self.log:
            low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
            number = math.exp(low + unit * (high - low))
        else:
            number = self.low - 0.5 + unit * self.count
        return min(max(round(number), self.low), self.high)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """A number from `low` to `high`."""

    name: str
    low: float
    high: float
    log: bool = False
    when: When | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ParameterError(f"{self.name}: must hold low < high, and low > 0 with log, got {self!r}")

    @property
    def count(self) -> None:
        """Uncountable."""
        return

    def contains(self, value: Any) -> bool:
        """Whether it is a float in the range."""
        return type(value) is float and self.low <= value <= self.high

    def sample(self, rng: np.random.Generator) -> float:
        """Uniform, or with `log` uniform in the logarithm."""
        return self.at(float(rng.random()))

    def snap(self, value: Any) -> float | None:
        """The nearest float in the range; None for what is no finite number."""
        return min(max(float(value), self.low), self.high) if _is_number(value) else None

    def mutate(self, value: Value, rng: np.random.Generator) -> float:
        """Another float, normally distributed about this one on the parameter's scale, reflected at the ends; the far
        end where the range is so narrow that `at` rounds all of it to one value."""
        for _ in range(_MUTATION_TRIES):
            moved = self.at(_reflect(self.unit(value) + float(rng.normal(0, _MUTATION_SCALE))))
            if moved != value:
                return moved
        return self.high if value == self.low else self.low

    def unit(self, value: Value) -> float:
        """The value's place in [0, 1]."""
        number = float(value)
        if self.log:
            return math.log(number / self.low) / math.log(self.high / self.low)
        return (number - self.low) / (self.high - self.low)

    def at(self, unit: float) -> float:
        """The value at a place in [0, 1], rounded to four significant digits: shorter to read, the same for all."""
        span = self.high - self.low
        number = self.low * (self.high / self.low) ** unit if self.log else self.low + unit * span
        return min(max(float(f"{number:.4g}"), self.low), self.high)


Parameter: TypeAlias = Choice | Integer | Real


def check_declaration(parameters: Sequence[Parameter]) -> None:
    """Whether a tuple of parameters is well formed.

    Raises:
        ParameterError: two of one name, or a condition on something that is not declared before, or on a value that
            the parent does not have.
    """
    known: dict[str, Parameter] = {}
    for parameter in parameters:
        if parameter.name in known:
            raise ParameterError(f"{parameter.name}: declared twice; rename one")
        if parameter.when is not None:
            parent = known.get(parameter.when.parent)
            if parent is None:
                raise ParameterError(f"{parameter.name}: its parent {parameter.when.parent!r} must be declared before")
            for value in parameter.when.values:
                if not parent.contains(value):
                    raise ParameterError(f"{parameter.name}: its parent {parent.name!r} never has the value {value!r}")
        known[parameter.name] = parameter


def is_active(parameter: Parameter, values: Mapping[str, Any]) -> bool:
    """Whether its condition holds, given the *active* values declared before it."""
    return parameter.when is None or values.get(parameter.when.parent) in parameter.when.values


def active(parameters: Sequence[Parameter], values: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The parameters that count, in order. A child whose parent has no value is not active."""
    known: dict[str, Any] = {}
    found = []
    for parameter in parameters:
        if is_active(parameter, known):
            found.append(parameter)
            if parameter.name in values:
                known[parameter.name] = values[parameter.name]
    return tuple(found)


def sample(parameters: Sequence[Parameter], rng: np.random.Generator) -> dict[str, Any]:
    """Values drawn independently, each from its own scale."""
    return repair(parameters, {}, rng)


def repair(parameters: Sequence[Parameter], values: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Valid values, as near as possible: inactive and unknown ones dropped, numbers moved into their range, missing and
    meaningless active ones drawn. Valid values come back unchanged, and `rng` is not used."""
    repaired: dict[str, Any] = {}
    for parameter in parameters:
        if is_active(parameter, repaired):
            value = parameter.snap(values[parameter.name]) if parameter.name in values else None
            repaired[parameter.name] = parameter.sample(rng) if value is None else value
    return repaired


def mutate(parameters: Sequence[Parameter], values: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """One active parameter gets another value; children that this wakes up are drawn.

    Raises:
        ParameterError: no active parameter has a second value.
    """
    valid = repair(parameters, values, rng)
    candidates = [parameter for parameter in active(parameters, valid) if parameter.count != 1]
    if not candidates:
        raise ParameterError("nothing to mutate: every active parameter has a single value")
    chosen = candidates[int(rng.integers(len(candidates)))]
    return repair(parameters, {**valid, chosen.name: chosen.mutate(valid[chosen.name], rng)}, rng)


def problems(parameters: Sequence[Parameter], values: Mapping[str, Any]) -> list[str]:
    """Why values are not exactly the valid active ones; empty where they are."""
    expected = active(parameters, values)
    names = {parameter.name for parameter in expected}
    found = [f"{name}: unknown or not active" for name in values if name not in names]
    for parameter in expected:
        if parameter.name not in values:
            found.append(f"{parameter.name}: missing")
        elif not parameter.contains(values[parameter.name]):
            found.append(f"{parameter.name}: {values[parameter.name]!r} is not one of {parameter!r}")
    return found


def key(values: Mapping[str, Any]) -> tuple[tuple[str, Value], ...]:
    """Hashable; equal for equal values in any order."""
    return tuple(sorted(values.items()))


def _reflect(unit: float) -> float:
    """Folds a number into [0, 1]."""
    folded = abs(unit) % 2.0
    return 2.0 - folded if folded > 1.0 else folded


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(float(value))
