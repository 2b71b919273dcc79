"""Models read back from a bundle's folder."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.artifacts import External
from nasflow.models import keras_archive


class SavedModel:
    """The bundle's ``saved_model``: raw columns in, predictions out."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self._loaded = tf.saved_model.load(str(folder / "saved_model"))
        self._function = self._loaded.signatures["serving_default"]
        content = json.loads((folder / "signature.json").read_text(encoding="utf-8"))
        self._inputs: dict[str, str] = {entry["column"]: entry["tensor"] for entry in content["inputs"]}
        self._dtypes: dict[str, str] = {entry["column"]: entry["dtype"] for entry in content["inputs"]}
        self._output: str = content["outputs"][0]["name"]

    def predict(self, raw: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Raw columns as `nasflow.data.raw.raw_batch` makes them → float32 [rows, classes] or [rows]."""
        import tensorflow as tf

        tensors = {
            tensor: tf.constant(raw[column], dtype=self._dtypes[column], shape=np.shape(raw[column]))
            for column, tensor in self._inputs.items()
        }
        answer: NDArray[Any] = self._function(**tensors)[self._output].numpy()
        return answer


def load_keras(path: Path) -> Any:
    """A Keras model from a ``.keras`` file, ready to predict; the file cannot bring code (`keras_archive`).

    Raises:
        DocumentError: no Keras archive, or one that would run code of its own; says which layer.
    """
    import keras

    keras_archive.check(path)
    return keras.models.load_model(path, compile=False, safe_mode=True)


def fetch_keras(entry: External) -> Any:
    """A bundle's ``model.keras``, from wherever the manifest says it is.

    Raises:
        DocumentError: it is gone, or not what the manifest says.
    """
    data = entry.read(remedy="run the train step again")
    with tempfile.TemporaryDirectory(prefix="nasflow-keras-") as folder:
        path = Path(folder, "model.keras")
        path.write_bytes(data)
        return load_keras(path)
