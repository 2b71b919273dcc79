"""What code and packages this process runs: digests that tell whether two models were made by the same."""

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from nasflow.core.storage import sha256
from nasflow.core.version import VERSION

LOCK_VARIABLE = "NASFLOW_LOCK_SHA256"
"""Set by an image whose packages come from a lock file that is not in it."""


def provenance(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """``nasflow``: the version. ``code``: sha256 over its sources. ``packages``: sha256 over what is installed.
    ``lock``: sha256 of ``uv.lock``, where this is a checkout or the image says it. ``python``, ``platform``.
    """
    found = {
        "nasflow": VERSION,
        "code": _code(),
        "packages": _packages(),
        "python": platform.python_version(),
        "platform": f"{platform.system().lower()}-{platform.machine()}",
    }
    lock = (environment if environment is not None else os.environ).get(LOCK_VARIABLE) or _lock()
    return {**found, "lock": lock} if lock else found


@cache
def _code() -> str:
    root, digest = Path(__file__).resolve().parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def _packages() -> str:
    names = {f"{dist.metadata['Name']}=={dist.version}".lower() for dist in importlib.metadata.distributions()}
    return sha256("\n".join(sorted(names)).encode())


def _lock() -> str:
    path = Path(__file__).resolve().parents[3] / "uv.lock"  # beside `components`, in a checkout
    return sha256(path.read_bytes()) if path.is_file() else ""
