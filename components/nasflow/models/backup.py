"""What a killed training needs to go on exactly: one object, replaced after each epoch; on an object store, which takes
some tenths of a second for it and one change a second, not more often than every 15 s."""

import io
import json
import logging
import math
import shutil
import time
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.storage import is_local, join, local_path, storage_for

logger = logging.getLogger(__name__)

_FILE = "epoch.npz"
_REMOTE_SECONDS = 15.0


class Backup:
    """Variables and history after a whole epoch, below a local path or ``gs://`` prefix.

    `fingerprint` says which training it is: a backup of another one is ignored.
    """

    def __init__(self, uri: str, fingerprint: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._uri = join(uri, _FILE)
        self._fingerprint = fingerprint
        self._storage, self._clock = storage_for(uri), clock
        self._pause = 0.0 if is_local(uri) else _REMOTE_SECONDS
        self._saved = -math.inf

    def save(
        self, variables: Sequence[Any], history: list[dict[str, Any]], best: Sequence[NDArray[Any]] | None = None
    ) -> None:
        """Replaces the backup, atomically. `best`: the weights of the best epoch, where they are wanted again."""
        if self._clock() - self._saved < self._pause:
            return
        arrays = {f"v{place}": variable.numpy() for place, variable in enumerate(variables)}
        arrays |= {f"b{place}": array for place, array in enumerate(best or ())}
        about = {"fingerprint": self._fingerprint, "history": history, "best": len(best or ())}
        buffer = io.BytesIO()
        np.savez(buffer, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
        self._storage.write(self._uri, buffer.getvalue())
        self._saved = self._clock()

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


def forget(uri: str) -> None:
    """Removes all backups below a local path or ``gs://`` prefix; nothing happens where there are none."""
    if is_local(uri):
        shutil.rmtree(local_path(uri), ignore_errors=True)
        return
    storage = storage_for(uri)
    for each in storage.list(uri):
        storage.delete(each)
