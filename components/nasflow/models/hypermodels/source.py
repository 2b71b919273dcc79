"""A HyperModel by its dotted path, and the digest of its code."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras_tuner

from nasflow.core.errors import SpecError
from nasflow.core.storage import sha256
from nasflow.spaces.architecture import ArchitectureError


class _Function(keras_tuner.HyperModel):
    """A function ``build(hp)``."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        super().__init__(name=function.__name__)

    def build(self, hp: Any) -> Any:
        return self._function(hp)


def is_hypermodel(found: Any) -> bool:
    """Whether it is a HyperModel, a class of them, or a function of one argument: Keras Tuner takes all three."""
    if isinstance(found, keras_tuner.HyperModel):
        return True
    if inspect.isclass(found):
        return issubclass(found, keras_tuner.HyperModel)
    return inspect.isfunction(found) and len(inspect.signature(found).parameters) == 1


def load(path: str, arguments: Mapping[str, Any]) -> keras_tuner.HyperModel:
    """The HyperModel at ``package.module:attribute``; `arguments` are a class's.

    Raises:
        SpecError: it cannot be imported or made.
    """
    module, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SpecError([f"search.space: cannot import {path!r} ({error}); is its package on PYTHONPATH?"]) from error
    try:
        if inspect.isclass(found):
            return found(**arguments)
    except Exception as error:
        raise SpecError(
            [f"search.space_settings: {path} cannot be made with {dict(arguments)!r}: {type(error).__name__}: {error}"]
        ) from error
    if arguments:
        raise SpecError([f"search.space_settings: {path} is no class and takes none, got {dict(arguments)!r}"])
    return found if isinstance(found, keras_tuner.HyperModel) else _Function(found)


def digest(path: str) -> str:
    """sha256 of the file that the HyperModel is defined in."""
    file = inspect.getsourcefile(importlib.import_module(path.partition(":")[0]))
    return sha256(Path(file).read_bytes()) if file is not None else ""


def build_with(
    hypermodel: keras_tuner.HyperModel, values: Mapping[str, Any], path: str
) -> tuple[Any, keras_tuner.HyperParameters]:
    """(the model, the HyperParameters as its `build` left them: its space has what the model looked at).

    Raises:
        ArchitectureError: `build` failed, or made no Keras model.
    """
    import keras

    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    try:
        model = hypermodel.build(hp)
    except Exception as error:
        raise ArchitectureError(
            f"{path}: build(hp) failed with {type(error).__name__}: {error}; values {dict(values)!r}"
        ) from error
    if not isinstance(model, keras.Model):
        raise ArchitectureError(f"{path}: build(hp) returned {type(model).__name__}, it must return a Keras model")
    return model, hp
