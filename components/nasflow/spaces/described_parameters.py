"""The parameters of a space that is written in YAML.

width: {from: 16, to: 256, log: true}      whole numbers; a range with a fraction in it has real numbers
kernel: [3, 5]                             one of these
second: {values: [relu, gelu], when: {depth: [2, 3]}}      counts only where `depth` has one of these
units: {from: 16, to: 64, each: depth}     `units_1`, `units_2`, …: one for each repetition; inside of
                                           `repeat: $depth` it is `$units`
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from nasflow.spaces.parameters import Choice, Integer, Parameter, ParameterError, Real, When, check_declaration

_KEYS = {"from", "to", "log", "values", "when", "each"}


@dataclasses.dataclass(slots=True)
class Declared:
    """What was read."""

    parameters: list[Parameter]
    each: dict[str, str]
    """Parameters with one value a repetition: the one that says how many there are."""
    problems: list[str]
    """``search.space.parameters.NAME: what is wrong``."""

    def names(self) -> set[str]:
        """What layers can refer to."""
        return {parameter.name for parameter in self.parameters} | set(self.each)


def declare(content: Any) -> Declared:
    """Reads the section; every mistake at once."""
    found = Declared([], {}, [])
    if not isinstance(content, Mapping) or not content:
        found.problems.append("search.space.parameters: name at least one, such as `width: {from: 16, to: 256}`")
        return found
    for name, entry in content.items():
        place = f"search.space.parameters.{name}"
        try:
            _declare(str(name), {"values": entry} if isinstance(entry, list) else entry, found)
        except (ParameterError, ValueError) as error:
            found.problems.append(f"{place}: {error}")
    if not found.problems:
        try:
            check_declaration(found.parameters)
        except ParameterError as error:
            name, _, why = str(error).partition(": ")
            found.problems.append(f"search.space.parameters.{name}: {why}")
    return found


def _declare(name: str, entry: Any, found: Declared) -> None:
    if not name.isidentifier():
        raise ValueError(f"a name has letters, digits and _ only, got {name!r}")
    if not isinstance(entry, Mapping):
        raise ValueError(f"must be a list of values or {{from: …, to: …}}, got {entry!r}")
    if unknown := sorted(set(entry) - _KEYS):
        raise ValueError(f"unknown key {unknown[0]!r}; use {', '.join(sorted(_KEYS))}")
    when = _when(entry.get("when"))
    if "each" not in entry:
        found.parameters.append(_parameter(name, entry, when))
        return
    if when is not None:
        raise ValueError("each and when cannot both be given: each is a condition itself")
    count = next((parameter for parameter in found.parameters if parameter.name == entry["each"]), None)
    values = _whole_values(count)
    if not values:
        raise ValueError(f"each: {entry['each']!r} must be a parameter of whole numbers that stands before")
    found.each[name] = str(entry["each"])
    for place in range(1, max(values) + 1):
        wanted = tuple(value for value in values if value >= place)
        condition = When(parent=str(entry["each"]), values=wanted) if len(wanted) < len(values) else None
        found.parameters.append(_parameter(f"{name}_{place}", entry, condition))


def _parameter(name: str, entry: Mapping[str, Any], when: When | None) -> Parameter:
    if "values" in entry:
        if "from" in entry or "to" in entry:
            raise ValueError("give values, or from and to")
        values = entry["values"]
        if not isinstance(values, list):
            raise ValueError(f"values must be a list, got {values!r}")
        return Choice(name=name, values=_one_kind(values), when=when)
    low, high, log = entry.get("from"), entry.get("to"), entry.get("log", False)
    for key, value in (("from", low), ("to", high)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{key} must be a number, got {value!r}")
    if type(log) is not bool:
        raise ValueError(f"log must be true or false, got {log!r}")
    if isinstance(low, int) and isinstance(high, int):
        return Integer(name=name, low=low, high=high, log=log, when=when)
    return Real(name=name, low=float(low or 0.0), high=float(high or 0.0), log=log, when=when)


def _one_kind(values: Sequence[Any]) -> tuple[Any, ...]:
    """YAML reads `on` as a boolean and `[0, 0.1]` as two kinds of numbers."""
    plain = [{True: "on", False: "off"}[value] if isinstance(value, bool) else value for value in values]
    if any(isinstance(value, float) for value in plain):
        plain = [float(value) if isinstance(value, int) else value for value in plain]
    return tuple(plain)


def _when(entry: Any) -> When | None:
    if entry is None:
        return None
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise ValueError(f"when: must name one parameter and its values, such as {{depth: [2, 3]}}, got {entry!r}")
    ((parent, values),) = entry.items()
    return When(parent=str(parent), values=_one_kind(values if isinstance(values, list) else [values]))


def _whole_values(parameter: Parameter | None) -> list[int]:
    if isinstance(parameter, Integer) and parameter.high <= 64:
        return list(range(max(0, parameter.low), parameter.high + 1))
    if isinstance(parameter, Choice) and all(type(value) is int for value in parameter.values):
        return [int(value) for value in parameter.values]
    return []
