"""From what a network puts out to what a client is told."""

import numpy as np
from numpy.typing import NDArray

from nasflow.data.tensors import OutputSpec


def answers(logits: NDArray[np.floating], output: OutputSpec) -> NDArray[np.float64]:
    """Logits [rows, classes] → probabilities float64 [rows, classes]; [rows, 1] → targets in their own units [rows].

    A NaN stays a NaN, and makes its row's probabilities NaN. No rows give an empty array.

    >>> answers(np.array([[0.0, 0.0], [0.0, np.log(3)]]), OutputSpec(classes=2)).round(6).tolist()
    [[0.5, 0.5], [0.25, 0.75]]
    >>> answers(np.array([[2.0]]), OutputSpec(classes=None, mean=10.0, std=3.0)).tolist()
    [16.0]
    """
    values: NDArray[np.float64] = logits.astype(np.float64)  # a copy, always
    if output.classes is None:
        return values[:, 0] * output.std + output.mean
    values -= np.maximum.reduce(values, axis=1, keepdims=True)  # in place, and the ufunc itself: a server does one row
    np.exp(values, out=values)
    values /= np.add.reduce(values, axis=1, keepdims=True)
    return values
