"""What a model that was built from a HyperModel carries, so that it can be trained."""

import dataclasses
from typing import TYPE_CHECKING, Any

import keras

from nasflow.models.hypermodels.wrapping import Wrapped

if TYPE_CHECKING:
    import keras_tuner

_HELD = "_nasflow_hypermodel"


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """The HyperModel, the values that it was built with, and what it built."""

    hypermodel: "keras_tuner.HyperModel"
    hp: "keras_tuner.HyperParameters"
    wrapped: Wrapped

    def fit(self, rows: Any, **options: Any) -> Any:
        """Trains it: `nasflow.models.hypermodels.fitting.fit_held`, which uses what `nasflow.models.fit` defines."""
        from nasflow.models.hypermodels.fitting import fit_held

        return fit_held(self, rows, **options)


def hold(model: keras.Model, held: Held) -> None:
    """Keeps it on the model: it lives as long as that does."""
    vars(model)[_HELD] = held


def held_by(model: Any) -> Held | None:
    """None for a model of nasflow's own layers."""
    found: Held | None = vars(model).get(_HELD)
    return found
