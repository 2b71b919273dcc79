"""Strategies by the names that the YAML uses."""

import difflib
import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from nasflow.core.errors import SpecError
from nasflow.strategies._base import Strategy
from nasflow.strategies.auto import Auto
from nasflow.strategies.evolution import RegularizedEvolution
from nasflow.strategies.random_search import RandomSearch

STRATEGIES: Mapping[str, Callable[[], Strategy]] = MappingProxyType(
    {"auto": Auto, "random": RandomSearch, "evolution": RegularizedEvolution}
)

KERAS_TUNER: tuple[str, ...] = ("hyperband", "bayesian")
"""Keras Tuner's own oracles: `nasflow.search.oracle` makes them."""


def known_strategies() -> tuple[str, ...]:
    """Every name that `search.strategy` may have, dotted paths aside."""
    return (*STRATEGIES, *KERAS_TUNER)


def check_strategy(name: str) -> None:
    """Refuses a name that no strategy has, without importing anything heavy.

    Raises:
        SpecError: with the known names, the closest first.
    """
    if ":" in name or name in known_strategies():
        return
    close = difflib.get_close_matches(name, known_strategies(), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    known = ", ".join(known_strategies())
    raise SpecError([f"search.strategy: unknown strategy {name!r}; {hint}Known: {known}, or package.module:factory"])


def get_strategy(name: str) -> Strategy:
    """A strategy of ours, or what ``package.module:factory`` returns when called without arguments.

    Raises:
        SpecError: an unknown name; a path that cannot be imported; a factory that returns something else.
    """
    check_strategy(name)
    if name in STRATEGIES:
        return STRATEGIES[name]()
    if ":" not in name:
        raise SpecError([f"search.strategy: {name!r} is a Keras Tuner oracle, not a nasflow strategy"])
    module, _, attribute = name.partition(":")
    try:
        strategy = getattr(importlib.import_module(module), attribute)()
    except Exception as error:  # whatever the user's module does, it is the user's to mend
        raise SpecError([f"search.strategy: {name!r} cannot be loaded: {type(error).__name__}: {error}"]) from error
    if not callable(getattr(strategy, "suggest", None)):
        wanted = "a method suggest(parameters, presets, history, n, rng); see nasflow.strategies._base.Strategy"
        raise SpecError([f"search.strategy: {name!r} returned {strategy!r:.80}, which lacks {wanted}"])
    return strategy  # type: ignore[no-any-return]  # checked above as far as it can be
