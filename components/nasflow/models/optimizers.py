"""The optimiser of a recipe."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import keras

from nasflow.core.errors import TrialFailedError
from nasflow.models.schedule import Schedule
from nasflow.spaces.architecture import Recipe

_MAKERS: Mapping[str, Callable[[Any, float], keras.optimizers.Optimizer]] = MappingProxyType(
    {
        "adamw": lambda rate, decay: keras.optimizers.AdamW(rate, weight_decay=decay),
        "sgd": lambda rate, decay: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=decay),
        "adam": lambda rate, decay: keras.optimizers.Adam(rate, weight_decay=decay),
        "nadam": lambda rate, decay: keras.optimizers.Nadam(rate, weight_decay=decay),
        "rmsprop": lambda rate, decay: keras.optimizers.RMSprop(rate, weight_decay=decay),
        "lion": lambda rate, decay: keras.optimizers.Lion(rate, weight_decay=decay),
    }
)
NAMES = tuple(_MAKERS)


def make_optimizer(recipe: Recipe, steps: int, *, paced: bool = False) -> keras.optimizers.Optimizer:
    """With the recipe's schedule over `steps` or, `paced`, with a rate that the caller sets as it goes; weight decay is
    decoupled (Loshchilov & Hutter 2019) in all of them.

    Raises:
        TrialFailedError: no optimiser or schedule of that name.
    """
    maker = _MAKERS.get(recipe.optimizer)
    if maker is None:
        raise TrialFailedError(f"recipe.optimizer: unknown {recipe.optimizer!r}; use one of {', '.join(NAMES)}")
    schedule = Schedule(recipe.schedule, peak=recipe.learning_rate, steps=steps)
    rate = recipe.learning_rate if paced else schedule
    return maker(rate, recipe.weight_decay)
