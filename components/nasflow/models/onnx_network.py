"""The network alone as ``network.onnx``: tensors in, logits out.

Only the network, not the transform: a vocabulary is a hash table in the SavedModel, which tf2onnx does not convert, and
image files are decoded by operations that ONNX lacks. Whoever runs it does `nasflow.data.apply` first, as training did.

    inputs   by the names of `nasflow.data.tensors`, [rows, …]; only those that the network looks at
    output   ``logits`` float32 [rows, classes], or [rows, 1] for a regression
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import NasflowError

logger = logging.getLogger(__name__)

FILE = "network.onnx"
NAME = "ONNX network"
OUTPUT = "logits"
OPSET = 17
"""Of 2022: what runs it need not be new. Opset 18 changes nothing that the layers of our spaces use."""


def write(model: Any, path: Path) -> None:
    """Converts a Keras model on tensors.

    Raises:
        NasflowError: one of its layers has no ONNX counterpart; says which operation.
    """
    import onnx
    import tensorflow as tf
    import tf2onnx

    for name in ("tf2onnx", "tf2onnx.tfonnx", "tf2onnx.optimizer"):
        logging.getLogger(name).setLevel(logging.ERROR)
    specs = {name: tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype) for name, tensor in model.input.items()}

    def forward(*tensors: Any) -> Any:
        return tf.identity(model(dict(zip(specs, tensors, strict=True)), training=False), name=OUTPUT)

    named = [tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in specs.items()]
    try:
        made, _ = tf2onnx.convert.from_function(
            tf.function(forward, autograph=False), input_signature=named, opset=OPSET
        )
    except Exception as error:  # tf2onnx raises whatever its rewriters meet
        raise NasflowError(f"export: {FILE}: the network cannot be converted: {error!s:.300}") from error
    _rename(
        made.graph, {**{each.name: each.name.split(":")[0] for each in made.graph.input}}, made.graph.output[0].name
    )
    onnx.checker.check_model(made)
    path.write_bytes(made.SerializeToString())


def run(path: Path, inputs: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float32]:
    """Logits of a written network for the tensors of `nasflow.data.apply`; those that it does not look at are ignored.

    Raises:
        NasflowError: ONNX Runtime refuses the file.
    """
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise NasflowError(f"{path}: ONNX Runtime refuses it: {error!s:.300}") from error
    answer: NDArray[np.float32] = session.run(
        [OUTPUT], {each.name: inputs[each.name] for each in session.get_inputs()}
    )[0]
    return answer


def _rename(graph: Any, inputs: Mapping[str, str], output: str) -> None:
    """tf2onnx appends ``:0`` to some names."""
    names = {**inputs, output: OUTPUT}
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
