"""What computes a bundle's predictions: ONNX Runtime behind our own transform, or the SavedModel.

`onnx`        ``network.onnx`` on the tensors that `nasflow.serving.encoding` makes. No TensorFlow in the process: the
              server starts in a second, with a quarter of the memory, and one row takes tens of microseconds.
`saved_model` raw columns go into TensorFlow's graph, which has the transform inside. The image `server` cannot run it,
              `server-tf` can.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import DataError, DocumentError, UserError
from nasflow.core.storage import join, storage_for
from nasflow.data.answers import answers
from nasflow.data.transform import TransformSpec
from nasflow.serving.encoding import Encoder
from nasflow.serving.signature import Signature

EngineName = Literal["onnx", "saved_model"]

ONNX_FILE = "network.onnx"
SAVED_MODEL = "saved_model"

_DTYPES: dict[str, type] = {"float64": np.float64, "string": object, "uint8": np.uint8}


def needed(bundle_uri: str) -> EngineName:
    """What a bundle is served with. The exporter leaves ``network.onnx`` out where its answers are not the model's."""
    return "onnx" if storage_for(bundle_uri).exists(join(bundle_uri, ONNX_FILE)) else "saved_model"


def require(engine: EngineName, bundle_uri: str, *, why: str = f"it has no {ONNX_FILE}") -> None:
    """Whether this environment can run an engine; imports nothing.

    Args:
        engine: which.
        bundle_uri: of what; for the message.
        why: nothing but this engine will do; for the message.

    Raises:
        UserError: TensorFlow is needed and not installed.
    """
    if engine == "saved_model" and importlib.util.find_spec("tensorflow") is None:
        raise UserError(
            f"{bundle_uri}: {why}, so its SavedModel must serve it, which takes TensorFlow, and there is none here: "
            "the image `server` has ONNX Runtime alone. Use the image `server-tf` (`nasflow deploy` does by itself, "
            "unless deploy.image names another), or install nasflow[server-tf]"
        )


class Engine(Protocol):
    """May be called from several threads at once."""

    @property
    def name(self) -> EngineName: ...

    def predict(self, raw: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Probabilities [rows, classes], or numbers [rows], for all columns of the signature.

        Raises:
            DataError: an image cannot be decoded; names the row.
        """


class OnnxEngine:
    """The network in ONNX Runtime.

    Raises:
        DocumentError: ONNX Runtime refuses the file, or it wants tensors that the transform does not make.
    """

    name: EngineName = "onnx"

    def __init__(self, path: Path, transform: TransformSpec, *, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads wait, they do not burn
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common base
            raise DocumentError(f"{path}: ONNX Runtime refuses it: {error!s:.300}") from error
        self._encoder = Encoder(transform, [each.name for each in self._session.get_inputs()])
        self._outputs = [each.name for each in self._session.get_outputs()][:1]
        self._output = transform.output

    def predict(self, raw: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """As `Engine`."""
        (logits,) = self._session.run(self._outputs, self._encoder(raw))
        return answers(logits, self._output).astype(np.float32)


class SavedModelEngine:
    """TensorFlow's graph.

    Raises:
        DocumentError: there is none, or without ``serving_default``.
    """

    name: EngineName = "saved_model"

    def __init__(self, folder: Path, signature: Signature) -> None:
        import tensorflow as tf

        if not (folder / "saved_model.pb").is_file():
            raise DocumentError(f"{folder}: no SavedModel here; name the bundle's folder")
        self._loaded = tf.saved_model.load(str(folder))  # owns the variables that the function reads
        if "serving_default" not in self._loaded.signatures:
            raise DocumentError(
                f"{folder}: no signature serving_default, found {sorted(self._loaded.signatures)}; "
                "train the model again with this nasflow"
            )
        self._function = self._loaded.signatures["serving_default"]
        self._signature = signature

    def predict(self, raw: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """As `Engine`."""
        import tensorflow as tf

        try:
            return self._call(raw)
        except tf.errors.InvalidArgumentError as error:
            row = self._first_bad_row(raw)
            if row is None:
                raise
            images = [entry.column for entry in self._signature.inputs if entry.kind == "image"]
            raise DataError(
                f"row {row}, column {', '.join(images)}: cannot be decoded; send a PNG, JPEG, GIF or BMP file"
            ) from error

    def _call(self, raw: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        import tensorflow as tf

        tensors = {
            entry.tensor: tf.constant(np.asarray(raw[entry.column], dtype=_DTYPES[entry.dtype]), dtype=entry.dtype)
            for entry in self._signature.inputs
        }
        answer: NDArray[np.float32] = self._function(**tensors)[self._signature.outputs[0].name].numpy()
        return answer

    def _first_bad_row(self, raw: Mapping[str, NDArray[Any]]) -> int | None:
        """TensorFlow does not say which image of a batch was bad: asks one by one, from 1. None: none alone is bad."""
        import tensorflow as tf

        if all(entry.kind != "image" for entry in self._signature.inputs):
            return None
        for row in range(len(next(iter(raw.values())))):
            try:
                self._call({name: values[row : row + 1] for name, values in raw.items()})
            except tf.errors.InvalidArgumentError:
                return row + 1
        return None
