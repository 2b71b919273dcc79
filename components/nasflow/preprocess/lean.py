"""Beam without what it imports in case somebody needs it: pandas, and clients of stores and databases that a local run
never asks.

More than half of the import's CPU seconds and a quarter of its memory (`tests/benchmarks/README.md`). Arrow, too, looks
for pandas at its first scalar, and remembers that there is none; nasflow hands no table to pandas.
"""

import contextlib
import gc
import importlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

_UNUSED = frozenset(
    {
        "pandas",
        "bson",
        "pymongo",
        "apache_beam.io.gcp.bigquery",
        "apache_beam.io.gcp.gcsfilesystem",
        "apache_beam.io.aws.s3filesystem",
        "apache_beam.io.azure.blobstoragefilesystem",
    }
)


class _Absent:
    """Finds nothing for the unused ones, which their importers take as not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """See `importlib.abc.MetaPathFinder`."""
        if name in _UNUSED:
            raise ModuleNotFoundError(f"{name} is not needed here", name=name)


def begin() -> None:
    """First of all in a process: no garbage collection while modules come in. They leave a million objects and hardly
    any garbage; looking through them again and again is a seventh of the start-up's CPU seconds."""
    gc.disable()


def begun() -> None:
    """What is there now stays: from here on only what comes later is looked through. Nothing without `begin`."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def settle_arrow() -> None:
    """Before the first value that Arrow makes."""
    import pyarrow as pa

    with _without_unused():
        pa.scalar(1)


def import_beam() -> None:
    """Imports Beam for a run in this process; later imports of the unused ones work as ever."""
    with _without_unused(), _quiet("apache_beam.io.mongodbio"):  # it says that there is no bson
        importlib.import_module("apache_beam")


@contextlib.contextmanager
def _without_unused() -> Iterator[None]:
    absent = _Absent()
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
