"""Model bundles made by hand, with arithmetic that can be checked in the head. No Keras, no training.

tabular     z = age + (1 if "home city" is "paris" else 0), a missing age counts 0; probabilities = softmax([0, z])
regression  prediction = 2 × x + 1, a missing x counts 0
image       2 × 2 grey pixels; P("bright") = mean / 255
files       the same from PNG or JPEG files
text        z = how often the word "good" is in it; probabilities = softmax([0, z]); as ONNX only
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasflow.data.schema import Column, ImageFormat, Label, Schema
from nasflow.data.transform import (
    FIRST_ID,
    CategoricalTransform,
    ImageTransform,
    LabelTransform,
    NumericTransform,
    TransformSpec,
)
from nasflow.data.transforms.text import TextTransform

_TOKENS = 4
"""Of a text that are looked at."""


def _column(name: str, kind: Any, dtype: str) -> Column:
    return Column(name=name, kind=kind, dtype=dtype, missing=True, reason="test")


def _image_schema(encoding: Any) -> Schema:
    return Schema(
        task="image_classification",
        columns=(_column("image", "image", "binary"),),
        ignored={},
        image=ImageFormat(height=2, width=2, channels=1, encoding=encoding),
        label=Label(name="label", dtype="string", classes=("dark", "bright")),
    )


_SCHEMAS = {
    "tabular": Schema(
        task="tabular_classification",
        columns=(_column("age", "numeric", "int64"), _column("home city", "categorical", "string")),
        ignored={"id": "identifier"},
        image=None,
        label=Label(name="bought", dtype="string", classes=("no", "yes")),
    ),
    "regression": Schema(
        task="tabular_regression",
        columns=(_column("x", "numeric", "double"),),
        ignored={},
        image=None,
        label=Label(name="y", dtype="double", classes=None),
    ),
    "image": _image_schema("array"),
    "files": _image_schema("bytes"),
    "text": Schema(
        task="text_classification",
        columns=(_column("review", "text", "string"),),
        ignored={},
        image=None,
        label=Label(name="label", dtype="string", classes=("bad", "good")),
    ),
}


def _transform(kind: str) -> TransformSpec:
    label = LabelTransform(name=_SCHEMAS[kind].label.name, classes=_SCHEMAS[kind].label.classes, mean=0.0, std=2.0)
    if kind == "tabular":
        return TransformSpec(
            numeric=(NumericTransform(name="age", mean=0.0, std=1.0, indicator=False),),
            categorical=(CategoricalTransform(name="home city", vocabulary=("paris",)),),
            label=label,
        )
    if kind == "regression":
        return TransformSpec(numeric=(NumericTransform(name="x", mean=0.0, std=1.0, indicator=False),), label=label)
    if kind == "text":
        review = TextTransform(name="review", place=0, vocabulary=("good",), length=_TOKENS)
        return TransformSpec(text=(review,), label=label)
    image = ImageTransform(name="image", height=2, width=2, channels=1, mean=(0.0,), std=(255.0,))
    return TransformSpec(image=image, label=label)


def _served(kind: str, scale: float) -> Any:
    import tensorflow as tf

    class Served(tf.Module):
        """`scale` makes bundles that answer differently."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = tf.Variable(scale, dtype=tf.float64)

    def zero_if_missing(values: Any) -> Any:
        return tf.where(tf.math.is_nan(values), tf.zeros_like(values), values)

    module = Served()
    if kind == "tabular":

        def serve(age: Any, home_city: Any) -> dict[str, Any]:
            z = module.scale * zero_if_missing(age) + tf.cast(home_city == "paris", tf.float64)
            return {"probabilities": tf.cast(tf.nn.softmax(tf.stack([tf.zeros_like(z), z], axis=1)), tf.float32)}

        specs = {"age": tf.TensorSpec([None], tf.float64), "home_city": tf.TensorSpec([None], tf.string)}
    elif kind == "regression":

        def serve(x: Any) -> dict[str, Any]:
            return {"prediction": tf.cast(module.scale * 2 * zero_if_missing(x) + 1, tf.float32)}

        specs = {"x": tf.TensorSpec([None], tf.float64)}
    else:

        def serve(image: Any) -> dict[str, Any]:
            pixels = image
            if kind == "files":
                decode = lambda data: tf.image.decode_image(data, channels=1, expand_animations=False)  # noqa: E731
                pixels = tf.map_fn(decode, image, fn_output_signature=tf.TensorSpec([2, 2, 1], tf.uint8))
            bright = tf.reduce_mean(tf.cast(pixels, tf.float64), axis=[1, 2, 3]) / 255 * module.scale
            return {"probabilities": tf.cast(tf.stack([1 - bright, bright], axis=1), tf.float32)}

        specs = {"image": tf.TensorSpec([None, 2, 2, 1], tf.uint8)}
        if kind == "files":
            specs = {"image": tf.TensorSpec([None], tf.string)}
    return module, tf.function(serve).get_concrete_function(**specs)


_SIGNATURES: dict[str, Any] = {
    "tabular": [
        ("age", "age", "numeric", "float64", [None]),
        ("home city", "home_city", "categorical", "string", [None]),
    ],
    "regression": [("x", "x", "numeric", "float64", [None])],
    "image": [("image", "image", "image", "uint8", [None, 2, 2, 1])],
    "files": [("image", "image", "image", "string", [None])],
    "text": [("review", "review", "text", "string", [None])],
}

_GOLDEN: dict[str, Any] = {
    "tabular": {
        "rows": [{"age": 0, "home city": "rome"}, {"age": None, "home city": "paris"}],
        "labels": ["no", "yes"],
        "predictions": [[0.5, 0.5], [1 - 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-1))]],
    },
    "regression": {"rows": [{"x": 3.5}, {"x": None}], "labels": [8.0, 1.0], "predictions": [8.0, 1.0]},
    "image": {
        "rows": [{"image": [[[0], [255]], [[255], [0]]]}],
        "labels": ["bright"],
        "predictions": [[0.5, 0.5]],
    },
    "files": {"rows": [], "labels": [], "predictions": []},
    "text": {
        "rows": [{"review": "a Good, good film"}, {"review": None}],
        "labels": ["good", "bad"],
        "predictions": [[1 - 1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-2))], [0.5, 0.5]],
    },
}


def _network(kind: str, scale: float) -> bytes:
    """The same arithmetic on the transform's tensors, as ONNX."""
    from onnx import TensorProto, helper

    node, constant = helper.make_node, helper.make_tensor
    known = constant("known", TensorProto.INT32, [], [FIRST_ID])  # "paris", "good"
    constants, outputs = [constant("scale", TensorProto.FLOAT, [], [scale]), known], 2
    two_classes = [node("Sub", ["z", "z"], ["zero"]), node("Concat", ["zero", "z"], ["logits"], axis=1)]
    inputs: list[tuple[str, int, list[int | None]]]
    if kind == "regression":  # the targets' standard deviation is 2
        inputs, outputs = [("numeric", TensorProto.FLOAT, [None, 1])], 1
        constants.append(constant("half", TensorProto.FLOAT, [], [0.5]))
        graph = [node("Mul", ["numeric", "scale"], ["scaled"]), node("Add", ["scaled", "half"], ["logits"])]
    elif kind == "tabular":
        inputs = [("numeric", TensorProto.FLOAT, [None, 1]), ("categorical", TensorProto.INT32, [None, 1])]
        graph = [
            node("Mul", ["numeric", "scale"], ["scaled"]),
            node("Equal", ["categorical", "known"], ["there"]),
            node("Cast", ["there"], ["one"], to=TensorProto.FLOAT),
            node("Add", ["scaled", "one"], ["z"]),
            *two_classes,
        ]
    elif kind == "text":
        inputs = [("text_0", TensorProto.INT32, [None, _TOKENS])]
        constants.append(constant("tokens", TensorProto.INT64, [1], [1]))
        graph = [
            node("Equal", ["text_0", "known"], ["there"]),
            node("Cast", ["there"], ["ones"], to=TensorProto.FLOAT),
            node("ReduceSum", ["ones", "tokens"], ["count"], keepdims=1),
            node("Mul", ["count", "scale"], ["z"]),
            *two_classes,
        ]
    else:
        inputs = [("image", TensorProto.UINT8, [None, 2, 2, 1])]
        constants.append(constant("255", TensorProto.FLOAT, [], [255 / scale]))
        constants.append(constant("one", TensorProto.FLOAT, [], [1.0]))
        constants.append(constant("column", TensorProto.INT64, [1], [1]))
        graph = [
            node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2, 3], keepdims=0),
            node("Unsqueeze", ["mean", "column"], ["means"]),
            node("Div", ["means", "255"], ["bright"]),
            node("Sub", ["one", "bright"], ["dark"]),
            node("Concat", ["dark", "bright"], ["probabilities"], axis=1),
            node("Log", ["probabilities"], ["logits"]),
        ]
    used = {name for each in graph for name in each.input}
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        graph,
        kind,
        [value(*each) for each in inputs],
        [value("logits", TensorProto.FLOAT, [None, outputs])],
        [each for each in constants if each.name in used],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def _golden(kind: str, scale: float) -> dict[str, Any]:
    """Of the ONNX bundles, which are compared when they are loaded."""
    golden = _GOLDEN[kind]
    return (
        {**golden, "predictions": [2 * scale * 3.5 + 1, 1.0]} if kind == "regression" else golden
    )  # 0 × scale: tabular


def _write(folder: Path, kind: str, scale: float, engine: str) -> Path:
    schema = _SCHEMAS[kind]
    if engine == "onnx":
        (folder / "network.onnx").write_bytes(_network(kind, scale))
    else:
        import tensorflow as tf

        module, function = _served(kind, scale)
        tf.saved_model.save(module, str(folder / "saved_model"), signatures={"serving_default": function})
    output = ("prediction", [None]) if schema.label.classes is None else ("probabilities", [None, 2])
    signature = {
        "task": schema.task,
        "inputs": [
            dict(zip(("column", "tensor", "kind", "dtype", "shape"), entry, strict=True)) for entry in _SIGNATURES[kind]
        ],
        "outputs": [{"name": output[0], "dtype": "float32", "shape": output[1]}],
        "classes": schema.label.classes,
    }
    (folder / "signature.json").write_text(json.dumps(signature))
    (folder / "schema.json").write_text(schema.model_dump_json())
    (folder / "transform.json").write_text(_transform(kind).model_dump_json())
    (folder / "golden.json").write_text(json.dumps(_golden(kind, scale) if engine == "onnx" else _GOLDEN[kind]))
    (folder / "model.keras").write_bytes(b"never opened by the server")
    return folder


@pytest.fixture(scope="session")
def handmade_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`handmade_bundle("tabular")` → a folder; made once a session for each kind, scale and engine. Do not change its
    files. ``engine="onnx"`` needs no TensorFlow, neither here nor in the server, which is
    then there in a second."""
    made: dict[tuple[str, float, str], Path] = {}

    def make(kind: str, scale: float = 1.0, *, engine: str = "saved_model") -> Path:
        key = (kind, scale, engine)
        if key not in made:
            made[key] = _write(tmp_path_factory.mktemp(f"bundle-{kind}"), *key)
        return made[key]

    return make
