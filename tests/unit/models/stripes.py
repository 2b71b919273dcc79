"""What tests of supernets search: two classes of small images, one of which a mean of 3 × 3 pixels hides."""

import numpy as np

from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.models.bilevel import train_supernet
from nasflow.spaces.cell import CellSpace

INPUTS = InputSpec(image=(8, 8, 1), image_mean=(128.0,), image_std=(64.0,))
OUTPUT = OutputSpec(classes=2)


def make(**settings):
    """A space of one small cell."""
    settings = {"nodes": 2, "stages": 1, "cells": 1, "width": 4, "recipe": "none", **settings}
    return CellSpace(inputs=INPUTS, output=OUTPUT, **settings)


def stripes(rows=256):
    """Upright and lying ones, a pixel wide: a 3 × 3 mean leaves a third of their contrast, ±1 ∓1 ±1."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=rows).astype(np.int32)
    y, x = np.mgrid[:8, :8]
    signs = [(-1.0) ** (axis + rng.integers(2, size=(rows, 1, 1))) for axis in (x, y)]
    images = 128 + 25 * np.where(labels[:, None, None] == 1, *signs) + rng.normal(0, 10, (rows, 8, 8))
    return Tensors(inputs={"image": np.clip(images, 0, 255).astype(np.uint8)[..., None]}, labels=labels)


def trained(relaxed, bilevel, *, train=None, **more):
    """The epochs of a relaxed space's supernet."""
    return train_supernet(
        relaxed.network, relaxed.choices, bilevel, train or stripes(), inputs=INPUTS, output=OUTPUT, seed=1, **more
    )
