"""Every finding is answered by a key of the YAML, or says why none can."""

import ast
import builtins
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from nasflow import preprocess
from nasflow.core.spec import DataSection, OptimiseSection
from nasflow.preprocess.answers import ANSWERS
from nasflow.preprocess.findings import Finding

FILES = sorted(Path(inspect.getfile(preprocess)).parent.glob("*.py"))
DECIDED = {"constant", "ignored", "identifier"}
"""What `data_findings._why` names the kind of a column that is left out; see its doctest."""


def calls() -> Iterator[tuple[str, ast.Call, Path]]:
    """(kind, call, file) of every `Finding(kind="…")` and `_note("…")` in the step's sources."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            given: dict[str | None, ast.expr] = {keyword.arg: keyword.value for keyword in node.keywords}
            if node.func.id == "_note" and node.args:
                given["kind"] = node.args[0]
            if node.func.id in ("Finding", "_note") and isinstance(kind := given.get("kind"), ast.Constant):
                yield kind.value, node, path


def switches() -> Iterator[tuple[str, str]]:
    """(kind, switch) as each call would say it of a column named `age`, whatever is asked of that being 7."""
    for kind, call, path in calls():
        for keyword in call.keywords:
            if keyword.arg == "switch":
                module = importlib.import_module(f"nasflow.preprocess.{path.stem}")
                yield from ((kind, text) for text in said(keyword.value, vars(module)) if text)


def said(node: ast.expr, module: dict[str, Any]) -> Iterator[str]:
    """Both arms of a condition; else the expression's value where the module's names are as they are."""
    if isinstance(node, ast.IfExp):
        yield from said(node.body, module)
        yield from said(node.orelse, module)
        return
    value = eval(compile(ast.Expression(node), "switch", "eval"), module, Locals(module))
    assert isinstance(value, str), ast.unparse(node)
    yield value


class Locals(dict[str, Any]):
    """Every name that the module does not know is a column."""

    def __init__(self, module: dict[str, Any]) -> None:
        super().__init__()
        self.module = module

    def __missing__(self, name: str) -> "Column":
        if name in self.module or hasattr(builtins, name):
            raise KeyError(name)
        return Column("age")


class Column(str):
    """A name, and whatever else has one."""

    def __getattr__(self, name: str) -> "Column":
        return self

    def __call__(self, *_: object) -> int:
        return 7


def test_every_kind_has_its_row_and_every_row_its_kind() -> None:
    assert {kind for kind, *_ in calls()} | DECIDED == set(ANSWERS)


@pytest.mark.parametrize("kind", sorted(ANSWERS))
def test_a_kind_is_answered_by_a_key_that_exists_or_says_why_none_can(kind: str) -> None:
    answer = ANSWERS[kind]
    assert bool(answer.keys) != bool(answer.why_none)
    for key in answer.keys:
        section: Any = DataSection
        first, *names = key.split(".")
        assert first == "data"
        for name in names:
            assert issubclass(section, BaseModel)
            assert name in section.model_fields, f"{key}: {section.__name__} has no {name}"
            section = section.model_fields[name].annotation


def test_every_remedy_of_the_yaml_answers_something() -> None:
    keys = {key for answer in ANSWERS.values() for key in answer.keys}
    remedies = OptimiseSection.model_validate(
        {name: True for name, field in OptimiseSection.model_fields.items() if field.annotation is bool}
    ).remedies
    assert {f"data.optimise.{name}" for name in remedies} <= keys


@pytest.mark.parametrize(("kind", "switch"), sorted(set(switches())))
def test_a_switch_can_be_pasted_into_the_yaml(kind: str, switch: str) -> None:
    """`data.a.b: value` is what the YAML takes at that place."""
    key, _, value = switch.replace("…", "categorical").partition(":")
    assert key in ANSWERS[kind].keys
    content: Any = yaml.safe_load(value)
    for name in reversed(key.split(".")[1:]):
        content = {name: content}
    section = DataSection.model_validate({"train": "a.csv", "label": "y", **content})
    assert section != DataSection(train="a.csv", label="y")


def test_the_switches_are_found() -> None:
    """Each kind that has a key proposes it somewhere; `column` says it in its text."""
    assert {kind for kind, _ in switches()} == {kind for kind, answer in ANSWERS.items() if answer.keys} - {"column"}


def test_a_finding_without_an_answer_is_none() -> None:
    with pytest.raises(ValidationError, match=r"'odd' has no row in nasflow\.preprocess\.answers"):
        Finding(severity="note", kind="odd", text="x")
    with pytest.raises(ValidationError, match="is no answer to leak"):
        Finding(severity="note", kind="leak", text="x", switch="data.ignore: [a]")
