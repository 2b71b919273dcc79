"""Reads the YAML into an ExperimentSpec, or says every mistake at once, each with its line."""

import difflib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from pydantic import BaseModel, ValidationError

from nasflow.core.errors import SpecError
from nasflow.core.spec import ExperimentSpec

_Location: TypeAlias = tuple[str | int, ...]


def load(path: str | Path, overrides: Sequence[str] = ()) -> ExperimentSpec:
    """Reads a spec file; `overrides` are ``key.path=value`` with YAML values.

    Raises:
        SpecError: the file is missing, is not YAML, or breaks the schema; all mistakes, each with file and line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpecError([f"{path}: no such file; `nasflow init` writes one"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError([f"{path}: cannot be read: {error}"]) from error
    return parse(text, source=str(path), overrides=overrides, folder=Path(path).parent)


def parse(text: str, *, source: str = "spec", overrides: Sequence[str] = (), folder: Path = Path()) -> ExperimentSpec:
    """As `load`, from text. `folder`: what the path of a space's file is relative to; the file's content takes its
    place, so that pipelines carry it along.

    Raises:
        SpecError: see `load`.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{source}:{mark.line + 1}" if mark else source
        raise SpecError([f"{place}: not YAML: {getattr(error, 'problem', None) or error}"]) from error
    if not isinstance(content, dict):
        raise SpecError([f"{source}: expected a mapping of keys, got {content!r:.60}; `nasflow init` writes one"])
    problems = [f"{source}:{line}: {key}: given twice; keep one" for key, line in _duplicates(node, ())]
    for override in overrides:
        problems.extend(_apply(content, override))
    problems += _read_space(content, folder)
    if problems:
        raise SpecError(problems)
    try:
        return ExperimentSpec.model_validate(content)
    except ValidationError as error:
        lines = dict(_lines(node, ()))
        problems = [_describe(details, lines, source, content) for details in _of_one_form(error.errors())]
        raise SpecError(list(dict.fromkeys(problems))) from error


def from_json(text: str) -> ExperimentSpec:
    """The spec as pipelines carry it.

    Raises:
        SpecError: see `load`.
    """
    return parse(text, source="spec parameter")


def located(problem: str, path: str | Path) -> str:
    """A problem that begins with its key (``data.train: …``), with the file and line where that key, or the nearest
    above it, stands; in the file of a space for what is in there."""
    keys: _Location = tuple(int(part) if part.isdigit() else part for part in problem.partition(":")[0].split("."))
    text = Path(path).read_text(encoding="utf-8")
    space = _space_file(yaml.safe_load(text), Path(path).parent)
    if space is not None and keys[:2] == ("search", "space") and len(keys) > 2:
        path, text, keys = space, space.read_text(encoding="utf-8"), keys[2:]
    lines = dict(_lines(yaml.compose(text, Loader=yaml.SafeLoader), ()))
    line = next((lines[keys[:count]] for count in range(len(keys), 0, -1) if keys[:count] in lines), None)
    return f"{path}:{line}: {problem}" if line else problem


def _space_file(content: Any, folder: Path) -> Path | None:
    """The file that `search.space` names, if it names one."""
    search = content.get("search") if isinstance(content, dict) else None
    space = search.get("space") if isinstance(search, dict) else None
    return folder / space if isinstance(space, str) and space.endswith((".yaml", ".yml")) else None


def _read_space(content: dict[str, Any], folder: Path) -> list[str]:
    path = _space_file(content, folder)
    if path is None:
        return []
    try:
        space = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [f"search.space: {path}: no such file; paths are relative to the experiment's file"]
    except (OSError, UnicodeDecodeError) as error:
        return [f"search.space: {path}: cannot be read: {error}"]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return [f"{path}:{mark.line + 1 if mark else 1}: not YAML: {getattr(error, 'problem', None) or error}"]
    if not isinstance(space, dict):
        return [f"search.space: {path}: must be a mapping with parameters and layers, got {space!r:.60}"]
    content["search"]["space"] = space
    return []


def to_json(spec: ExperimentSpec) -> str:
    """The spec as pipelines carry it: canonical, defaults included."""
    return json.dumps(spec.model_dump(mode="json", by_alias=True), sort_keys=True)


def _apply(content: dict[str, Any], override: str) -> list[str]:
    key, equals, value = override.partition("=")
    if not equals or not key:
        return [f"--set {override!r}: expected key.path=value"]
    *parents, last = key.split(".")
    target = content
    for part in parents:
        child = target.get(part)
        if child is None:
            child = target[part] = {}
        if not isinstance(child, dict):
            return [f"--set {override!r}: {part} is {child!r}, not a section"]
        target = child
    try:
        target[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        return [f"--set {override!r}: the value is not YAML: {error}"]
    return []


def _of_one_form(errors: Sequence[Any]) -> list[dict[str, Any]]:
    """Where a key takes a name or a list (`objective`), only what the form that was written says of it; locations as
    the user knows them: pydantic adds the name of the form that it tried, which no YAML has."""
    forms: list[dict[str, Any]] = [{**details, "loc": _known_to_users(tuple(details["loc"]))} for details in errors]
    told = [form["loc"] for form in forms if form["type"] not in _OF_FORM]
    found = [
        form
        for form in forms
        if form["type"] not in _OF_FORM or not any(known[: len(form["loc"])] == form["loc"] for known in told)
    ]
    lists = {form["loc"] for form in found if form["type"] == "too_short"}
    return [form for form in found if form["type"] != "string_type" or form["loc"] not in lists]


def _known_to_users(location: _Location) -> _Location:
    if location[:2] == ("search", "space"):
        return location[:2]
    if location[:1] == ("objective",):
        return tuple(part for part in location if isinstance(part, int) or part == "objective")
    return location


_WRONG_FORM = {"tuple_type": "a list", "dict_type": "keys of its own", "model_type": "keys of its own"}
"""pydantic's name of the mistake: what was expected."""
_OF_FORM = (*_WRONG_FORM, "string_type", "too_short")
"""What is said of a value, or follows from it, where another form of it was meant."""


def _describe(details: Mapping[str, Any], lines: Mapping[_Location, int], source: str, content: Any) -> str:
    location: _Location = tuple(details["loc"])
    key = ".".join(str(part) for part in location) or "spec"
    line = next((lines[location[:n]] for n in range(len(location), -1, -1) if location[:n] in lines), None)
    place = f"{source}:{line}" if line else source
    value = details.get("input")
    match details["type"]:
        case "extra_forbidden":
            return f"{place}: {key}: unknown key{_suggestion(location)}"
        case "missing":
            return f"{place}: {key}: required, but missing; add it"
        case "value_error":
            return f"{place}: {key}: {details['ctx']['error']}"
    if expected := _WRONG_FORM.get(details["type"]):
        known = _known_keys(location)
        keys = f" ({', '.join(known)})" if known and details["type"] == "model_type" else ""
        return f"{place}: {key}: should be {expected}{keys}, got {value!r:.80}"
    if details["type"] == "string_pattern_mismatch":
        return f"{place}: {key}: {value!r:.80} cannot be one: {_meaning(location) or 'leave it out'}"
    message = details["msg"].removeprefix("Input ").replace("Tuple should", "should").partition(" after validation")[0]
    return f"{place}: {key}: {message}, got {value!r:.80}"


def _known_keys(location: _Location) -> list[str] | None:
    """Of the section at a place; None where there is none."""
    model: type[BaseModel] | None = ExperimentSpec
    for part in location:
        model = _section(model, str(part)) if model else None
    return None if model is None else [field.alias or name for name, field in model.model_fields.items()]


def _meaning(location: _Location) -> str:
    """The description of a key: nobody should have to read a regular expression."""
    model: type[BaseModel] | None = ExperimentSpec
    for part in location[:-1]:
        model = _section(model, str(part)) if model else None
    field = None if model is None else model.model_fields.get(str(location[-1]))
    return " ".join((field.description or "").split()) if field else ""


def _suggestion(location: _Location) -> str:
    known = _known_keys(location[:-1])
    if known is None:
        return "; remove it"
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(sorted(known))}"


def _section(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    for name, field in model.model_fields.items():
        if key in (name, field.alias):
            annotation = field.annotation
            options = typing.get_args(annotation) if typing.get_origin(annotation) in _UNIONS else (annotation,)
            return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
    return None


_UNIONS = (typing.Union, types.UnionType)


def _lines(node: yaml.Node | None, at: _Location) -> list[tuple[_Location, int]]:
    found: list[tuple[_Location, int]] = []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, key.value)
            found += [(here, key.start_mark.line + 1), *_lines(value, here)]
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            found += [((*at, index), value.start_mark.line + 1), *_lines(value, (*at, index))]
    return found


def _duplicates(node: yaml.Node | None, at: _Location) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    seen: set[str] = set()
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, key.value)
            if key.value in seen:
                found.append((".".join(map(str, here)), key.start_mark.line + 1))
            seen.add(key.value)
            found += _duplicates(value, here)
    return found
