"""The served model: raw features in, predictions out, with the TransformSpec inside the TensorFlow graph.

The arithmetic is that of `nasflow.data.apply`, operation by operation in float64; `nasflow.models.export` compares the
two on golden rows. Missing and non-finite numbers are replaced before the network sees them: with oneDNN, graph mode
turns a NaN that goes through Dense and relu into a finite, wrong answer.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from nasflow.data.schema import Schema
from nasflow.data.transform import (
    FIRST_ID,
    MISSING_ID,
    SMALLEST_NORMAL,
    UNKNOWN_ID,
    CategoricalTransform,
    DiscreteTransform,
    ImageTransform,
    NumericTransform,
    TransformSpec,
)
from nasflow.models.tensor_names import tensor_names


class ServedGraph(tf.Module):
    """A Keras model on tensors behind the transform of its raw columns."""

    def __init__(self, model: Any, *, schema: Schema, transform: TransformSpec) -> None:
        super().__init__(name="served")
        self.model = model
        self._schema = schema
        self._transform = transform
        self._names = tensor_names([column.name for column in schema.columns])
        self._tables = [_table(column) for column in transform.categorical]

    def signature(self) -> Any:
        """The concrete function for ``serving_default``: one keyword tensor a raw column, see `raw_specs`."""
        specs = raw_specs(self._schema)

        def serve(**raw: Any) -> dict[str, Any]:
            return self.predict(self.tensors({column: raw[name] for column, name in self._names.items()}))

        return tf.function(serve).get_concrete_function(**{self._names[column]: spec for column, spec in specs.items()})

    def tensors(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Raw columns [rows] → the tensors of `nasflow.data.tensors`."""
        spec, tensors = self._transform, {}
        if spec.numeric:
            tensors["numeric"] = _numeric([raw[column.name] for column in spec.numeric], spec.numeric)
        if spec.discrete:
            tensors["discrete"] = tf.stack([_places(raw[column.name], column) for column in spec.discrete], axis=1)
        if spec.categorical:
            ids = [_ids(raw[column.name], table) for column, table in zip(spec.categorical, self._tables, strict=True)]
            tensors["categorical"] = tf.stack(ids, axis=1)
        if spec.image is not None:
            tensors["image"] = _images(raw[spec.image.name], spec.image)
        return tensors

    def predict(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Probabilities float32 [rows, classes], or the target in its own units float32 [rows]."""
        raw_output = tf.cast(self.model({name: tensors[name] for name in self.model.input}, training=False), tf.float64)
        output = self._transform.output
        if output.classes is not None:
            return {"probabilities": tf.cast(tf.nn.softmax(raw_output), tf.float32)}
        return {"prediction": tf.cast(raw_output[:, 0] * output.std + output.mean, tf.float32)}


def raw_specs(schema: Schema) -> dict[str, Any]:
    """A ``tf.TensorSpec`` for each raw column, in the schema's order, named by its keyword."""
    names = tensor_names([column.name for column in schema.columns])
    specs = {}
    shape: list[int | None]
    for column in schema.columns:
        if column.kind == "numeric":
            shape, dtype = [None], tf.float64
        elif column.kind == "image" and schema.image is not None and schema.image.encoding == "array":
            shape, dtype = [None, schema.image.height, schema.image.width, schema.image.channels], tf.uint8
        else:
            shape, dtype = [None], tf.string
        specs[column.name] = tf.TensorSpec(shape, dtype, name=names[column.name])
    return specs


def _numeric(columns: list[Any], transforms: tuple[NumericTransform, ...]) -> Any:
    values = tf.stack(columns, axis=1)
    mean, std, clip = (
        np.asarray([getattr(transform, field) for transform in transforms], np.float64)
        for field in ("mean", "std", "clip")
    )
    usable = tf.math.is_finite(values)
    scaled = (tf.where(usable, values, mean) - mean) / std
    scaled = tf.where(usable, tf.clip_by_value(scaled, -clip, clip), tf.zeros_like(scaled))
    indicated = [place for place, transform in enumerate(transforms) if transform.indicator]
    parts = [tf.cast(scaled, tf.float32)]
    if indicated:
        parts.append(tf.cast(tf.gather(~usable, indicated, axis=1), tf.float32))
    return tf.concat(parts, axis=1)


def _places(values: Any, transform: DiscreteTransform) -> Any:
    """Numbers → ids, as `nasflow.data.apply.discrete`: the same comparisons, exact in float64."""
    known = tf.constant(transform.values, tf.float64)
    numbers = tf.where(tf.abs(values) < SMALLEST_NORMAL, tf.zeros_like(values), values)
    # Not tf.searchsorted, whose reshape refuses an empty batch.
    places = tf.raw_ops.LowerBound(sorted_inputs=known[None], values=numbers[None], out_type=tf.int32)[0]
    places = tf.minimum(places, len(transform.values) - 1)
    ids = tf.where(tf.equal(tf.gather(known, places), numbers), places + FIRST_ID, UNKNOWN_ID)
    return tf.where(tf.math.is_finite(numbers), ids, MISSING_ID)


def _table(column: CategoricalTransform) -> Any:
    ids = {text: place for place, text in enumerate(column.vocabulary, start=FIRST_ID)} | {"": MISSING_ID}
    initializer = tf.lookup.KeyValueTensorInitializer(list(ids), list(ids.values()), tf.string, tf.int64)
    return tf.lookup.StaticHashTable(initializer, default_value=UNKNOWN_ID)


def _ids(texts: Any, table: Any) -> Any:
    return tf.cast(table.lookup(texts), tf.int32)


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
