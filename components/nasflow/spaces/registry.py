"""Spaces by name, as the YAML's `search.space` gives them."""

import difflib
import importlib
from typing import Any

from nasflow.core.errors import SpecError
from nasflow.core.spec import Task
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces._base import Space
from nasflow.spaces.cnn import CnnSpace
from nasflow.spaces.mlp import MlpSpace

NAMES = ("auto", "cnn", "mlp")


def check_space(name: str, task: Task) -> None:
    """Refuses a name that no space has, or one that does not fit the task.

    Raises:
        SpecError: with the known names, the closest first.
    """
    images = task == "image_classification"
    if name == "cnn" and not images:
        raise SpecError([f"search.space: cnn needs images, got task {task}; use mlp or auto"])
    if name == "mlp" and images:
        raise SpecError([f"search.space: mlp needs a table, got task {task}; use cnn or auto"])
    if ":" in name or name in NAMES:
        return
    close = difflib.get_close_matches(name, NAMES, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise SpecError(
        [f"search.space: unknown space {name!r}; {hint}Known: {', '.join(NAMES)}, or package.module:factory"]
    )


def get_space(name: str, *, task: Task, inputs: InputSpec, output: OutputSpec) -> Space:
    """The space of that name: `auto` (by the task), `cnn`, `mlp` or ``package.module:factory``.

    A factory is called as ``factory(inputs=..., output=...)`` and returns a Space.

    Raises:
        SpecError: no such space, or it does not fit the task.
    """
    check_space(name, task)
    if name == "auto":
        name = "cnn" if task == "image_classification" else "mlp"
    if ":" in name:
        return _from_factory(name, inputs, output)
    return CnnSpace(inputs=inputs, output=output) if name == "cnn" else MlpSpace(inputs=inputs, output=output)


def _from_factory(name: str, inputs: InputSpec, output: OutputSpec) -> Space:
    module_name, _, attribute = name.partition(":")
    try:
        factory: Any = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SpecError([f"search.space: cannot import {name!r} ({error}); is its package on PYTHONPATH?"]) from error
    space = factory(inputs=inputs, output=output)
    if not isinstance(space, Space):
        raise SpecError([f"search.space: {name!r} returned {type(space).__name__}; it must return a nasflow Space"])
    return space
