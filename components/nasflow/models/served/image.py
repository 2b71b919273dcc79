"""Images in the served graph: decoding and resizing as `nasflow.data.image` does."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from nasflow.data.transforms.image import ImageTransform
from nasflow.models.served._base import Slots


class ServedImage(tf.Module):
    """The image column → uint8 [rows, height, width, channels]."""

    def __init__(self, columns: tuple[ImageTransform, ...]) -> None:
        super().__init__(name="images")
        (self._column,) = columns

    def __call__(self, raw: Mapping[str, Any]) -> Slots:
        return {"image": _images(raw[self._column.name], self._column)}


def _images(raw: Any, transform: ImageTransform) -> Any:
    size = (transform.height, transform.width)
    if raw.dtype == tf.uint8:
        return raw if tuple(raw.shape[1:3]) == size else _resized(raw, size)
    shape = (*size, transform.channels)

    def one(data: Any) -> Any:
        return tf.ensure_shape(_resized(_decoded(data, transform.channels), size), shape)

    return tf.map_fn(one, raw, fn_output_signature=tf.TensorSpec(shape, tf.uint8))


def _resized(images: Any, size: tuple[int, int]) -> Any:
    """uint8 → uint8: bilinear, antialiased, half-pixel centres, rounded: Pillow's BILINEAR but for its rounding."""
    floats = tf.image.resize(images, size, method="bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(floats), 0.0, 255.0), tf.uint8)


def _decoded(data: Any, channels: int) -> Any:
    """One encoded image → uint8 [height, width, channels]; an animation's first frame."""
    rgb = tf.cond(
        tf.io.is_jpeg(data),
        lambda: tf.io.decode_jpeg(
            data, channels=3, dct_method="INTEGER_ACCURATE"
        ),  # the default is a faster, cruder one
        lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
    )
    rgb.set_shape([None, None, 3])
    return rgb if channels == 3 else _grey(rgb)


def _grey(rgb: Any) -> Any:
    """ITU-R 601 luma in Pillow's integers; TensorFlow's own PNG decoder weighs green with 0.114."""
    weights = tf.constant([19595, 38470, 7471], tf.int32)
    total = tf.reduce_sum(tf.cast(rgb, tf.int32) * weights, axis=-1, keepdims=True)
    return tf.cast(tf.bitwise.right_shift(total + 0x8000, 16), tf.uint8)
