"""Trains a supernet: its weights on one half of the training rows, its softmaxes on the other.

Liu et al. 2019, "DARTS", §2.3. First order: the softmaxes' gradient takes the weights as they are. Second order
(`Bilevel.unroll`): as they would be after one more step of gradient descent.
"""

import dataclasses
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from nasflow.core.errors import DivergedError, OutOfMemoryError, TrialFailedError
from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.models.backup import Backup
from nasflow.models.class_weights import weighted
from nasflow.models.rows import Rows
from nasflow.models.schedule import Schedule
from nasflow.models.supernet import Alphas, build_supernet
from nasflow.models.trainer import Trainer
from nasflow.spaces.architecture import Architecture
from nasflow.spaces.relaxed import Bilevel

logger = logging.getLogger(__name__)

_LEAST_BATCH = 16
_LEAST_STEPS = 10
_BETAS = (0.5, 0.999)
"""Of the softmaxes' Adam: DARTS, appendix A.1.1."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SupernetEpoch:
    """One epoch over half of the rows."""

    number: int
    """From 1."""
    loss: float
    """Mean loss of the weights' steps."""
    judged: float | None
    """Mean loss on the softmaxes' half, before each of their steps; None in the warm-up."""
    progress: float
    """Share of the training that is behind it."""
    seconds: float
    probabilities: dict[str, list[float]]
    """By softmax, after the epoch."""


def halves(rows: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows of the weights, rows of the softmaxes), in order: two random halves, the same for the same seed; of an odd
    number one row is in neither.

    >>> [half.tolist() for half in halves(5, 0)]
    [[0, 3], [1, 4]]
    """
    order, half = np.random.default_rng([seed, rows]).permutation(rows), rows // 2
    return np.sort(order[:half]), np.sort(order[half : 2 * half])


def train_supernet(
    network: Architecture,
    choices: Mapping[str, Sequence[str]],
    bilevel: Bilevel,
    train: Tensors,
    *,
    inputs: InputSpec,
    output: OutputSpec,
    seed: int,
    seconds: float | None = None,
    batch: int | None = None,
    backup_path: str | None = None,
    on_epoch: Callable[[SupernetEpoch], bool] | None = None,
) -> list[SupernetEpoch]:
    """Trains the supernet and returns its epochs; what was learned are the last one's probabilities.

    An epoch is a step of the softmaxes and one of the weights for each batch of a half. The learning rate follows the
    schedule of the network's recipe, epoch by epoch, as the auxiliary skips and the dropout follow their line to 0: all
    by the share of the training that is over, of `bilevel.epochs` or of `seconds`, whichever is larger.

    Args:
        network: with `nasflow.spaces.relaxed.MIXED` nodes. Its recipe is how the weights are trained.
        choices: its softmaxes.
        bilevel: see there.
        train: the training split; nothing else is looked at.
        inputs: as of `nasflow.models.build`.
        output: the same.
        seed: of the halves, the first weights, the order of rows.
        seconds: wall time of all attempts after which the last epoch ends, about; None: all epochs are trained, and the
            result is a function of the arguments.
        batch: at most so many rows, whatever the recipe says.
        backup_path: a local folder; see `nasflow.models.fit.fit`.
        on_epoch: called after each epoch; False stops. On resuming it sees the kept epochs once more.

    Raises:
        DivergedError: a loss that is not finite.
        OutOfMemoryError: not enough memory on the device.
        TrialFailedError: fewer than two rows.
    """
    if train.rows < 2:
        raise TrialFailedError(f"two halves need two training rows, got {train.rows}")
    recipe = dataclasses.replace(network.recipe, ema=None, mixup=0.0)
    parts = [train.take(half) for half in halves(train.rows, seed)]
    rows = parts[0].rows
    batch = min(recipe.batch_size, rows, max(_LEAST_BATCH, rows // _LEAST_STEPS), batch or 1 << 30)
    steps = rows // batch
    model, alphas = build_supernet(network, choices, inputs, output, seed=seed)
    keras.utils.set_random_seed(seed)
    trainer = _Trainer(model, alphas, recipe, weighted(output, recipe, train.labels), bilevel, batch=batch)
    data = [Rows(part.only(model.input), recipe, output, batch, None) for part in parts]
    pace = Pace(bilevel, seconds, recipe.schedule)
    about = [network.to_json(), {k: list(v) for k, v in choices.items()}, dataclasses.asdict(bilevel)]
    backup = None if backup_path is None else Backup(backup_path, _fingerprint(about, seed, batch, train))
    history: list[SupernetEpoch] = []
    if backup is not None:
        history = [SupernetEpoch(**epoch) for epoch in backup.restore(trainer.variables)[0]]
        if history:
            logger.info("the supernet's training goes on after epoch %d", history[-1].number)
    going = all([on_epoch(epoch) for epoch in history] if on_epoch is not None else ())  # each is told
    try:
        while going and (place := pace.after(history)) is not None:
            started, number = time.monotonic(), len(history) + 1
            trainer.set(place, steps)
            rng = np.random.default_rng([seed, number])
            loss, judged = trainer.epoch(data, rng, steps, learn=place.learns)
            if not math.isfinite(loss):
                raise DivergedError(f"the supernet's training loss is {loss} in epoch {number}")
            history.append(
                SupernetEpoch(
                    number=number,
                    loss=loss,
                    judged=judged if place.learns else None,
                    progress=place.end,
                    seconds=time.monotonic() - started,
                    probabilities={
                        name: [round(float(p), 6) for p in values] for name, values in alphas.probabilities().items()
                    },
                )
            )
            if backup is not None:
                backup.save(trainer.variables, [dataclasses.asdict(epoch) for epoch in history])
            going = on_epoch is None or on_epoch(history[-1])
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise OutOfMemoryError(f"out of memory on the device with a supernet's batches of {batch} rows") from error
    return history


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One epoch in the training."""

    start: float
    end: float
    """Shares of the training."""
    factor: float
    """Of the peak learning rate, in its middle."""
    learns: bool
    """Whether the softmaxes do."""


class Pace:
    """Where in its training the supernet is."""

    def __init__(self, bilevel: Bilevel, seconds: float | None, schedule: str) -> None:
        self._bilevel, self._seconds = bilevel, seconds
        self._schedule = Schedule(schedule, peak=1.0, steps=10_000)

    def after(self, history: Sequence[SupernetEpoch]) -> Place | None:
        """The next epoch; None: the training is over."""
        start, length = len(history) / self._bilevel.epochs, 1 / self._bilevel.epochs
        if self._seconds is not None and history:
            spent = sum(epoch.seconds for epoch in history)
            start = max(start, spent / self._seconds, history[-1].progress)
            known = [epoch.seconds for epoch in history[1:]]  # most of the first one is tracing
            length = max(length, min(known, default=0.0) / self._seconds)
        if start > 1 - length / 2:
            return None
        end = min(1.0, start + length)
        factor = float(self._schedule(int(10_000 * (start + end) / 2)))
        return Place(start=start, end=end, factor=factor, learns=start >= self._bilevel.warm_up - 1e-9)


Batch: TypeAlias = tuple[Mapping[str, tf.Tensor], tf.Tensor, tf.Tensor]
"""(inputs, labels, how much each row counts)."""


class _Trainer(Trainer):
    """Weights and softmaxes in turn."""

    def __init__(
        self, model: keras.Model, alphas: Alphas, recipe: Any, output: OutputSpec, bilevel: Bilevel, *, batch: int
    ) -> None:
        self._alphas, self._bilevel = alphas, bilevel
        self._logits = list(alphas.logits.values())
        super().__init__(model, recipe, output, batch=batch, steps=1, paced=True)
        self._peak = recipe.learning_rate
        self._alpha_optimizer = keras.optimizers.Adam(1e-3, beta_1=_BETAS[0], beta_2=_BETAS[1])
        self._alpha_optimizer.build(self._logits)
        self._passes: dict[bool, Any] = {}
        self._ahead = tf.Variable(0.0, trainable=False)

    @property
    def variables(self) -> list[Any]:
        """All that changes; what the pace sets is set again for each epoch."""
        own = [*self._alpha_optimizer.variables, *self._logits, self._alphas.step]
        return [*self.model.variables, *self.optimizer.variables, *own]

    def set(self, place: Place, steps: int) -> None:
        """Rates for the epoch at `place`."""
        bilevel, left = self._bilevel, 1 - place.end
        self.optimizer.learning_rate.assign(self._peak * place.factor)
        moved = bilevel.reach * (place.end - place.start) / (1 - bilevel.warm_up)
        self._alpha_optimizer.learning_rate.assign(moved / steps)
        self._ahead.assign(bilevel.unroll * place.factor)
        self._alphas.auxiliary.assign(bilevel.auxiliary * left)
        self._alphas.skip_dropout.assign(bilevel.skip_dropout * left)

    def epoch(self, data: Sequence[Rows], rng: np.random.Generator, steps: int, *, learn: bool) -> tuple[float, float]:
        """(mean loss of the weights' steps, of the softmaxes')."""
        if learn not in self._passes:
            self._passes[learn] = self._pass(learn=learn)
        passing = self._passes[learn]
        streams = [part.chunks(stream, steps * self.batch) for part, stream in zip(data, rng.spawn(2), strict=True)]
        total = np.zeros(2)
        for both in zip(*streams, strict=True):
            tensors: list[Any] = []
            for inputs, labels, weights in both:
                counts = np.ones(len(labels), np.float32) if weights is None else weights
                tensors += [{n: tf.constant(v) for n, v in inputs.items()}, tf.constant(labels), tf.constant(counts)]
            total += [float(loss) for loss in passing(*tensors)]
        return float(total[0] / steps), float(total[1] / steps)

    def _pass(self, *, learn: bool) -> Any:
        """Steps over two pieces of as many rows, in one call."""
        batch = self.batch
        rows = {name: tf.TensorSpec([None, *t.shape[1:]], t.dtype) for name, t in self.model.input.items()}
        label = tf.TensorSpec([None], tf.float32 if self._output.classes is None else tf.int32)
        signature = [rows, label, tf.TensorSpec([None], tf.float32)]

        def cut(part: Sequence[Any], step: Any) -> Batch:
            inputs, labels, weights = part
            return (
                {name: _slice(values, step * batch, batch) for name, values in inputs.items()},
                _slice(labels, step * batch, batch),
                _slice(weights, step * batch, batch),
            )

        def run(*tensors: Any) -> tuple[Any, Any]:
            mine, others = tensors[:3], tensors[3:]

            def body(step: Any, total: Any, judged: Any) -> tuple[Any, Any, Any]:
                judged += self._learn(cut(others, step), cut(mine, step)) if learn else 0.0
                self._alphas.step.assign_add(1)
                return step + 1, total + self._step(*cut(mine, step)), judged

            steps = tf.shape(tensors[1])[0] // batch
            zero = tf.constant(0.0)
            _, total, judged = tf.while_loop(
                lambda step, *_: step < steps, body, (tf.constant(0), zero, zero), parallel_iterations=1
            )
            return total, judged

        return tf.function(run, input_signature=[*signature, *signature], autograph=False)

    def _learn(self, rows: Batch, others: Batch) -> tf.Tensor:
        """One step of the softmaxes by their own rows; `others` are those of the weights' next step. The loss before
        it."""
        logits = [variable.value for variable in self._logits]
        if self._bilevel.unroll:
            loss, slopes = self._looking_ahead(logits, rows, others)
        else:
            loss, slopes = self._slopes(logits, rows)
        slopes = [slope + self._bilevel.decay * each for slope, each in zip(slopes, logits, strict=True)]
        self._alpha_optimizer.apply(slopes, self._logits)
        return loss

    def _slopes(self, variables: Sequence[tf.Variable], rows: Batch) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The loss of a batch, and its gradients."""
        inputs, labels, weights = rows
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for each in variables:
                tape.watch(each)
            loss = self._loss(labels, tf.cast(self.model(inputs, training=True), tf.float32), weights)
        return loss, tape.gradient(loss, variables)

    def _looking_ahead(
        self, logits: Sequence[tf.Variable], rows: Batch, others: Batch
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Equations 7 and 8: the gradient at w' = w − ξ ∇w L(others), less ξ times the mixed second derivative along
        what the weights would like there, by a difference of two gradients at w ± ε · that, ε = 0.01 / its length.

        The step is one of plain gradient descent, whatever the recipe's optimiser is. Batch norms see five batches a
        step instead of two, which changes only averages that nothing reads.
        """
        weights = [variable.value for variable in self.model.trainable_variables]
        kept = [tf.identity(weight) for weight in weights]
        for weight, slope in zip(weights, self._slopes(weights, others)[1], strict=True):
            weight.assign_sub(self._ahead * slope)
        loss, both = self._slopes([*logits, *weights], rows)
        slopes, wanted = both[: len(logits)], both[len(logits) :]
        reach = 0.01 / tf.maximum(tf.linalg.global_norm(wanted), 1e-12)
        sides = []
        for sign in (1.0, -1.0):
            for weight, start, way in zip(weights, kept, wanted, strict=True):
                weight.assign(start + sign * reach * way)
            sides.append(self._slopes(logits, others)[1])
        for weight, start in zip(weights, kept, strict=True):
            weight.assign(start)
        bent = [(up - down) / (2.0 * reach) for up, down in zip(*sides, strict=True)]
        return loss, [slope - self._ahead * each for slope, each in zip(slopes, bent, strict=True)]


def _slice(values: tf.Tensor, start: tf.Tensor, rows: int) -> tf.Tensor:
    part = values[start : start + rows]
    part.set_shape([rows, *values.shape[1:]])
    return part


def _fingerprint(about: list[Any], seed: int, batch: int, train: Tensors) -> str:
    weights = None if train.weights is None else hashlib.sha256(train.weights.tobytes()).hexdigest()
    content = json.dumps([*about, seed, batch, train.rows, weights], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
