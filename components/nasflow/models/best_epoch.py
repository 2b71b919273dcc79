"""The weights of the best epoch of a training, where there is patience for it to be beaten."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
from numpy.typing import NDArray

from nasflow.core import metrics
from nasflow.core.spec import Metric
from nasflow.models.trainer import Trainer

if TYPE_CHECKING:
    from nasflow.models.fit import Epoch


class Best:
    """The best epoch so far, where there is patience for it to be beaten; without, it does nothing."""

    def __init__(self, metric: Metric, patience: int | None) -> None:
        self._metric, self._patience = metric, patience
        self._score = math.nan
        self._last = 0
        self.number: int | None = None
        self.weights: list[NDArray[Any]] | None = None

    @property
    def waited(self) -> bool:
        """Whether the patience is over."""
        return self._patience is not None and self.number is not None and self._last - self.number >= self._patience

    def seer(self, number: int, trainer: Trainer) -> Callable[[float], None]:
        """Is told the epoch's score while the model has the weights that it was scored with."""

        def see(score: float) -> None:
            if self._note(number, score):
                self.weights = [variable.numpy() for variable in trainer.model.variables]

        return see

    def replay(self, history: "list[Epoch]", weights: list[NDArray[Any]] | None) -> None:
        """Brings it to where a backup is."""
        for epoch in history:
            if epoch.score is not None:
                self._note(epoch.number, epoch.score)
        self.weights = weights

    def restore(self, model: keras.Model) -> bool:
        """Whether there was anything to restore."""
        if self.weights is None:
            return False
        for variable, array in zip(model.variables, self.weights, strict=True):
            variable.assign(array)
        return True

    def _note(self, number: int, score: float) -> bool:
        if self._patience is None:
            return False
        self._last = number
        if not metrics.better(self._metric, score, self._score):
            return False
        self._score, self.number = score, number
        return True
