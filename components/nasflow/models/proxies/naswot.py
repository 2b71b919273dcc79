"""NASWOT: Mellor, Turner, Storkey, Crowley 2021, "Neural Architecture Search without Training", section 3.

Each row of the batch has a binary code: which units are active. The kernel K[i, j] is the number of units on whose
state rows i and j agree (equation 2); the score is log |det K|: high where the network tells the rows apart.
"""

import keras
import numpy as np

from nasflow.models.proxies._base import Probe

_PASSIVE = frozenset({"linear", "softmax", "sigmoid", "hard_sigmoid"})
"""Activations that have no off state."""
_FLOOR = 1e-6


def naswot(probe: Probe) -> float:
    """More is better.

    Units are those of all ReLU layers, as in the paper; gelu, swish, tanh and the like count as active where they put
    out more than 0, which for all of them is where what they take is. NaN where the network has no such layer (a
    linear one, a GRU alone), and where a HyperModel hides its layers.

    Where we differ: an eigenvalue below 1e-6 counts as that, so that two rows of one code cost 14 instead of making
    the score minus infinity.
    """
    outputs = [layer.output for layer in probe.model.layers if _switches(layer)]
    if not outputs:
        return float("nan")
    watched = keras.Model(probe.model.input, outputs)
    found = watched(probe.tensors, training=True)
    kernel = np.zeros((probe.rows.rows,) * 2)
    for activations in found if isinstance(found, list | tuple) else [found]:
        active = np.asarray(activations).reshape(probe.rows.rows, -1) > 0
        code = np.where(active, 1.0, -1.0).astype(np.float32)
        kernel += (code @ code.T + code.shape[1]) / 2  # units that agree: (agreements − disagreements + units) / 2
    return log_determinant(kernel)


def log_determinant(kernel: np.ndarray) -> float:
    """Of a symmetric, positive semi-definite matrix; eigenvalues are at least 1e-6.

    >>> import math
    >>> round(log_determinant(np.array([[2.0, 1.0], [1.0, 2.0]])), 6) == round(math.log(3), 6)
    True
    """
    return float(np.log(np.maximum(np.linalg.eigvalsh(kernel), _FLOOR)).sum())


def _switches(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return True
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", "linear")
    return activation is not None and name not in _PASSIVE and not isinstance(layer, keras.layers.RNN)
