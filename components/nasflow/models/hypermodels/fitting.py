"""A training of a user's model as nasflow's engine wants it: its epochs with their scores, patience, seeds."""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from numpy.typing import NDArray

from nasflow.core import metrics
from nasflow.core.bootstrap import weighted
from nasflow.core.errors import OutOfMemoryError
from nasflow.core.spec import Metric
from nasflow.data.tensors import OutputSpec, Tensors
from nasflow.models.checkpoint import Start
from nasflow.models.fit import Epoch, Fitted
from nasflow.models.hypermodels.held import Held
from nasflow.models.hypermodels.training import Report, train
from nasflow.models.predict import predict


def fit_held(
    held: Held,
    rows: Tensors,
    *,
    output: OutputSpec,
    epochs: int,
    seed: int,
    validation: Tensors | None,
    metric: Metric,
    patience: int | None,
    on_epoch: Callable[[Epoch], bool] | None,
) -> Fitted:
    """Trains by the HyperModel's `fit`, from scratch: a training that was killed starts again.

    A `fit` that calls no callbacks has a single epoch, scored at its end.

    Raises:
        OutOfMemoryError: not enough memory on the device.
        TrialFailedError: `fit` failed, or the loss is no finite number.
    """
    keras.utils.set_random_seed(seed)
    course = _Course(held, output, validation, metric=metric, patience=patience, on_epoch=on_epoch)
    try:
        train(
            held.hypermodel,
            held.hp,
            held.wrapped,
            rows,
            validation,
            output=output,
            epochs=epochs,
            callbacks=[Report(held.wrapped, course.ended)],
        )
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise OutOfMemoryError("out of memory on the device with the batches of the HyperModel") from error
    if not course.epochs:
        course.ended(1, None, 0.0)
    return Fitted(epochs=course.epochs, start=Start(found="nothing"), best=course.restored())


class _Course:
    """The epochs so far, and the best weights where there is patience."""

    def __init__(
        self,
        held: Held,
        output: OutputSpec,
        validation: Tensors | None,
        *,
        metric: Metric,
        patience: int | None,
        on_epoch: Callable[[Epoch], bool] | None,
    ) -> None:
        self._model, self._output, self._validation = held.wrapped.model, output, validation
        self._metric, self._patience, self._on_epoch = metric, patience, on_epoch
        self._best: tuple[int, float, list[NDArray[Any]]] | None = None
        self.epochs: list[Epoch] = []

    def ended(self, number: int, loss: float | None, seconds: float) -> bool:
        """Scores an epoch; whether to go on."""
        score = log_loss = None
        if self._validation is not None and self._validation.rows:
            labels, weights = self._validation.labels, self._validation.weights
            predictions = predict(self._model, self._validation, self._output)
            score = weighted(self._metric, labels, predictions, weights)
            log_loss = None if self._output.classes is None else weighted("log_loss", labels, predictions, weights)
        known = math.nan if loss is None else float(loss)
        self.epochs.append(Epoch(number=number, loss=known, score=score, log_loss=log_loss, seconds=seconds))
        if self._patience is not None and score is not None:
            before = math.nan if self._best is None else self._best[1]
            if metrics.better(self._metric, score, before):
                self._best = (number, score, self._model.get_weights())
        going = self._on_epoch is None or self._on_epoch(self.epochs[-1])
        waited = self._best is not None and self._patience is not None and number - self._best[0] >= self._patience
        return going and not waited

    def restored(self) -> int | None:
        """Puts the best weights back; their epoch."""
        if self._best is None:
            return None
        self._model.set_weights(self._best[2])
        return self._best[0]
