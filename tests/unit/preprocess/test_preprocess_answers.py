"""Every finding is answered by a key of the YAML, or says why none can."""

import ast
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
"""What `statistics._why` names the kind of a column that is left out; see its doctest."""


def calls() -> Iterator[tuple[str, ast.Call]]:
    """(kind, call) of every `Finding(kind="…")` and `_note("…")` in the step's sources."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            given: dict[str | None, ast.expr] = {keyword.arg: keyword.value for keyword in node.keywords}
            if node.func.id == "_note" and node.args:
                given["kind"] = node.args[0]
            if node.func.id in ("Finding", "_note") and isinstance(kind := given.get("kind"), ast.Constant):
                yield kind.value, node


def switches() -> Iterator[tuple[str, str]]:
    """(kind, switch) as written, a column named `age` and the number 7 for what is filled in."""
    for kind, call in calls():
        for keyword in call.keywords:
            if keyword.arg == "switch":
                yield from ((kind, text) for text in written(keyword.value) if text)


def written(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.IfExp):
        yield from written(node.body)
        yield from written(node.orelse)
    elif isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else filled(part) for part in node.values]
        yield "".join(map(str, parts))
    else:
        raise TypeError(f"a switch that this test cannot read: {ast.unparse(node)}")


def filled(part: ast.expr) -> str:
    return "age" if "yaml_name(" in ast.unparse(part) else "7"


def test_every_kind_has_its_row_and_every_row_its_kind() -> None:
    assert {kind for kind, _ in calls()} | DECIDED == set(ANSWERS)


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
