"""``sample:NAME``: small data sets that come with scikit-learn; their label column is ``target``."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.preprocess.sources._base import ImageShape, Piece, Profile, RowBatch
from nasflow.preprocess.sources.arrays import image_batch

PREFIX = "sample:"
NAMES = ("digits", "breast_cancer", "wine", "iris", "diabetes", "docstrings")
LABEL = "target"
_DIGITS_MAX = 16


def check_name(uri: str, label: str) -> str:
    """The sample's name.

    Raises:
        DataError: there is no such sample, or the label is not ``target``.
    """
    name = uri.removeprefix(PREFIX)
    if name not in NAMES:
        raise DataError(f"data.train: no sample {name!r}; there are {', '.join(PREFIX + known for known in NAMES)}")
    if label != LABEL:
        raise DataError(f"data.label: {label!r} is no column of {uri}; the label of every sample is {LABEL!r}")
    return name


def fingerprint(name: str) -> str:
    """Changes with scikit-learn's version."""
    from importlib.metadata import version

    return f"{name}-scikit-learn-{version('scikit-learn')}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SampleTable:
    """Numeric columns; digits has one a pixel."""

    name: str
    files: tuple[str, ...] = ()
    form: str = "sample"
    kind: Literal["table", "image"] = "table"
    text: bool = False

    def pieces(self) -> list[Piece]:
        return [Piece(files=(PREFIX + self.name,))]

    def profiles(self) -> Iterator[Profile]:
        batch = next(self.read(self.pieces()[0])).columns
        yield Profile(file=PREFIX + self.name, schema=batch.schema, sample=batch)

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        bunch = _load(self.name)
        values, answers = np.asarray(bunch.data, np.float64), _answers(bunch)
        columns = {str(name): np.ascontiguousarray(values[:, place]) for place, name in enumerate(bunch.feature_names)}
        batch = pa.RecordBatch.from_pydict({**columns, LABEL: answers})
        yield RowBatch(files=piece.files, rows=np.arange(1, len(values) + 1), columns=batch)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SampleImages:
    """Digits: 1797 handwritten digits of 8 × 8 pixels, their 0–16 scaled to 0–255."""

    name: str
    files: tuple[str, ...] = ()
    form: str = "sample"
    kind: Literal["table", "image"] = "image"
    text: bool = False

    def shape(self) -> ImageShape:
        return ImageShape(encoding="array", height=8, width=8, channels=1)

    def pieces(self) -> list[Piece]:
        return [Piece(files=(PREFIX + self.name,))]

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        bunch = _load(self.name)
        pixels = np.rint(bunch.images * (255 / _DIGITS_MAX)).astype(np.uint8)[..., np.newaxis]
        yield image_batch(piece.files[0], 1, pixels, _answers(bunch), LABEL)


def _load(name: str) -> Any:
    from sklearn import datasets

    return getattr(datasets, f"load_{name}")()


def _answers(bunch: Any) -> NDArray[Any]:
    """Class names where scikit-learn has them, else numbers."""
    names = bunch.get("target_names")
    if names is None or len(names) == 0:
        return np.asarray(bunch.target, np.float64)
    return np.asarray([str(name) for name in names])[bunch.target]
