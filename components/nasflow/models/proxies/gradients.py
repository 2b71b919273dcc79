"""Proxies from the gradients of the loss on one batch: grad-norm and SNIP.

Both as in Abdelfattah, Mehrotra, Dudziak, Lane 2021, "Zero-Cost Proxies for Lightweight NAS", section 3.2.
"""

import math

import tensorflow as tf

from nasflow.models.proxies._base import Probe


def grad_norm(probe: Probe) -> float:
    """Sum over the weight tensors of the Euclidean norm of the loss's gradient; more is better. NaN where the loss is
    not finite; 0 where no weight has a gradient."""
    return math.fsum(float(tf.norm(gradient)) for _, gradient in probe.gradients())


def snip(probe: Probe) -> float:
    """Lee, Ajanthan, Torr 2019, "SNIP", equation 7 before it is divided by the sum: Σ |θ · ∂L/∂θ|; more is better. NaN
    where the loss is not finite."""
    return math.fsum(float(tf.reduce_sum(tf.abs(weight * gradient))) for weight, gradient in probe.gradients())
