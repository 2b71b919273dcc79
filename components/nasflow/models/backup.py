"""What a killed training needs to go on exactly: one file, replaced after each epoch."""

import io
import json
import logging
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

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

    def save(self, variables: Sequence[Any], history: list[dict[str, Any]]) -> None:
        """Replaces the backup, atomically."""
        arrays = {f"v{place}": variable.numpy() for place, variable in enumerate(variables)}
        about = json.dumps({"fingerprint": self._fingerprint, "history": history}).encode()
        buffer = io.BytesIO()
        np.savez(buffer, about=np.frombuffer(about, np.uint8), **arrays)
        self._storage.write(self._uri, buffer.getvalue())

    def restore(self, variables: Sequence[Any]) -> list[dict[str, Any]]:
        """Sets the variables and returns the history; leaves them alone and returns [] where nothing fits."""
        try:
            with np.load(io.BytesIO(self._storage.read(self._uri)), allow_pickle=False) as content:
                about = json.loads(content["about"].tobytes())
                if about["fingerprint"] != self._fingerprint:
                    logger.info("%s is of another training: starting at the first epoch", self._uri)
                    return []
                arrays = [content[f"v{place}"] for place in range(len(variables))]
        except FileNotFoundError:
            return []
        except (EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            logger.warning("%s is damaged (%s): starting at the first epoch", self._uri, error)
            return []
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        history: list[dict[str, Any]] = about["history"]
        return history
