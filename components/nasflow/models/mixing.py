"""Mixup (Zhang et al. 2018): learning from weighted means of two images, and of what is said of them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Self

import tensorflow as tf

_SEED = 20_180_425


@dataclasses.dataclass(frozen=True, slots=True)
class Mixing:
    """Of one batch: all its images share a weight, and each is mixed with the one at its place from the end."""

    weight: tf.Tensor
    """float32 in 0.5–1: of the image itself."""

    @classmethod
    def draw(cls, alpha: float, step: tf.Tensor) -> Self | None:
        """The batch's weight ~ Beta(α, α), the larger share; a function of the step, so that a resumed training draws
        the same. None for α = 0."""
        if not alpha:
            return None
        seed = tf.stack([_SEED, tf.cast(step, tf.int32)])
        one, other = tf.unstack(tf.random.stateless_gamma([2], seed, alpha))
        share = one / tf.maximum(one + other, 1e-30)
        return cls(tf.maximum(share, 1 - share))

    def inputs(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Mixed images, rounded to uint8; other tensors as they are."""
        image = tf.cast(inputs["image"], tf.float32)
        mixed = self.weight * image + (1 - self.weight) * tf.reverse(image, [0])
        return {**inputs, "image": tf.cast(tf.round(mixed), inputs["image"].dtype)}

    def loss(
        self, loss: Callable[..., tf.Tensor], labels: tf.Tensor, answers: tf.Tensor, weights: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The same mean of the losses for both labels, each with the weight of the row that it is from."""
        own = () if weights is None else (weights,)
        other = loss(tf.reverse(labels, [0]), answers, *(tf.reverse(each, [0]) for each in own))
        return self.weight * loss(labels, answers, *own) + (1 - self.weight) * other
