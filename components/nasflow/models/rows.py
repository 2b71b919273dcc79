"""The training rows, handed over in pieces, shuffled and augmented anew each epoch."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.data.tensors import OutputSpec, Tensors
from nasflow.models.augment import augment, augments
from nasflow.spaces.architecture import Recipe

_CHUNK_BYTES = 64 << 20
"""Rows are shuffled, augmented and handed over in pieces of about this size."""


class Rows:
    """The training rows, shuffled and augmented anew each epoch."""

    def __init__(
        self, train: Tensors, recipe: Recipe, output: OutputSpec, batch: int, steps_per_call: int | None
    ) -> None:
        self._inputs: Mapping[str, NDArray[Any]] = train.inputs
        self._recipe = recipe
        labels: NDArray[Any] = train.labels
        self._labels = (
            labels.astype(np.int32)
            if output.classes is not None
            else ((labels - output.mean) / output.std).astype(np.float32)
        )
        # Divided by their mean: a learning rate is then as good with weights as without.
        self._weights = None if train.weights is None else (train.weights / train.weights.mean()).astype(np.float32)
        row = sum(values.itemsize * math.prod(values.shape[1:]) for values in self._inputs.values())
        most = max(1, _CHUNK_BYTES // max(1, row * batch))
        self._chunk = batch * min(most, steps_per_call or most)
        image = self._inputs.get("image")
        if image is not None and augments(recipe):
            self._fill = np.round(image.mean(axis=(0, 1, 2))).astype(np.uint8)

    def chunks(self, rng: np.random.Generator, rows: int) -> Any:
        """Yields (inputs, labels, weights) with whole batches, `rows` rows in all; weights are None without any."""
        order = rng.permutation(len(self._labels))[:rows]
        for start in range(0, rows, self._chunk):
            picked = order[start : start + self._chunk]
            inputs = {name: values[picked] for name, values in self._inputs.items()}
            if "image" in inputs and augments(self._recipe):
                inputs["image"] = augment(inputs["image"], self._recipe, self._fill, rng)
            yield inputs, self._labels[picked], None if self._weights is None else self._weights[picked]
