"""All hyperparameters of a HyperModel, with their conditions, found by building it a few dozen times.

Keras Tuner meets parameters as trials come across them. Here all must be known first. What is declared in a
`conditional_scope` says its condition itself. What stands in a plain `if` or a loop (``for i in range(hp.Int(...))``)
does not: each parameter is tried at its values, one at a time, and a parameter that was looked at exactly for some
values of an earlier one depends on it. Where that finds nothing, the parameter counts always; architectures are told
apart by what the model looked at, so that nothing is wrong then but a few trials wasted.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras_tuner
from keras_tuner.engine import hyperparameters as hp_module

from nasflow.spaces.parameters import Choice, Integer, Parameter, Real, Value, When

_MOST_BUILDS = 48
_MOST_TRIED = 8
"""Values of one parameter."""
_MOST_LISTED = 1000
"""A stepped number with more values is a range."""


@dataclasses.dataclass(slots=True)
class _Run:
    values: Mapping[str, Any]
    """As the HyperModel saw them."""
    used: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is to search."""

    parameters: tuple[Parameter, ...]
    defaults: dict[str, Any]
    """Of all of them, as values of ours."""


def discover(look: Callable[[Mapping[str, Any]], keras_tuner.HyperParameters]) -> Found:
    """`look`: builds (and where it matters, trains) with the values given, and returns the HyperParameters after it."""
    declared: dict[str, Any] = {}
    runs: list[_Run] = []
    tried: set[tuple[tuple[str, Any], ...]] = set()
    waiting: list[dict[str, Any]] = [{}]
    while waiting and len(runs) < _MOST_BUILDS:
        given = waiting.pop(0)
        point = tuple(sorted(given.items(), key=repr))
        if point in tried:
            continue
        tried.add(point)
        hp = look(given)
        seen = [entry for entry in hp.space if not isinstance(entry, hp_module.Fixed)]
        runs.append(_Run(dict(hp.values), frozenset(entry.name for entry in seen if hp.is_active(entry))))
        for entry in seen:
            if entry.name not in declared:
                declared[entry.name] = entry
                scope = {condition.name: condition.values[0] for condition in entry.conditions}
                base = given | scope
                waiting += [base | {entry.name: value} for value in _tries(entry)]
    order = _parents_first(declared)
    found: list[Parameter] = []
    for name in order:
        when = _declared_condition(declared[name], found) or _inferred_condition(name, found, runs)
        found.append(_parameter(declared[name], when))
    return Found(parameters=tuple(found), defaults={name: ours(declared[name].default) for name in order})


def ours(value: Any) -> Value:
    """Keras Tuner's value as one of ours, which has no booleans."""
    return str(value).lower() if isinstance(value, bool) else value


def theirs(values: Mapping[str, Any], parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Our values as Keras Tuner's."""
    booleans = {p.name for p in parameters if isinstance(p, Choice) and p.values == _BOOLEAN}
    return {name: value == "true" if name in booleans else value for name, value in values.items()}


_BOOLEAN = ("false", "true")


def _tries(entry: Any) -> list[Any]:
    """Values to try a parameter at: all of a few, or the ends of a range."""
    if isinstance(entry, hp_module.Boolean):
        return [False, True]
    values = _listed(entry)
    if values is None:
        return [entry.min_value, entry.max_value]
    return list(values) if len(values) <= _MOST_TRIED else [values[0], *values[1 : _MOST_TRIED - 1], values[-1]]


def _listed(entry: Any) -> list[Any] | None:
    """All values, or None where it is a range."""
    if isinstance(entry, hp_module.Choice):
        return list(entry.values)
    if isinstance(entry, hp_module.Boolean):
        return list(_BOOLEAN)
    whole = isinstance(entry, hp_module.Int)
    if entry.min_value == entry.max_value:
        return [entry.min_value]
    if whole and entry.step == 1 and entry.sampling == "linear":
        count = entry.max_value - entry.min_value + 1
        return list(range(entry.min_value, entry.max_value + 1)) if count <= _MOST_TRIED else None
    if not entry.step or (whole and entry.step == 1):
        return None
    values = list(itertools.islice(entry.values, _MOST_LISTED + 1))
    if len(values) > _MOST_LISTED:
        return None
    return sorted({round(value) for value in values}) if whole else [float(value) for value in values]


def _parameter(entry: Any, when: When | None) -> Parameter:
    values = _listed(entry)
    if values is not None:
        return Choice(name=entry.name, values=tuple(values), when=when)
    log = entry.sampling == "log"
    if isinstance(entry, hp_module.Int):
        return Integer(name=entry.name, low=entry.min_value, high=entry.max_value, log=log, when=when)
    return Real(name=entry.name, low=float(entry.min_value), high=float(entry.max_value), log=log, when=when)


def _parents_first(declared: Mapping[str, Any]) -> list[str]:
    """In the order in which they were met, but those that conditions name before those that have the conditions."""
    order: list[str] = []

    def place(name: str) -> None:
        if name in declared and name not in order:
            for condition in declared[name].conditions:
                place(condition.name)
            order.append(name)

    for name in declared:
        place(name)
    return order


def _declared_condition(entry: Any, known: Sequence[Parameter]) -> When | None:
    """The innermost scope's; the parent's own condition stands for the outer ones."""
    if not entry.conditions:
        return None
    condition = entry.conditions[-1]
    parent = next((parameter for parameter in known if parameter.name == condition.name), None)
    values = [ours(value) for value in condition.values]
    kept = tuple(value for value in values if parent is not None and parent.contains(value))
    return When(parent=condition.name, values=kept) if kept else None


def _inferred_condition(name: str, known: Sequence[Parameter], runs: Sequence[_Run]) -> When | None:
    """The earlier parameter whose values decide whether this one was looked at, if there is one; the latest of them."""
    used = [run for run in runs if name in run.used]
    unused = [run for run in runs if name not in run.used]
    if not unused:
        return None
    for parent in reversed(known):
        if all(parent.name in run.used for run in used):
            on = {ours(run.values[parent.name]) for run in used}
            off = {ours(run.values[parent.name]) for run in unused if parent.name in run.used}
            if off and not on & off and (values := _active(parent, on, off)):
                return When(parent=parent.name, values=values)
    return None


def _active(parent: Parameter, on: Iterable[Value], off: Iterable[Value]) -> tuple[Value, ...]:
    """The parent's values for which the child counts: all that were not seen to be without it. A range must be cut
    in two by what was seen; () where it is not."""
    if isinstance(parent, Choice):
        return tuple(value for value in parent.values if value not in set(off))
    if not isinstance(parent, Integer) or parent.count > _MOST_LISTED:
        return ()
    wanted, unwanted = [int(value) for value in on], [int(value) for value in off]
    if max(unwanted) < min(wanted):
        return tuple(range(max(unwanted) + 1, parent.high + 1))
    if min(unwanted) > max(wanted):
        return tuple(range(parent.low, min(unwanted)))
    return ()
