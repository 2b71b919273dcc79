"""Trains a user's model as the user says: with what it was compiled for, by its HyperModel's `fit`."""

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from nasflow.core.errors import TrialFailedError
from nasflow.data.tensors import DTYPES, InputSpec, OutputSpec, Tensors, dtype_of, text_tensors
from nasflow.models.hypermodels.wrapping import Wrapped

_ROWS = 16
_CHUNK = 1024


class Report(keras.callbacks.Callback):
    """Calls back after each epoch; stops where the answer is False."""

    def __init__(self, wrapped: Wrapped, on_epoch: Callable[[int, float | None, float], bool]) -> None:
        """`on_epoch`: (number from 1, the loss where it is known, seconds) → whether to go on."""
        super().__init__()
        self._wrapped, self._on_epoch = wrapped, on_epoch
        self._started = time.monotonic()
        self.epochs = 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Raises:
        TrialFailedError: the loss is no finite number.
        """
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            raise TrialFailedError(f"the training loss is {loss}; a smaller learning rate may help")
        self.epochs += 1
        if not self._on_epoch(self.epochs, loss, time.monotonic() - self._started):
            self._wrapped.inner.stop_training = True


def train(
    hypermodel: keras_tuner.HyperModel,
    hp: keras_tuner.HyperParameters,
    wrapped: Wrapped,
    rows: Tensors,
    validation: Tensors | None,
    *,
    output: OutputSpec,
    epochs: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """As Keras Tuner does: ``hypermodel.fit(hp, model, x, y, epochs=…, validation_data=…, callbacks=…)``.

    A `fit` that sets `epochs` itself is not given any.

    Raises:
        TrialFailedError: `fit` failed.
    """
    options: dict[str, Any] = {"epochs": epochs, "callbacks": list(callbacks), "verbose": 0}
    if validation is not None and validation.rows:
        held_out = (_given(wrapped, validation), _targets(wrapped.inner, validation, output))
        options["validation_data"] = held_out if validation.weights is None else (*held_out, validation.weights)
    if rows.weights is not None:  # Keras takes one of the two
        of_class = np.asarray(output.weights or [1.0])[rows.labels.astype(np.int64) if output.weights else 0]
        options["sample_weight"] = (rows.weights / rows.weights.mean() * of_class).astype(np.float32)
    elif output.weights:
        options["class_weight"] = dict(enumerate(output.weights))
    x, y = _given(wrapped, rows), _targets(wrapped.inner, rows, output)
    while True:
        try:
            hypermodel.fit(hp, wrapped.inner, x, y, **options)
            return
        except (TrialFailedError, MemoryError, tf.errors.ResourceExhaustedError):
            raise
        except Exception as error:
            twice = re.search(r"multiple values for (?:keyword )?argument '(\w+)'", str(error))
            if isinstance(error, TypeError) and twice and options.pop(twice[1], None) is not None:
                continue  # the user's own goes first
            raise TrialFailedError(f"fit of the HyperModel failed with {type(error).__name__}: {error}") from error


def made_up(inputs: InputSpec, output: OutputSpec) -> Tensors:
    """A few rows of the right shape, to see what `fit` looks at."""
    rng = np.random.default_rng(0)
    sizes = {"image": 256, "numeric": 0, "plain": 0, "categorical": 2, "discrete": 2}
    found: dict[str, NDArray[Any]] = {}
    for name in (*DTYPES, *text_tensors(inputs)):
        if shape := inputs.shape(name):
            found[name] = rng.integers(0, sizes.get(name, 2) or 2, (_ROWS, *shape)).astype(dtype_of(name))
    labels = np.arange(_ROWS) % (output.classes or _ROWS)
    return Tensors(inputs=found, labels=labels.astype(np.float64 if output.classes is None else np.int32))


def _given(wrapped: Wrapped, rows: Tensors) -> Any:
    """What the user's model takes, as NumPy: an array, or a dict of them."""
    tensors = rows.only(wrapped.adapter.input).inputs
    parts = [
        wrapped.adapter({name: values[start : start + _CHUNK] for name, values in tensors.items()})
        for start in range(0, rows.rows, _CHUNK)
    ]
    if isinstance(parts[0], Mapping):
        return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}
    return np.concatenate([np.asarray(part) for part in parts])


def _targets(inner: keras.Model, rows: Tensors, output: OutputSpec) -> NDArray[Any]:
    """Class ids [rows]; one-hot where the loss compares distributions; 0 and 1 for one unit; standardised numbers."""
    if output.classes is None:
        return ((rows.labels.astype(np.float64) - output.mean) / output.std).astype(np.float32)[:, None]
    ids = rows.labels.astype(np.int32)
    units = inner.output_shape[-1]
    if units == 1:
        return ids.astype(np.float32)[:, None]
    loss = getattr(inner, "loss", None)
    name = loss if isinstance(loss, str) else getattr(loss, "name", None) or getattr(loss, "__name__", "sparse")
    return ids if str(name).startswith("sparse") else np.eye(units, dtype=np.float32)[ids]
