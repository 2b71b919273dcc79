"""`.keras` files that would run code are refused before Keras opens them."""

import json
import pickle
import zipfile

import numpy as np
import pytest

from nasflow.core.errors import DocumentError
from nasflow.models.saved import load_keras


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    import keras

    inputs = {"numeric": keras.Input((2,), name="numeric")}
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    keras.Model(inputs, keras.layers.Dense(1, name="out")(inputs["numeric"])).save(path)
    return path


def changed(good, tmp_path, change, extra=()):
    """The archive with another config, or more parts."""
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense"))
                data = json.dumps(config).encode()
            target.writestr(name, data)
        for name, data in extra:
            target.writestr(name, data)
    return path


def test_a_model_of_kerass_own_layers_loads(good):
    model = load_keras(good)
    assert model({"numeric": np.zeros((3, 2), np.float32)}).shape == (3, 1)


def as_lambda(layer):
    """What `keras.layers.Lambda(lambda x: os.system(...))` is saved as: marshalled bytecode."""
    function = {"class_name": "__lambda__", "config": {"code": "4wAAAA==", "defaults": None, "closure": None}}
    layer.update(module="keras.layers", class_name="Lambda", config={"name": "evil", "function": function})


def as_system_call(layer):
    layer["config"]["activation"] = {
        "module": "os",
        "class_name": "function",
        "config": "system",
        "registered_name": "system",
    }


def as_builtin(layer):
    layer["config"]["activation"] = {
        "module": "builtins",
        "class_name": "function",
        "config": "eval",
        "registered_name": "function",
    }


def as_download(layer):
    layer["config"]["activation"] = {
        "module": "keras.utils",
        "class_name": "function",
        "config": "get_file",
        "registered_name": None,
    }


def as_foreign_class(layer):
    layer.update(
        module="subprocess", class_name="Popen", registered_name=None, config={"args": ["touch", "/tmp/owned"]}
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (as_lambda, r"model / .*evil: Lambda holds Python code inside the file: refused"),
        (as_system_call, r"out: function 'system' would be taken from 'os', which is no part of Keras .* refused"),
        (as_builtin, r"out: function 'eval' would be taken from 'builtins'"),
        (as_download, r"out: function 'get_file' would be taken from 'keras\.utils'"),
        (as_foreign_class, r"Popen would be taken from 'subprocess'"),
    ],
)
def test_code_is_refused_by_name(good, tmp_path, change, message):
    with pytest.raises(DocumentError, match=message):
        load_keras(changed(good, tmp_path, change))


@pytest.mark.parametrize("name", ["payload.pkl", "__init__.py", "../../etc/cron.d/x"])
def test_parts_that_no_model_needs_are_refused(good, tmp_path, name):
    path = changed(good, tmp_path, lambda _layer: None, extra=[(name, b"x")])
    with pytest.raises(DocumentError, match="which no Keras model needs: refused"):
        load_keras(path)


class Payload:
    def __reduce__(self):
        return (open, ("/tmp/nasflow-owned", "w"))


def test_a_pickle_is_no_model(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(
        DocumentError, match=r"not a Keras archive .* pickles, HDF5 files and other formats are not loaded"
    ):
        load_keras(path)


def test_a_registered_layer_of_a_users_own_space_loads(tmp_path):
    import keras

    @keras.saving.register_keras_serializable(package="mine")
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    inputs = keras.Input((2,))
    keras.Model(inputs, Twice()(inputs)).save(tmp_path / "model.keras")
    assert load_keras(tmp_path / "model.keras")(np.ones((1, 2), np.float32)).numpy().tolist() == [[2.0, 2.0]]
