"""Beam without what it imports in case somebody needs it: pandas, and clients of stores that a local run never asks.

Two fifths of the import's CPU seconds and a quarter of its memory (`tests/benchmarks/README.md`). Arrow, too, looks for
pandas at its first scalar, and remembers that there is none; nasflow hands no table to pandas.
"""

import importlib
import sys
from typing import Any

_UNUSED = frozenset(
    {
        "pandas",
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


def import_beam() -> None:
    """Imports Beam for a run in this process; later imports of the unused ones work as ever."""
    import pyarrow as pa

    absent = _Absent()
    sys.meta_path.insert(0, absent)
    try:
        pa.scalar(1)
        importlib.import_module("apache_beam")
    finally:
        sys.meta_path.remove(absent)
