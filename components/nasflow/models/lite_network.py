"""The network alone as ``network.tflite``, for phones and boards: tensors in, logits out.

TensorFlow's converter leaves the weights of a Keras 3 model as resource variables, which nothing in the file fills: the
interpreter then answers NaN, or refuses to read them. They are made constants first. Only LiteRT's own operations are
used: a network that needs TensorFlow's is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import NasflowError

FILE = "network.tflite"
NAME = "LiteRT network"


def write(model: Any, path: Path) -> None:
    """Converts a Keras model on tensors.

    Raises:
        NasflowError: one of its layers has no counterpart; says which operation.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    specs = {name: tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype, name) for name, tensor in model.input.items()}

    def forward(*tensors: Any) -> Any:
        return model(dict(zip(specs, tensors, strict=True)), training=False)

    try:
        made = tf.function(forward, autograph=False).get_concrete_function(*specs.values())
        constant = convert_variables_to_constants_v2(made)
        path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([constant]).convert())
    except Exception as error:  # the converter raises whatever its passes meet
        raise NasflowError(f"export: {FILE}: the network cannot be converted: {error!s:.300}") from error


def run(path: Path, inputs: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float32]:
    """Logits of a written network for the tensors of `nasflow.data.apply`; those that it does not look at are ignored.

    Raises:
        NasflowError: the interpreter refuses the file, or an operation in it.
    """
    import tensorflow as tf

    try:
        interpreter = tf.lite.Interpreter(str(path), num_threads=1)
        given = {each["name"].split(":")[0]: each["index"] for each in interpreter.get_input_details()}
        for name, index in given.items():
            interpreter.resize_tensor_input(index, inputs[name].shape)
        interpreter.allocate_tensors()
        for name, index in given.items():
            interpreter.set_tensor(index, inputs[name])
        interpreter.invoke()
        answer: NDArray[np.float32] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    except (RuntimeError, ValueError) as error:
        raise NasflowError(f"{path}: LiteRT's interpreter refuses it: {error!s:.300}") from error
    return answer
