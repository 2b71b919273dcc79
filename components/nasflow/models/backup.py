"""What a killed training needs to go on exactly: one file, replaced after each epoch."""

import io
import json
import logging
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.storage import LocalStorage, join

logger = logging.getLogger(__name__)

_FILE = "epoch.npz"


class Backup:
    """Variables and history after a whole epoch, in a local folder.

    `fingerprint` says which training it is: a backup of another one is ignored.
    """

    def __init__(self, path: str, fingerprint: str) -> None:
        self._uri = join(path, _FILE)
        self._fingerprint = fingerprint
        self._storage = LocalStorage()

    def save(
        self, variables: Sequence[Any], history: list[dict[str, Any]], best: Sequence[NDArray[Any]] | None = None
    ) -> None:
        """Replaces the backup, atomically. `best`: the weights of the best epoch, where they are wanted again."""
        arrays = {f"v{place}": variable.numpy() for place, variable in enumerate(variables)}
        arrays |= {f"b{place}": array for place, array in enumerate(best or ())}
        about = {"fingerprint": self._fingerprint, "history": history, "best": len(best or ())}
        buffer = io.BytesIO()
        np.savez(buffer, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
        self._storage.write(self._uri, buffer.getvalue())

    def restore(self, variables: Sequence[Any]) -> tuple[list[dict[str, Any]], list[NDArray[Any]] | None]:
        """Sets the variables; returns the history and the best epoch's weights. Leaves the variables alone and returns
        ([], None) where nothing fits."""
        try:
            with np.load(io.BytesIO(self._storage.read(self._uri)), allow_pickle=False) as content:
                about = json.loads(content["about"].tobytes())
                if about["fingerprint"] != self._fingerprint:
                    logger.info("%s is of another training: starting at the first epoch", self._uri)
                    return [], None
                arrays = [content[f"v{place}"] for place in range(len(variables))]
                best = [content[f"b{place}"] for place in range(about["best"])]
        except FileNotFoundError:
            return [], None
        except (EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            logger.warning("%s is damaged (%s): starting at the first epoch", self._uri, error)
            return [], None
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        return about["history"], best or None
