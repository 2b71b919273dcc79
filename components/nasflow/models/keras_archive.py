"""A ``.keras`` file looked at before Keras opens it: nothing in it may be run.

Keras's own safe mode refuses lambdas; this refuses more, before a single object of the file is made, and says what and
where: pickles, Python sources, lambdas, classes and functions of modules outside Keras that this process has not
itself registered (`keras.saving.register_keras_serializable`), and anything that is no archive.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nasflow.core.errors import DocumentError

_PARTS = frozenset({"config.json", "metadata.json", "model.weights.h5", "model.weights.json"})
_LAMBDAS = frozenset({"Lambda", "__lambda__", "lambda"})
_OWN = frozenset({"builtins", ""})
"""How Keras writes values of its own, such as tuples, and registered functions."""
_FUNCTIONS = ("keras.activations", "keras.losses", "keras.metrics", "keras.src.activations")
"""Where a function may come from; others of Keras download files, for example."""
_MAX_CONFIG_BYTES = 64 * 2**20
_FIX = "nasflow writes none of these; train the model again, and do not load files of others"


def check(path: Path) -> None:
    """Refuses a file that could run code.

    Raises:
        DocumentError: not a Keras archive, or with a part that is or names code; says which.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name not in _PARTS and not name.startswith("assets/"):
                    raise DocumentError(f"{path}: has a part {name!r}, which no Keras model needs: refused; {_FIX}")
            entry = archive.getinfo("config.json")
            if entry.file_size > _MAX_CONFIG_BYTES:
                raise DocumentError(f"{path}: config.json has {entry.file_size} bytes: refused; {_FIX}")
            config = json.loads(archive.read(entry))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise DocumentError(
            f"{path}: not a Keras archive ({error}); pickles, HDF5 files and other formats are not loaded"
        ) from error
    for where, node in _objects(config, "model"):
        _check_object(path, where, node)


def _objects(node: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every serialised object, with the names of the layers around it."""
    if isinstance(node, dict):
        name = node.get("config", {}).get("name") if isinstance(node.get("config"), dict) else None
        where = f"{where} / {name}" if name else where
        if "class_name" in node:
            yield where, node
        for value in node.values():
            yield from _objects(value, where)
    elif isinstance(node, list):
        for value in node:
            yield from _objects(value, where)


def _check_object(path: Path, where: str, node: dict[str, Any]) -> None:
    kind, module = str(node["class_name"]), str(node.get("module") or "")
    if kind in _LAMBDAS:
        raise DocumentError(f"{path}: {where}: {kind} holds Python code inside the file: refused; {_FIX}")
    if kind == "function":
        harmless = module.startswith(_FUNCTIONS)
        kind = f"function {node.get('config')!r:.80}"
    else:
        harmless = module.partition(".")[0] == "keras" or module in _OWN
    if harmless:
        return
    from keras.saving import get_registered_object

    if get_registered_object(str(node.get("registered_name") or "")) is None:
        raise DocumentError(
            f"{path}: {where}: {kind} would be taken from {module!r}, which is no part of Keras that a model needs: "
            "refused; a layer of your own must be registered (keras.saving.register_keras_serializable) in a module "
            "that the search space imports"
        )
