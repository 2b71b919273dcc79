"""Trains a model: whole epochs run inside one traced function, so tracing is paid once and Python hardly at all."""

import dataclasses
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nasflow.core.bootstrap import weighted as weighted_metric
from nasflow.core.errors import DivergedError, OutOfMemoryError, TrialFailedError
from nasflow.core.spec import Metric
from nasflow.data.tensors import OutputSpec, Tensors
from nasflow.models import checkpoint
from nasflow.models.backup import Backup
from nasflow.models.best_epoch import Best
from nasflow.models.checkpoint import Start
from nasflow.models.class_weights import weighted
from nasflow.models.hypermodels.held import held_by
from nasflow.models.ngram_features import counted
from nasflow.models.predict import predict
from nasflow.models.rows import Rows
from nasflow.models.runtime import PLAIN, Runtime
from nasflow.models.trainer import Trainer
from nasflow.spaces.architecture import Recipe

logger = logging.getLogger(__name__)

_EXPLODED = 100.0
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What a search asks of a training beyond the plain one."""

    batch: int | None = None
    """At most so many rows in a batch, whatever the recipe says: after one that did not fit into memory."""
    horizon: int | None = None
    """Epochs that the schedule spans, ≥ those trained; None: those."""
    patience: int | None = None
    """Stop after so many epochs without a better score; the weights of the best epoch are restored, also where the
    training got to its end. Needs validation rows."""
    start_path: str | None = None
    """A checkpoint (`nasflow.models.checkpoint`) to start from."""
    keep_path: str | None = None
    """Where the end of this training is kept."""
    runtime: Runtime = PLAIN
    """XLA, precision, steps in one call. Build the model inside of `runtime.policy`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """How a training went."""

    epochs: list[Epoch]
    """Those trained here: a continued training counts on from where it was."""
    start: Start
    """What became of `Extras.start_path`."""
    best: int | None
    """Number of the epoch whose weights were restored; None: the last one's stay."""


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
        backup_path: a local folder or ``gs://`` prefix. The state after each epoch is kept there (on ``gs://``: at most
            every 15 s), and a training with the same arguments goes on from it. The file stays: remove the folder when
            the result is safe. On resuming `on_epoch` sees the kept epochs once more: the process may have died before
            it was heard, and it may decide by all of them.
        on_epoch: called after each epoch (and its backup); False stops.

    Raises:
        DivergedError: a loss that is not finite, or grew to 100 times what knowing nothing costs.
        OutOfMemoryError: not enough memory on the device.
        TrialFailedError: no rows.
    """
    return fit_with(
        Extras(),
        model,
        recipe,
        train,
        output=output,
        epochs=epochs,
        seed=seed,
        validation=validation,
        metric=metric,
        backup_path=backup_path,
        on_epoch=on_epoch,
    ).epochs


def fit_with(
    extras: Extras,
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
) -> Fitted:
    """`fit` with all that a search asks for; the same arguments and errors."""
    if train.rows == 0 or epochs < 1:
        raise TrialFailedError(f"nothing to train on: {train.rows} rows, {epochs} epochs")
    metric = metric or ("rmse" if output.classes is None else "accuracy")
    if (held := held_by(model)) is not None:
        return held.fit(
            train,
            output=output,
            epochs=epochs,
            seed=seed,
            metric=metric,
            validation=validation,
            patience=extras.patience,
            on_epoch=on_epoch,
        )
    keras.utils.set_random_seed(seed)
    batch = min(recipe.batch_size, train.rows, max(_LEAST_BATCH, train.rows // _LEAST_STEPS), extras.batch or 1 << 30)
    steps = train.rows // batch
    output = weighted(output, recipe, train.labels)
    horizon = max(extras.horizon or epochs, epochs)
    trainer = Trainer(
        counted(model, train),
        recipe,
        output,
        batch=batch,
        steps=horizon * steps,
        runtime=extras.runtime,
        rows=train.rows,
    )
    data = Rows(train.only(model.input), recipe, output, batch, extras.runtime.steps_per_call)
    best = Best(metric, extras.patience)

    training: dict[str, Any] = {"rows": train.rows, "seed": seed, "weights": output.weights, "batch": batch}
    training.update(horizon=horizon, precision=extras.runtime.precision)
    training |= {} if train.weights is None else {"row_weights": hashlib.sha256(train.weights.tobytes()).hexdigest()}
    lasting = _fingerprint(trainer, recipe, **training)
    start, history, backup = Start(found="nothing"), list[Epoch](), None
    if backup_path is not None:
        training |= {"epochs": epochs, "metric": metric, "start": extras.start_path, "patience": extras.patience}
        backup = Backup(backup_path, _fingerprint(trainer, recipe, **training))
        kept, weights = backup.restore(trainer.variables)
        history = [Epoch(**epoch) for epoch in kept]
        best.replay(history, weights)
        if history:
            start = Start(found="continued", epochs=history[0].number - 1)
            logger.info("training goes on after epoch %d of %d", history[-1].number, epochs)
    if extras.start_path is not None and not history:
        start = checkpoint.load(extras.start_path, trainer, fingerprint=lasting)
        if start.epochs > epochs:
            raise TrialFailedError(f"the training to go on with has {start.epochs} epochs, more than {epochs}")
    done = history[-1].number if history else start.epochs
    verdicts = [True, *(on_epoch(epoch) for epoch in history if on_epoch is not None)]  # all but the last one: heard
    going = verdicts[-1] and not best.waited
    try:
        while going and done < epochs:
            started, done = time.monotonic(), done + 1
            loss = _train_epoch(trainer, data, np.random.default_rng([seed, done]), steps)
            _check_growth(loss, history, output)
            score, log_loss = _score(trainer, validation, output, metric, best.seer(done, trainer))
            history.append(
                Epoch(number=done, loss=loss, score=score, log_loss=log_loss, seconds=time.monotonic() - started)
            )
            if backup is not None:
                backup.save(trainer.variables, [dataclasses.asdict(epoch) for epoch in history], best.weights)
            going = (on_epoch is None or on_epoch(history[-1])) and not best.waited
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise OutOfMemoryError(f"out of memory on the device with batches of {batch} rows") from error
    if extras.keep_path is not None:
        checkpoint.save(extras.keep_path, trainer, fingerprint=lasting, epochs=done)
    if not best.restore(model):
        trainer.finish()
    return Fitted(epochs=history, start=start, best=best.number)


def _train_epoch(trainer: Trainer, data: Rows, rng: np.random.Generator, steps: int) -> float:
    total = 0.0
    for inputs, labels, weights in data.chunks(rng, steps * trainer.batch):
        total += trainer.run(inputs, labels, weights)
        if not math.isfinite(total):
            raise DivergedError(f"the training loss is {total}; a smaller learning rate may help")
    return total / steps


def _check_growth(loss: float, history: list[Epoch], output: OutputSpec) -> None:
    """Refuses a loss that keeps growing beyond 100 times what knowing nothing costs (ln classes; 1 for a standardised
    target): such a training does not come back within a trial's epochs, and its time is another trial's."""
    ignorance = 1.0 if output.classes is None else math.log(max(2, output.classes))
    if history and loss > _EXPLODED * ignorance and loss > history[-1].loss:
        raise DivergedError(
            f"the training loss grew from {history[0].loss:.4g} to {loss:.4g} in {len(history) + 1} epochs, where "
            f"knowing nothing costs {ignorance:.4g}; a smaller learning rate may help"
        )


def _score(
    trainer: Trainer,
    validation: Tensors | None,
    output: OutputSpec,
    metric: Metric,
    see: Callable[[float], None],
) -> tuple[float | None, float | None]:
    if validation is None or validation.rows == 0:
        return None, None
    with trainer.averaged():
        predictions = predict(trainer.model, validation, output)
        score = weighted_metric(metric, validation.labels, predictions, validation.weights)
        see(score)
    if output.classes is None:
        return score, None
    log_loss = weighted_metric("log_loss", validation.labels, predictions, validation.weights)
    return score, log_loss


def _fingerprint(trainer: Trainer, recipe: Recipe, **more: Any) -> str:
    """Of all that decides how a training goes."""
    shapes = [list(variable.shape) for variable in trainer.variables]
    about = [dataclasses.asdict(recipe), shapes, sorted(more.items())]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
