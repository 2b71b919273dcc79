"""A finding: what is wrong with the data, how badly, in numbers, and what to do about it."""

import json
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nasflow.preprocess.answers import ANSWERS

Severity = Literal["serious", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("serious", "warning", "note")


class Finding(BaseModel):
    """One thing that a person should know before trusting a model of the data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Severity
    """``serious``: the scores of a model will mislead; ``warning``: the model will be worse than it need be; ``note``:
    worth knowing."""
    kind: str
    """``duplicates``, ``leak``, ``drift``, …"""
    text: str
    """One sentence or two."""
    column: str | None = None
    numbers: dict[str, Any] = Field(default_factory=dict)
    """What the text says, for programs."""
    remedy: str = ""
    """What to do; empty where there is nothing to do."""
    switch: str = ""
    """The key of the YAML that does it, e.g. ``data.optimise.drop_duplicates: true``."""

    @model_validator(mode="after")
    def _is_answered(self) -> Self:
        if self.kind not in ANSWERS:
            raise ValueError(f"kind: {self.kind!r} has no row in nasflow.preprocess.answers; say what answers it")
        if self.switch and self.switch.partition(":")[0] not in ANSWERS[self.kind].keys:
            raise ValueError(f"switch: {self.switch!r} is no answer to {self.kind} in nasflow.preprocess.answers")
        return self


def weightiest_first(found: list[Finding]) -> list[Finding]:
    """By severity; equals keep their order."""
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def column_switch(name: str, setting: str) -> str:
    """A setting of one column, as the YAML has it.

    >>> column_switch("price", "impute: median")
    'data.columns: {price: {impute: median}}'
    """
    return f"data.columns: {{{yaml_name(name)}: {{{setting}}}}}"


def ignore_switch(name: str) -> str:
    """Leaves a column out.

    >>> ignore_switch("capital gain, yearly")
    'data.ignore: ["capital gain, yearly"]'
    """
    return f"data.ignore: [{yaml_name(name)}]"


def yaml_name(name: str) -> str:
    """A column's name as a YAML list has it: quoted unless it is read as itself.

    >>> yaml_name("age"), yaml_name("capital gain, yearly"), yaml_name("no")
    ('age', '"capital gain, yearly"', '"no"')
    """
    try:
        plain = yaml.safe_load(f"[{name}]") == [name]
    except yaml.YAMLError:
        plain = False
    return name if plain else json.dumps(name, ensure_ascii=False)
