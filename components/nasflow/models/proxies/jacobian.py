"""Jacobian covariance: the first version of Mellor et al. ("Neural Architecture Search without Training",
arXiv:2006.04647v1, section 3), in the form of Abdelfattah et al. 2021, section 3.2."""

import keras
import numpy as np
import tensorflow as tf

from nasflow.models.proxies._base import Probe, is_continuous

_EPSILON = 1e-5


def jacob_cov(probe: Probe) -> float:
    """−Σ (log(λ + ε) + 1/(λ + ε)) over the eigenvalues λ of the correlation matrix of the rows' input gradients;
    more is better: rows whose gradients differ. ε = 1e-5.

    Inputs of ids (categories, tokens) have no gradient and are left out; NaN where there is no other, where the
    gradient of a row is constant (its correlation is undefined), as of a network that does not look at its input, and
    for a HyperModel.
    """
    if probe.architecture.nodes[-1].op == "hypermodel":
        return float("nan")
    names = [name for name in probe.tensors if is_continuous(probe.tensors, name)]
    if not names:
        return float("nan")
    model, tensors = _after_normalisation(probe)
    with tf.GradientTape() as tape:
        for name in names:
            tape.watch(tensors[name])
        total = tf.reduce_sum(model(list(tensors.values()), training=True))
    parts = [tape.gradient(total, tensors[name]) for name in names]
    found = [np.asarray(part).reshape(probe.rows.rows, -1) for part in parts if part is not None]
    return of_gradients(np.concatenate(found, axis=1)) if found else float("nan")


def _after_normalisation(probe: Probe) -> tuple[keras.Model, dict[str, tf.Tensor]]:
    """The model, of a list of inputs, from its normalised image on, which is of floats; its inputs in their order."""
    tensors, sources = dict(probe.tensors), dict(probe.model.input)
    if "image" in tensors:
        normalise = probe.model.get_layer("normalise")
        sources["image"], tensors["image"] = normalise.output, normalise(tf.cast(tensors["image"], tf.float32))
    return keras.Model([sources[name] for name in tensors], probe.model.output), tensors


def of_gradients(gradients: np.ndarray) -> float:
    """The same, of gradients [rows, numbers]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.corrcoef(gradients)
    if not np.isfinite(correlations).all():
        return float("nan")
    values = np.maximum(np.linalg.eigvalsh(correlations), 0.0) + _EPSILON
    return float(-np.sum(np.log(values) + 1.0 / values))
