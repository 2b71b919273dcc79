"""Spaces by name, as the YAML's `search.space` gives them."""

import dataclasses
import difflib
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from nasflow.core.errors import SpecError
from nasflow.core.spec import Task
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces._base import Space
from nasflow.spaces.cell import DARTS, NASBENCH201, CellSpace
from nasflow.spaces.cnn import CnnSpace
from nasflow.spaces.described import DescribedSpace, check_described
from nasflow.spaces.mlp import MlpSpace
from nasflow.spaces.multimodal import MultimodalSpace, kinds
from nasflow.spaces.sequence import SequenceSpace
from nasflow.spaces.text import TextSpace

Kind = Literal["images", "a table", "texts", "several kinds of input"]


Adapter = Callable[[str, Any, InputSpec, OutputSpec, Mapping[str, Any]], Space | None]
"""(name, what it names, inputs, output, settings) → a Space of it, or None where it is a factory of Spaces."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    make: Callable[..., Space]
    """Called with `inputs`, `output` and the space's settings."""
    takes: Kind


_SPACES: Mapping[str, _Entry] = MappingProxyType(
    {
        "cnn": _Entry(CnnSpace, "images"),
        "cell": _Entry(CellSpace, "images"),
        "nasbench201": _Entry(
            functools.partial(
                CellSpace, topology="dense", nodes=4, operations=NASBENCH201, stages=3, cells=5, width=16, recipe="none"
            ),
            "images",
        ),
        "darts": _Entry(
            functools.partial(
                CellSpace, topology="pairs", nodes=4, operations=DARTS, stages=3, cells=2, width=16, recipe="none"
            ),
            "images",
        ),
        "mlp": _Entry(MlpSpace, "a table"),
        "sequence": _Entry(SequenceSpace, "a table"),
        "text": _Entry(TextSpace, "texts"),
        "multimodal": _Entry(MultimodalSpace, "several kinds of input"),
    }
)
_HYPERMODELS: Mapping[str, str] = MappingProxyType({"pretrained": "nasflow.models.hypermodels.pretrained:Pretrained"})
"""HyperModels of ours, for images."""
NAMES = ("auto", *_SPACES, *_HYPERMODELS)


def check_space(name: str | Mapping[str, Any], task: Task, settings: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Refuses a name that no space has, one that does not fit the task, and settings that it does not have; and every
    mistake in a space that is written in YAML.

    Raises:
        SpecError: with the known names, the closest first.
    """
    if not isinstance(name, str):
        if settings:
            raise SpecError(["search.space_settings: a space in YAML has none; write them into it"])
        check_described(name)
        return
    name = _chosen(name, task)
    if ":" in name:
        return
    if name in _HYPERMODELS and task == "image_classification":
        if not settings.get("backbones"):
            example = "{MobileNetV2: weights.h5}"
            raise SpecError([f"search.space_settings.backbones: {name} needs them, such as {example}"])
        return
    if name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise SpecError(
            [f"search.space: unknown space {name!r}; {hint}Known: {', '.join(NAMES)}, or package.module:factory"]
        )
    takes: Kind = "images" if name in _HYPERMODELS else _SPACES[name].takes
    images = task == "image_classification"
    if (takes == "images") != images:
        fitting = [other for other, entry in _SPACES.items() if (entry.takes == "images") == images]
        raise SpecError([f"search.space: {name} needs {takes}, got task {task}; use {', '.join(fitting)} or auto"])
    _check_settings(name, settings)


def get_space(
    name: str | Mapping[str, Any],
    *,
    task: Task,
    inputs: InputSpec,
    output: OutputSpec,
    settings: Mapping[str, Any] = MappingProxyType({}),
    adapt: Adapter | None = None,
) -> Space:
    """The space of that name: `auto` (by what the data have), one of `NAMES`, or ``package.module:factory``; or the
    space that a mapping describes (`nasflow.spaces.described`).

    A factory is called as ``factory(inputs=..., output=..., **settings)`` and returns a Space. What is no such factory
    is given to `adapt`: this package knows no Keras Tuner.

    Raises:
        SpecError: no such space, it does not fit the task, or its settings describe none.
    """
    check_space(name, task, settings)
    if not isinstance(name, str):
        return DescribedSpace(name, inputs=inputs, output=output)
    name = _fitting(inputs) if name == "auto" else _HYPERMODELS.get(name, name)
    make = _imported(name) if ":" in name else _SPACES[name].make
    if adapt is not None and (adapted := adapt(name, make, inputs, output, settings)) is not None:
        return adapted
    try:
        space = make(inputs=inputs, output=output, **settings)
    except (TypeError, ValueError) as error:
        raise SpecError([f"search.space_settings: {name} cannot be made with {dict(settings)!r}: {error}"]) from error
    if not isinstance(space, Space):
        raise SpecError([f"search.space: {name!r} returned {type(space).__name__}; it must return a nasflow Space"])
    return space


def _chosen(name: str, task: Task) -> str:
    if name != "auto":
        return name
    return {"image_classification": "cnn", "text_classification": "text"}.get(task, "mlp")


def _fitting(inputs: InputSpec) -> str:
    has = kinds(inputs)
    if len(has) > 1:
        return "multimodal"
    return {"image": "cnn", "text": "text"}.get("".join(has), "mlp")


def _check_settings(name: str, settings: Mapping[str, Any]) -> None:
    known = [key for key in inspect.signature(_SPACES[name].make).parameters if key not in ("inputs", "output")]
    if unknown := [key for key in settings if key not in known]:
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise SpecError([f"search.space_settings.{unknown[0]}: {name} has no such setting; {has}"])


def _imported(name: str) -> Any:
    module_name, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SpecError([f"search.space: cannot import {name!r} ({error}); is its package on PYTHONPATH?"]) from error
