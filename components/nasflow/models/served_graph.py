"""The served model: raw features in, predictions out, with the TransformSpec inside the TensorFlow graph.

The arithmetic is that of `nasflow.data.apply`, operation by operation in float64 (`nasflow.models.served`, a module a
family); `nasflow.models.export` compares the two on golden rows. Missing and non-finite numbers are replaced before the
network sees them: with oneDNN, graph mode turns a NaN that goes through Dense and relu into a finite, wrong answer.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from nasflow.data.schema import RAW_OF, Column, Schema
from nasflow.data.tensors import SLOTS
from nasflow.data.transform import TransformSpec
from nasflow.models.served.families import SERVED
from nasflow.models.tensor_names import tensor_names


class ServedGraph(tf.Module):
    """A Keras model on tensors behind the transform of its raw columns."""

    def __init__(self, model: Any, *, schema: Schema, transform: TransformSpec) -> None:
        super().__init__(name="served")
        self.model = model
        self._schema = schema
        self._transform = transform
        self._names = tensor_names([column.name for column in schema.columns])
        self._families = [SERVED[field](columns) for field, columns in transform.families.items()]

    def signature(self) -> Any:
        """The concrete function for ``serving_default``: one keyword tensor a raw column, see `raw_specs`."""
        specs = raw_specs(self._schema)

        def serve(**raw: Any) -> dict[str, Any]:
            return self.predict(self.tensors({column: raw[name] for column, name in self._names.items()}))

        return tf.function(serve).get_concrete_function(**{self._names[column]: spec for column, spec in specs.items()})

    def tensors(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Raw columns [rows] → the tensors of `nasflow.data.tensors`."""
        filled = [family(raw) for family in self._families]
        found: dict[str, Any] = {}
        for tensor in self._transform.parts:
            parts = [slots[slot] for slot in SLOTS.get(tensor, (tensor,)) for slots in filled if slot in slots]
            found[tensor] = parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)
        return found

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
    return {column.name: _raw_spec(column, schema, names[column.name]) for column in schema.columns}


def _raw_spec(column: Column, schema: Schema, name: str) -> Any:
    raw, shape = RAW_OF[column.kind], [None]
    if raw == "image":
        form = schema.image
        if form is None or form.encoding == "bytes":
            return tf.TensorSpec(shape, tf.string, name=name)
        return tf.TensorSpec([None, form.height, form.width, form.channels], tf.uint8, name=name)
    if raw == "vector":
        return tf.TensorSpec([None, column.length], tf.float64, name=name)
    return tf.TensorSpec(shape, tf.float64 if raw == "number" else tf.string, name=name)
