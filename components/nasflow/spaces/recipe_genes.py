"""Genes of the training recipe that `text` and `multimodal` search together with the network."""

from collections.abc import Mapping
from typing import Any

from nasflow.spaces.architecture import Recipe
from nasflow.spaces.parameters import Choice, Parameter, Real


def parameters(*, classification: bool) -> tuple[Parameter, ...]:
    """Learning rate, decay, batch, schedule, averaging; for classes label smoothing."""
    smoothing = (Choice(name="label_smoothing", values=(0.0, 0.05, 0.1)),) if classification else ()
    return (
        Real(name="learning_rate", low=3e-4, high=2e-2, log=True),
        Real(name="weight_decay", low=1e-3, high=0.5, log=True),
        Choice(name="batch_size", values=(32, 64, 128)),
        Choice(name="schedule", values=("cosine", "one_cycle", "constant")),
        Choice(name="ema", values=("off", "0.99", "0.998")),
        *smoothing,
    )


def recipe(values: Mapping[str, Any], *, flip: bool = False, shift: int = 0) -> Recipe:
    """What the values mean."""
    return Recipe(
        optimizer="adamw",
        learning_rate=values["learning_rate"],
        weight_decay=values["weight_decay"],
        schedule=values["schedule"],
        batch_size=values["batch_size"],
        label_smoothing=values.get("label_smoothing", 0.0),
        ema=None if values["ema"] == "off" else float(values["ema"]),
        flip=flip,
        shift=shift,
    )
