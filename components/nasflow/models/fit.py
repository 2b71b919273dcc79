"""Trains a model: whole epochs run inside one traced function, so tracing is paid once and Python hardly at all."""

import dataclasses
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from nasflow.core import metrics
from nasflow.core.errors import TrialFailedError
from nasflow.core.spec import Metric
from nasflow.data.tensors import OutputSpec, Tensors
from nasflow.models.augment import augment, augments
from nasflow.models.backup import Backup
from nasflow.models.class_weights import weighted
from nasflow.models.predict import predict
from nasflow.models.trainer import Trainer
from nasflow.spaces.architecture import Recipe

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 64 << 20
"""Rows are shuffled, augmented and handed over in pieces of about this size."""
_LEAST_BATCH = 16
_LEAST_STEPS = 10
"""On small data a batch shrinks until an epoch has this many steps: with fewer, 20 epochs are too few to learn in."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch that was trained whole."""

    number: int
    """From 1."""
    loss: float
    """Mean training loss of its steps."""
    score: float | None
    """The metric on the validation rows, in its own units and direction; None without validation rows."""
    log_loss: float | None
    """Validation log-loss; None for regression or without validation rows."""
    seconds: float
    """Wall time: training, scoring, backup not included."""


def fit(
    model: keras.Model,
    recipe: Recipe,
    train: Tensors,
    *,
    output: OutputSpec,
    epochs: int,
    seed: int,
    validation: Tensors | None = None,
    metric: Metric | None = None,
    backup_path: str | None = None,
    on_epoch: Callable[[Epoch], bool] | None = None,
) -> list[Epoch]:
    """Trains `model` in place and returns its epochs.

    The schedule spans all `epochs`, also where `on_epoch` ends the training earlier by returning False. The model is
    left with its last weights (their average with `recipe.ema`).

    Args:
        model: from `build`; built with the same seed for a repeatable result.
        recipe: optimiser, schedule, regularisation.
        train: what it learns from. Rows that do not fill the last batch are left out of the epoch, others each time.
            Fewer than 10 batches of rows make smaller batches, of 16 rows at least.
        output: as given to `build`.
        epochs: the most that are trained, ≥ 1.
        seed: of the order of rows and of augmentation; epoch by epoch, so that a resumed training sees the same.
        validation: scored after each epoch.
        metric: what `Epoch.score` is; left out, accuracy or rmse.
        backup_path: a local folder. The state after each epoch is kept there, and a training with the same arguments
            goes on from it. The file stays: remove the folder when the result is safe. On resuming `on_epoch` sees the
            last kept epoch once more: the process may have died before it was heard.
        on_epoch: called after each epoch (and its backup); False stops.

    Raises:
        TrialFailedError: no rows, a loss that is not finite, or not enough memory on the device.
    """
    if train.rows == 0 or epochs < 1:
        raise TrialFailedError(f"nothing to train on: {train.rows} rows, {epochs} epochs")
    keras.utils.set_random_seed(seed)
    batch = min(recipe.batch_size, train.rows, max(_LEAST_BATCH, train.rows // _LEAST_STEPS))
    steps = train.rows // batch
    metric = metric or ("rmse" if output.classes is None else "accuracy")
    output = weighted(output, recipe, train.labels)
    trainer = Trainer(model, recipe, output, batch=batch, steps=epochs * steps)
    data = _Rows(train.only(model.input), recipe, output, batch)

    history: list[Epoch] = []
    backup = None
    if backup_path is not None:
        about = _fingerprint(
            trainer,
            recipe=recipe,
            rows=train.rows,
            epochs=epochs,
            seed=seed,
            metric=metric,
            weights=output.weights,
        )
        backup = Backup(backup_path, about)
        history = [Epoch(**epoch) for epoch in backup.restore(trainer.variables)]
        if history:
            logger.info("training goes on after epoch %d of %d", history[-1].number, epochs)
    going = not (history and on_epoch is not None and not on_epoch(history[-1]))
    try:
        while going and len(history) < epochs:
            started = time.monotonic()
            number = len(history) + 1
            loss = _train_epoch(trainer, data, np.random.default_rng([seed, number]), steps)
            score, log_loss = _score(trainer, validation, output, metric)
            history.append(
                Epoch(number=number, loss=loss, score=score, log_loss=log_loss, seconds=time.monotonic() - started)
            )
            if backup is not None:
                backup.save(trainer.variables, [dataclasses.asdict(epoch) for epoch in history])
            going = on_epoch is None or on_epoch(history[-1])
    except tf.errors.ResourceExhaustedError as error:
        raise TrialFailedError(f"out of memory on the device with batches of {batch} rows") from error
    trainer.finish()
    return history


class _Rows:
    """The training rows, shuffled and augmented anew each epoch."""

    def __init__(self, train: Tensors, recipe: Recipe, output: OutputSpec, batch: int) -> None:
        self._inputs: Mapping[str, NDArray[Any]] = train.inputs
        self._recipe = recipe
        labels: NDArray[Any] = train.labels
        self._labels = (
            labels.astype(np.int32)
            if output.classes is not None
            else ((labels - output.mean) / output.std).astype(np.float32)
        )
        row = sum(values.itemsize * math.prod(values.shape[1:]) for values in self._inputs.values())
        self._chunk = batch * max(1, _CHUNK_BYTES // max(1, row * batch))
        image = self._inputs.get("image")
        if image is not None and augments(recipe):
            self._fill = np.round(image.mean(axis=(0, 1, 2))).astype(np.uint8)

    def chunks(self, rng: np.random.Generator, rows: int) -> Any:
        """Yields (inputs, labels) with whole batches, `rows` rows in all."""
        order = rng.permutation(len(self._labels))[:rows]
        for start in range(0, rows, self._chunk):
            picked = order[start : start + self._chunk]
            inputs = {name: values[picked] for name, values in self._inputs.items()}
            if "image" in inputs and augments(self._recipe):
                inputs["image"] = augment(inputs["image"], self._recipe, self._fill, rng)
            yield inputs, self._labels[picked]


def _train_epoch(trainer: Trainer, data: _Rows, rng: np.random.Generator, steps: int) -> float:
    total = 0.0
    for inputs, labels in data.chunks(rng, steps * trainer.batch):
        total += trainer.run(inputs, labels)
        if not math.isfinite(total):
            raise TrialFailedError(f"the training loss is {total}; a smaller learning rate may help")
    return total / steps


def _score(
    trainer: Trainer, validation: Tensors | None, output: OutputSpec, metric: Metric
) -> tuple[float | None, float | None]:
    if validation is None or validation.rows == 0:
        return None, None
    with trainer.averaged():
        predictions = predict(trainer.model, validation, output)
    score = metrics.compute(metric, validation.labels, predictions)
    log_loss = None if output.classes is None else metrics.compute("log_loss", validation.labels, predictions)
    return score, log_loss


def _fingerprint(
    trainer: Trainer,
    *,
    recipe: Recipe,
    rows: int,
    epochs: int,
    seed: int,
    metric: Metric,
    weights: tuple[float, ...],
) -> str:
    shapes = [list(variable.shape) for variable in trainer.variables]
    about = [dataclasses.asdict(recipe), shapes, rows, epochs, seed, metric, weights]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
