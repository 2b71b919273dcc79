"""The layers of a space that is written in YAML: checked once, then drawn for each point.

- input: image                       a tensor of the data; a path begins with it
- conv: {filters: $width, kernel: 3} an operation of `nasflow.spaces.operations`; what is left out has its default
- dense: $width * 2                  the setting that counts most, alone; $name is a parameter's value, times or by
                                     a whole number where it says so
- repeat: $depth                     the layers below, so many times
  layers: [ … ]
- when: {norm: batch}                the layers below, where the parameter has this value, or one of these
  layers: [ … ]
- choose: $op                        the layers that the parameter's value names
  cases: {conv: [ … ], pool: [ … ]}
- branches: [[ … ], [ … ]]           side by side from the same input, joined by `merge: add` (default), `concat`
  merge: add                         or `multiply`; an empty one is the input itself
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from nasflow.spaces.architecture import ArchitectureError
from nasflow.spaces.graph import Graph
from nasflow.spaces.operations import OPERATIONS

Values = Mapping[str, Any]

_BLOCKS: Mapping[str, str] = {"repeat": "layers", "when": "layers", "choose": "cases", "branches": "merge"}
"""Entries that hold others, and the key that goes with them."""
_MERGES = ("add", "concat", "multiply")
_NOT_WRITTEN = frozenset({"output", "logits", "hypermodel", *_MERGES})
_MAIN: Mapping[str, str] = {
    "input": "tensor",
    "conv": "filters",
    "separable_conv": "filters",
    "depthwise_conv": "kernel",
    "max_pool": "size",
    "avg_pool": "size",
    "dense": "units",
    "dropout": "rate",
    "activation": "function",
    "group_norm": "groups",
    "squeeze_excite": "ratio",
    "embedding": "dim",
}
"""By operation, the setting that can be written alone."""
_CONV: Mapping[str, Any] = {"kernel": 3, "stride": 1, "bias": True}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "conv": _CONV,
    "separable_conv": _CONV,
    "depthwise_conv": _CONV,
    "dense": {"bias": True},
    "max_pool": {"size": 2},
    "avg_pool": {"size": 2},
    "squeeze_excite": {"ratio": 4},
    "activation": {"function": "relu"},
    "group_norm": {"groups": 4},
}
_REFERENCE = re.compile(r"\$(?P<name>[A-Za-z_]\w*)(?:\s*(?P<sign>[*/])\s*(?P<number>\d+))?")


def problems(layers: Any, names: Collection[str], place: str = "search.space.layers") -> list[str]:
    """What is wrong, each ``place: what, value, fix``; `names`: of the parameters."""
    if not isinstance(layers, list):
        return [f"{place}: must be a list of layers, got {layers!r}"]
    found: list[str] = []
    for number, entry in enumerate(layers):
        here = f"{place}.{number}"
        if not isinstance(entry, Mapping) or not entry:
            found.append(f"{here}: must be a layer such as `dense: 64`, got {entry!r}; write `{entry}: {{}}`")
            continue
        block = next((key for key in entry if key in _BLOCKS), None)
        found += _of_block(block, entry, names, here) if block is not None else _of_layer(entry, names, here)
    return found


def _of_block(block: str, entry: Mapping[str, Any], names: Collection[str], here: str) -> list[str]:
    goes_with, value = _BLOCKS[block], entry[block]
    found = [f"{here}.{key}: unknown beside {block}" for key in entry if key not in (block, goes_with)]
    if block == "branches":
        if entry.get("merge", "add") not in _MERGES:
            found.append(f"{here}.merge: must be one of {', '.join(_MERGES)}, got {entry['merge']!r}")
        if not isinstance(value, list) or len(value) < 2:
            return [*found, f"{here}.branches: must be two or more lists of layers, got {value!r}"]
        return [*found, *(p for n, part in enumerate(value) for p in problems(part, names, f"{here}.branches.{n}"))]
    if block == "when":
        if not isinstance(value, Mapping) or len(value) != 1:
            found.append(f"{here}.when: must name one parameter and its values, such as {{norm: batch}}, got {value!r}")
        elif (parent := next(iter(value))) not in names:
            found.append(f"{here}.when: unknown parameter {parent!r}; known: {', '.join(sorted(names))}")
    else:
        found += _of_reference(value, names, f"{here}.{block}")
    if block == "choose":
        cases = entry.get("cases")
        if not isinstance(cases, Mapping) or not cases:
            return [*found, f"{here}.cases: must have a list of layers for each value, got {cases!r}"]
        return [*found, *(p for name, part in cases.items() for p in problems(part, names, f"{here}.cases.{name}"))]
    return [*found, *problems(entry.get("layers"), names, f"{here}.layers")]


def _of_layer(entry: Mapping[str, Any], names: Collection[str], here: str) -> list[str]:
    if len(entry) != 1:
        return [f"{here}: one layer an entry, got {', '.join(map(str, entry))}; begin each with its own `-`"]
    ((op, settings),) = entry.items()
    if op not in OPERATIONS or op in _NOT_WRITTEN:
        known = sorted([*(set(OPERATIONS) - _NOT_WRITTEN), *_BLOCKS])
        return [f"{here}: unknown layer {op!r}; known: {', '.join(known)}"]
    if settings is not None and not isinstance(settings, Mapping):
        if op not in _MAIN:
            return [f"{here}.{op}: takes its settings as `name: value`, got {settings!r}"]
        return _of_reference(settings, names, f"{here}.{op}")
    return [p for name, value in (settings or {}).items() for p in _of_reference(value, names, f"{here}.{op}.{name}")]


def _of_reference(value: Any, names: Collection[str], here: str) -> list[str]:
    if not isinstance(value, str) or not value.startswith("$"):
        return []
    match = _REFERENCE.fullmatch(value.strip())
    if match is None:
        return [f"{here}: cannot read {value!r}; write $name, $name * 2 or $name / 2"]
    if match["name"] not in names:
        return [f"{here}: unknown parameter {match['name']!r}; known: {', '.join(sorted(names))}"]
    return []


def resolve(value: Any, values: Values) -> Any:
    """A reference's value; anything else is itself.

    >>> resolve("$width * 2", {"width": 8}), resolve("$width / 3", {"width": 8}), resolve("same", {})
    (16, 3, 'same')

    Raises:
        ArchitectureError: the parameter does not count at this point: it needs the same condition.
    """
    match = _REFERENCE.fullmatch(value.strip()) if isinstance(value, str) and value.startswith("$") else None
    if match is None:
        return value
    if match["name"] not in values:
        raise ArchitectureError(f"${match['name']} has no value here: guard it by the condition of the parameter")
    found = values[match["name"]]
    if match["sign"] is None:
        return found
    factor = int(match["number"])
    scaled = found * factor if match["sign"] == "*" else found / max(1, factor)
    return max(1, round(scaled)) if isinstance(found, int) else scaled


def draw(
    graph: Graph, layers: Sequence[Mapping[str, Any]], x: str | None, values: Values, each: Mapping[str, str]
) -> Any:
    """Adds the layers behind `x`; returns the last one. `each`: see `described_parameters.Declared`.

    Raises:
        ArchitectureError: a layer without anything before it, or a parameter that does not count.
    """
    for entry in layers:
        if "repeat" in entry:
            for place in range(1, int(resolve(entry["repeat"], values)) + 1):
                x = draw(graph, entry["layers"], x, _repetition(entry["repeat"], place, values, each), each)
        elif "when" in entry:
            ((parent, wanted),) = entry["when"].items()
            if values.get(parent) in _words(wanted if isinstance(wanted, list) else [wanted]):
                x = draw(graph, entry["layers"], x, values, each)
        elif "choose" in entry:
            chosen = resolve(entry["choose"], values)
            cases = {_words([name])[0]: part for name, part in entry["cases"].items()}
            if chosen not in cases:
                raise ArchitectureError(f"choose: {entry['choose']} is {chosen!r}, which has no case")
            x = draw(graph, cases[chosen], x, values, each)
        elif "branches" in entry:
            x = _joined(graph, entry, x, values, each)
        else:
            x = _layer(graph, entry, x, values)
    return x


def _joined(graph: Graph, entry: Mapping[str, Any], x: str | None, values: Values, each: Mapping[str, str]) -> str:
    ends = [draw(graph, branch, x, values, each) for branch in entry["branches"]]
    if any(end is None for end in ends):
        raise ArchitectureError("branches: one has nothing before it; begin it with `input`")
    return graph.add(entry.get("merge", "add"), *ends)


def _layer(graph: Graph, entry: Mapping[str, Any], x: str | None, values: Values) -> str:
    ((op, given),) = entry.items()
    settings = {} if given is None else dict(given) if isinstance(given, Mapping) else {_MAIN[op]: given}
    settings = {name: resolve(value, values) for name, value in {**_DEFAULTS.get(op, {}), **settings}.items()}
    if op == "input":
        return graph.add("input", **settings)
    if x is None:
        raise ArchitectureError(f"{op} has nothing before it; begin with `input: image`")
    return graph.add(op, x, **settings)


def _repetition(count: Any, place: int, values: Values, each: Mapping[str, str]) -> Values:
    """Inside a repetition a parameter of `each` is the one of its place."""
    counter = str(count).removeprefix("$")
    own = {
        name: values[f"{name}_{place}"] for name, of in each.items() if of == counter and f"{name}_{place}" in values
    }
    return {**values, **own}


def _words(values: Sequence[Any]) -> list[Any]:
    """YAML reads `on` and `off` as booleans."""
    return [{True: "on", False: "off"}[value] if isinstance(value, bool) else value for value in values]
