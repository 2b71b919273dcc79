"""Changes images at random, in NumPy, a batch at a time."""

import numpy as np
from numpy.typing import NDArray

from nasflow.spaces.architecture import Recipe

Images = NDArray[np.uint8]


def augments(recipe: Recipe) -> bool:
    """Whether the recipe changes images at all."""
    return recipe.flip or recipe.shift > 0 or recipe.cutout > 0 or recipe.brightness > 0 or recipe.contrast > 0


def augment(images: Images, recipe: Recipe, fill: NDArray[np.uint8], rng: np.random.Generator) -> Images:
    """A changed copy: flips, then shifts, then brightness and contrast, then cutout. Each image draws its own.

    images: uint8 [rows, height, width, channels]; fill: uint8 [channels], what a cutout leaves.
    """
    if recipe.flip:
        images = _flip(images, rng)
    if recipe.shift:
        images = _shift(images, recipe.shift, rng)
    if recipe.brightness or recipe.contrast:
        images = _light(images, recipe.brightness, recipe.contrast, rng)
    if recipe.cutout:
        images = _cutout(images, recipe.cutout, fill, rng)
    return images


def _flip(images: Images, rng: np.random.Generator) -> Images:
    """Left and right change places in every second image."""
    chosen = rng.random(len(images)) < 0.5
    return np.where(chosen[:, None, None, None], images[:, :, ::-1], images)


def _shift(images: Images, pixels: int, rng: np.random.Generator) -> Images:
    """By −pixels to +pixels each way; the border's own pixels fill what comes in."""
    rows, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    down, right = rng.integers(0, 2 * pixels + 1, (2, rows))
    return np.ascontiguousarray(windows[np.arange(rows), down, right].transpose(0, 2, 3, 1))


def _light(images: Images, brightness: float, contrast: float, rng: np.random.Generator) -> Images:
    """Pixels p become m + (p − m)(1 + c) + 255 b, m the image's mean, b and c uniform in ±brightness, ±contrast."""
    shape = (len(images), 1, 1, 1)
    shift = rng.uniform(-brightness, brightness, shape).astype(np.float32) * 255
    factor = 1 + rng.uniform(-contrast, contrast, shape).astype(np.float32)
    mean = images.mean(axis=(1, 2, 3), dtype=np.float32, keepdims=True)
    changed: NDArray[np.float32] = np.clip(np.rint(mean + (images - mean) * factor + shift), 0, 255)
    return changed.astype(np.uint8)


def _cutout(images: Images, side: int, fill: NDArray[np.uint8], rng: np.random.Generator) -> Images:
    """A square about a random pixel, cut off at the borders (DeVries & Taylor 2017)."""
    rows, height, width, _ = images.shape
    top = rng.integers(0, height, (rows, 1)) - side // 2
    left = rng.integers(0, width, (rows, 1)) - side // 2
    x, y = np.arange(width)[None], np.arange(height)[None]
    hole = ((y >= top) & (y < top + side))[:, :, None] & ((x >= left) & (x < left + side))[:, None, :]
    return np.where(hole[..., None], fill, images)
