"""The traced training step, its optimiser and the averaged weights."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from nasflow.data.tensors import OutputSpec
from nasflow.models.build import MEMBERS
from nasflow.models.mixing import Mixing
from nasflow.models.optimizers import make_optimizer
from nasflow.models.runtime import PLAIN, Runtime
from nasflow.models.schedule import Schedule
from nasflow.models.wide import descend, peak_rate, wide_tables
from nasflow.spaces.architecture import Recipe

logger = logging.getLogger(__name__)

_NOT_DECAYED = ("bias", "gamma", "beta")


class Trainer:
    """One model in training.

    A `tf.while_loop` over the batches of a chunk inside one `tf.function`. Measured on digits (the CNN preset, one
    thread, scored after each epoch): the first epoch 1.4–1.8 CPU-seconds against 4.2–4.5 of `model.fit`, ten epochs
    2.5–2.7 against 6.5–6.8. A trained model leaves about 14 MB behind in TensorFlow's tables, with and without
    `clear_session`: a process that trains hundreds should be replaced now and then.
    """

    def __init__(
        self,
        model: keras.Model,
        recipe: Recipe,
        output: OutputSpec,
        *,
        batch: int,
        steps: int,
        runtime: Runtime = PLAIN,
        paced: bool = False,
        rows: int = 1,
    ) -> None:
        """`steps`: that the schedule spans; `paced`: the caller sets the learning rate instead; `rows`: of an epoch,
        which counts for linear models on sparse features (`nasflow.models.wide`)."""
        self.model = model
        self.batch = batch
        self._runtime = runtime
        self._recipe = recipe
        self._output = output
        packed = any(layer.name == MEMBERS for layer in model.layers)
        self._learner = keras.Model(model.input, model.get_layer(MEMBERS).output) if packed else model
        self.optimizer = make_optimizer(recipe, steps, paced=paced)
        # By the variables themselves: name patterns match parts of paths, and have switched all decay off before.
        kept = [variable for variable in model.trainable_variables if variable.name in _NOT_DECAYED]
        self.optimizer.exclude_from_weight_decay(var_list=kept)
        if runtime.precision == "mixed_float16":  # its smallest gradients would be 0
            self.optimizer = keras.optimizers.LossScaleOptimizer(self.optimizer)
        self._wide = wide_tables(model)
        apart = {id(variable) for variable in self._wide}
        self._others = [variable for variable in model.trainable_variables if id(variable) not in apart]
        rate = peak_rate(rows=rows, batch=batch, steps=steps, regression=output.classes is None)
        self._wide_rate = Schedule(recipe.schedule, peak=rate, steps=steps)
        self.optimizer.build(self._others)
        self._averages = (
            [tf.Variable(variable.value, trainable=False) for variable in model.trainable_variables]
            if recipe.ema is not None
            else []
        )
        self._compiled = runtime.compiles(steps)
        self._run = self._traced()

    @property
    def variables(self) -> list[Any]:
        """All that changes in training: weights, statistics, dropout's generators, optimiser, averages."""
        return [*self.model.variables, *self.optimizer.variables, *self._averages]

    def run(
        self, inputs: Mapping[str, NDArray[Any]], labels: NDArray[Any], weights: NDArray[np.float32] | None = None
    ) -> float:
        """Trains on whole batches, in order; the sum of their losses. `weights` [rows], 1 on average: how much each row
        counts."""
        tensors = {name: tf.constant(values) for name, values in inputs.items()}
        # None for no weights: a graph of its own, in which nothing is multiplied.
        rows = tensors, tf.constant(labels), None if weights is None else tf.constant(weights)
        try:
            return float(self._run(*rows))
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            if not self._compiled or self._runtime.xla is not None or int(self.optimizer.iterations):
                raise
            logger.warning("XLA cannot compile this model, so it is trained without: %s", str(error).splitlines()[0])
            self._compiled = False
            self._run = self._traced()
            return float(self._run(*rows))

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the model has the averaged weights (if the recipe has an average)."""
        kept = [variable.numpy() for variable in self.model.trainable_variables] if self._averages else []
        self.finish()
        try:
            yield
        finally:
            for variable, value in zip(self.model.trainable_variables, kept, strict=bool(self._averages)):
                variable.assign(value)

    def finish(self) -> None:
        """Leaves the averaged weights in the model, if there are any."""
        for variable, average in zip(self.model.trainable_variables, self._averages, strict=bool(self._averages)):
            variable.assign(average)

    def start_averages(self) -> None:
        """The averages become the weights as they are: for weights that came from elsewhere."""
        for variable, average in zip(self.model.trainable_variables, self._averages, strict=bool(self._averages)):
            average.assign(variable.value)

    def _traced(self) -> Any:
        batch = self.batch
        # The step alone: its shapes are fixed, so that XLA compiles it once.
        one = tf.function(self._step, jit_compile=True, autograph=False) if self._compiled else self._step
        signature = {
            name: tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype) for name, tensor in self.model.input.items()
        }
        label = tf.TensorSpec([None], tf.float32 if self._output.classes is None else tf.int32)

        def run(inputs: dict[str, tf.Tensor], labels: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
            def body(step: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                rows = {name: _slice(values, step * batch, batch) for name, values in inputs.items()}
                counts = None if weights is None else _slice(weights, step * batch, batch)
                return step + 1, total + one(rows, _slice(labels, step * batch, batch), counts)

            steps = tf.shape(labels)[0] // batch
            _, total = tf.while_loop(
                lambda step, _: step < steps, body, (tf.constant(0), tf.constant(0.0)), parallel_iterations=1
            )
            return total

        plain = tf.function(lambda i, y: run(i, y, None), input_signature=[signature, label], autograph=False)
        weight = tf.TensorSpec([None], tf.float32)
        by_weight = tf.function(run, input_signature=[signature, label, weight], autograph=False)
        return lambda i, y, weights: plain(i, y) if weights is None else by_weight(i, y, weights)

    def _step(self, inputs: Mapping[str, tf.Tensor], labels: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
        others = [variable.value for variable in self._others]
        wide = [variable.value for variable in self._wide]
        mixing = Mixing.draw(self._recipe.mixup, self.optimizer.iterations.value) if "image" in inputs else None
        with tf.GradientTape() as tape:
            answers = self._learner(mixing.inputs(inputs) if mixing else inputs, training=True)
            answers = tf.cast(answers, tf.float32)
            loss = mixing.loss(self._loss, labels, answers, weights) if mixing else self._loss(labels, answers, weights)
            scaled = self.optimizer.scale_loss(loss)  # by 1, but for float16
        slopes = tape.gradient(scaled, [*others, *wide])
        self._descend(wide, slopes[len(others) :])
        self.optimizer.apply(slopes[: len(others)])
        if self._averages:
            self._average()
        return loss

    def _descend(self, wide: list[tf.Variable], slopes: list[Any]) -> None:
        """One step of the linear models on sparse features; counted, where the optimiser has nothing to count."""
        if not wide:
            return
        rate = self._wide_rate(self.optimizer.iterations.value)
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            rate /= self.optimizer.dynamic_scale.value
        descend(wide, slopes, rate)
        if not self._others:
            self.optimizer.iterations.assign_add(1)

    def _loss(self, labels: tf.Tensor, answers: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
        """Mean over rows (and packed members, each of which learns by itself), each times its class's weight and its
        own."""
        if self._output.classes is None:
            targets = tf.reshape(labels, [-1, *[1] * (len(answers.shape) - 1)])
            losses = tf.square(answers - targets)
        else:
            if len(answers.shape) == 3:
                labels = tf.repeat(labels[:, None], answers.shape[1], axis=1)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, answers)
            smoothing = self._recipe.label_smoothing
            if smoothing:
                spread = tf.reduce_logsumexp(answers, axis=-1) - tf.reduce_mean(answers, axis=-1)
                losses = (1 - smoothing) * losses + smoothing * spread
            if self._output.weights:
                losses *= tf.gather(tf.constant(self._output.weights, losses.dtype), labels)
        if weights is not None:
            losses *= tf.reshape(weights, [-1, *[1] * (len(losses.shape) - 1)])
        return tf.reduce_mean(losses)

    def _average(self) -> None:
        """The momentum grows as (1 + t) / (10 + t), so that a short training forgets its first weights."""
        step = tf.cast(self.optimizer.iterations.value, tf.float32)  # counted already: 1 after the first
        keep = tf.minimum(float(self._recipe.ema or 0.0), (1 + step) / (10 + step))
        for average, variable in zip(self._averages, self.model.trainable_variables, strict=True):
            average.assign_sub((1 - keep) * (average - variable.value))


def _slice(values: tf.Tensor, start: tf.Tensor, rows: int) -> tf.Tensor:
    part = values[start : start + rows]
    part.set_shape([rows, *values.shape[1:]])
    return part
