"""``sample:docstrings``: what scikit-learn's documentation strings say, by subpackage. About a thousand real texts that
every installation has; which ones, scikit-learn's version says."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from nasflow.preprocess.sources._base import TEXT, Piece, Profile, RowBatch

NAME = "docstrings"
CLASSES = (
    "cluster",
    "decomposition",
    "ensemble",
    "feature_extraction",
    "gaussian_process",
    "linear_model",
    "metrics",
    "model_selection",
    "neighbors",
    "preprocessing",
)
_SECTION = re.compile(
    r"\n\s*\n?(?:Parameters|Returns|Attributes|Examples|Notes|See Also|Raises|Yields|References)\n\s*-{3}"
)
_LEAST_WORDS = 6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SampleTexts:
    """Columns ``text`` and ``target``."""

    name: str = NAME
    files: tuple[str, ...] = ()
    form: str = "sample"
    kind: Literal["table", "image"] = "table"
    text: bool = False

    def pieces(self) -> list[Piece]:
        return [Piece(files=(f"sample:{self.name}",))]

    def profiles(self) -> Iterator[Profile]:
        batch = next(self.read(self.pieces()[0])).columns
        yield Profile(file=f"sample:{self.name}", schema=batch.schema, sample=batch)

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        """One batch, in the order of the files and of the lines in them."""
        found = _docstrings()
        columns = pa.RecordBatch.from_pydict({TEXT: [text for _, text in found], "target": [name for name, _ in found]})
        yield RowBatch(files=piece.files, rows=np.arange(1, len(found) + 1), columns=columns)


@lru_cache(maxsize=1)
def _docstrings() -> tuple[tuple[str, str], ...]:
    """(subpackage, what stands before the first section) of all functions and classes; about a CPU-second."""
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise RuntimeError("sample:docstrings needs scikit-learn")
    root, found = Path(spec.origin).parent, []
    for file in sorted(file for name in CLASSES for file in (root / name).rglob("*.py")):
        parts = file.relative_to(root).parts
        if "tests" in parts:
            continue
        for node in ast.walk(ast.parse(file.read_bytes())):
            documented = isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node)
            text = " ".join(_SECTION.split(documented)[0].split()) if documented else ""
            if len(text.split()) >= _LEAST_WORDS:
                found.append((parts[0], text))
    return tuple(found)
