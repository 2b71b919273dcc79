"""Weights of classes in the loss, where the recipe asks for them."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.data.tensors import OutputSpec
from nasflow.spaces.architecture import Recipe


def weighted(output: OutputSpec, recipe: Recipe, labels: NDArray[Any]) -> OutputSpec:
    """`output` with balanced weights, rows / (classes · rows of the class), which average 1 over the rows.

    A class without rows weighs 1. Weights that the data brings stay; so does a regression.

    >>> weighted(OutputSpec(classes=2), Recipe(class_weights=True), np.array([0, 0, 0, 1])).weights
    (0.6666666666666666, 2.0)
    """
    if output.classes is None or output.weights or not recipe.class_weights:
        return output
    rows = np.bincount(labels.astype(np.int64), minlength=output.classes)
    seen = int((rows > 0).sum())
    found = np.where(rows > 0, len(labels) / (seen * np.maximum(rows, 1)), 1.0)
    return dataclasses.replace(output, weights=tuple(found.tolist()))
