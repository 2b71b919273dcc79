"""Files that are written here and then belong to the work dir: renamed where that is a local folder, else uploaded."""

import os
import tempfile
from pathlib import Path
from typing import Any

from nasflow.core.storage import is_local, local_path, storage_for


def writing_folder(uri: str) -> Any:
    """A temporary folder for files that will be published below `uri`: on the same disk, where that is local."""
    beside: Path | None = None
    if is_local(uri):
        beside = local_path(uri)
        beside.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=".tmp-", dir=beside)


def publish(path: Path, uri: str) -> None:
    """Moves a whole file to `uri`, atomically."""
    if not is_local(uri):
        storage_for(uri).upload(path, uri)
        return
    target = local_path(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.replace(target)
