"""Strategies by the names that the YAML uses, and their settings."""

import dataclasses
import difflib
import functools
import importlib
import typing
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nasflow.core.errors import SpecError
from nasflow.strategies._base import Strategy
from nasflow.strategies.asha import Asha
from nasflow.strategies.auto import Auto
from nasflow.strategies.differentiable import Differentiable, check_space
from nasflow.strategies.evolution import RegularizedEvolution
from nasflow.strategies.genetic import Genetic
from nasflow.strategies.greedy import GreedySearch
from nasflow.strategies.grid import GridSearch
from nasflow.strategies.hill_climb import HillClimb
from nasflow.strategies.hybrid import Hybrid
from nasflow.strategies.pasha import Pasha
from nasflow.strategies.predictor import Predictor
from nasflow.strategies.random_search import RandomSearch
from nasflow.strategies.reinforce import Reinforce
from nasflow.strategies.tpe import TreeParzen

STRATEGIES: Mapping[str, type[Any]] = MappingProxyType(
    {
        "auto": Auto,
        "random": RandomSearch,
        "grid": GridSearch,
        "greedy": GreedySearch,
        "hill_climb": HillClimb,
        "genetic": Genetic,
        "evolution": RegularizedEvolution,
        "tpe": TreeParzen,
        "predictor": Predictor,
        "reinforce": Reinforce,
        "differentiable": Differentiable,
        "asha": Asha,
        "pasha": Pasha,
        "hybrid": Hybrid,
    }
)
"""Each is a dataclass; its fields are its settings, those made by `from_study` aside."""

KERAS_TUNER: tuple[str, ...] = ("hyperband", "bayesian")
"""Keras Tuner's own oracles: `nasflow.search.oracle` makes them."""


def known_strategies() -> tuple[str, ...]:
    """Every name that `search.strategy` may have, dotted paths aside."""
    return (*STRATEGIES, *KERAS_TUNER)


def check_strategy(name: str, settings: Mapping[str, Any] = MappingProxyType({}), *, space: Any = None) -> None:
    """Refuses a name that no strategy has, settings that it does not have and, where `search.space` is given, a space
    that it cannot search, without importing anything heavy. What a dotted path takes is found out when it is loaded.

    Raises:
        SpecError: with the known names, the closest first.
    """
    if name in KERAS_TUNER:
        if settings:
            raise SpecError([f"search.settings: {name} has no settings, got {', '.join(settings)}; remove them"])
    elif name in STRATEGIES:
        get_strategy(name, settings)
        if name == "differentiable" and space is not None:
            check_space(space)
    elif ":" not in name:
        known = known_strategies()
        listed = f"Known: {', '.join(known)}, or package.module:factory"
        raise SpecError([f"search.strategy: unknown strategy {name!r}; {_closest(name, known)}{listed}"])


def get_strategy(name: str, settings: Mapping[str, Any] = MappingProxyType({}), **study: Any) -> Strategy:
    """A strategy of ours, or what ``package.module:factory`` returns when called with the settings.

    Args:
        name: as in `search.strategy`.
        settings: as in `search.settings`.
        study: what the study knows (``epochs`` of a whole trial; ``tie``: differences of the score up to this are
            noise), for those strategies that have a field `from_study` of that name.

    Raises:
        SpecError: an unknown name; settings that the strategy does not have, or cannot have; a path that cannot be
            imported; a factory that returns something else.
    """
    if name in STRATEGIES:
        return _ours(name, settings, study)
    check_strategy(name)
    if ":" not in name:
        raise SpecError([f"search.strategy: {name!r} is a Keras Tuner oracle, not a nasflow strategy"])
    module, _, attribute = name.partition(":")
    try:
        strategy = getattr(importlib.import_module(module), attribute)(**settings)
    except Exception as error:  # whatever the user's module does, it is the user's to mend
        raise SpecError([f"search.strategy: {name!r} cannot be loaded: {type(error).__name__}: {error}"]) from error
    if not callable(getattr(strategy, "suggest", None)):
        wanted = "a method suggest(parameters, presets, history, n, rng); see nasflow.strategies._base.Strategy"
        raise SpecError([f"search.strategy: {name!r} returned {strategy!r:.80}, which lacks {wanted}"])
    return strategy  # type: ignore[no-any-return]  # checked above as far as it can be


def settings_of(kind: type[Any]) -> tuple[str, ...]:
    """Names of a strategy's settings."""
    return tuple(field.name for field in dataclasses.fields(kind) if not field.metadata.get("study"))


def _ours(name: str, settings: Mapping[str, Any], study: Mapping[str, Any]) -> Strategy:
    kind = STRATEGIES[name]
    if problems := _unknown(kind, settings, "search.settings", name):
        raise SpecError(problems)
    try:
        strategy: Strategy = _reader(name).validate_python(dict(settings))
    except ValidationError as error:
        raise SpecError([_describe(details) for details in error.errors()]) from error
    wanted = {field.name for field in dataclasses.fields(kind) if field.metadata.get("study")}
    facts = {fact: value for fact, value in study.items() if fact in wanted}
    return dataclasses.replace(strategy, **facts) if facts else strategy  # type: ignore[type-var]  # a dataclass


@functools.cache
def _reader(name: str) -> TypeAdapter[Any]:
    """Making one takes milliseconds."""
    return TypeAdapter(STRATEGIES[name])


def _unknown(kind: type[Any], settings: Mapping[str, Any], place: str, name: str) -> list[str]:
    """A line for each key that is no field, also of a setting that is a strategy itself."""
    known, hints, found = settings_of(kind), typing.get_type_hints(kind), []
    for key, value in settings.items():
        if key not in known:
            listed = f"Known: {', '.join(known)}" if known else "It has none; remove it"
            found.append(f"{place}.{key}: unknown setting of {name}; {_closest(key, known)}{listed}")
        elif isinstance(value, Mapping) and isinstance(inner := hints[key], type) and dataclasses.is_dataclass(inner):
            found += _unknown(inner, value, f"{place}.{key}", inner.__name__)
    return found


def _describe(details: Mapping[str, Any]) -> str:
    place = ".".join(map(str, ("search.settings", *details["loc"])))
    if details["type"] == "value_error":
        return f"{place}: {details['ctx']['error']}"
    return f"{place}: {details['msg'].removeprefix('Input ')}, got {details['input']!r:.80}"


def _closest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"did you mean {close[0]!r}? " if close else ""
