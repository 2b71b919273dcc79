"""Arrays in memory as sources: ``.npz`` files, and what other loaders hand over."""

import dataclasses
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.preprocess.sources._base import BATCH_ROWS, IMAGE, SAMPLE_ROWS, ImageShape, Piece, Profile, Role, RowBatch
from nasflow.preprocess.sources.files import content, opened

_CHUNK_BYTES = 16 << 20
_FEATURES = {"train": ("x_train", "x", "X", "images", "train_images", "data"), "test": ("x_test", "test_images")}
_LABELS = {"train": ("y_train", "y", "labels", "train_labels", "target"), "test": ("y_test", "test_labels")}


def image_batch(file: str, first_row: int, pixels: NDArray[np.uint8], labels: NDArray[Any], label: str) -> RowBatch:
    """uint8 [n, h, w, c] and labels [n] as Arrow columns, without copying the pixels."""
    rows, width = len(pixels), int(np.prod(pixels.shape[1:]))
    flat = pa.py_buffer(np.ascontiguousarray(pixels).reshape(-1))
    images = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), rows, [None, flat])
    batch = pa.RecordBatch.from_arrays([images, label_array(file, labels)], names=[IMAGE, label])
    return RowBatch(files=(file,), rows=np.arange(first_row, first_row + rows), columns=batch)


def label_array(file: str, labels: NDArray[Any]) -> pa.Array:
    """Labels [n] or [n, 1] as an Arrow array.

    Raises:
        DataError: they have another shape or type.
    """
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim != 1 or flat.dtype.kind not in "biufUS":
        raise DataError(
            f"{file}: labels must be one number or text a row, got shape {list(labels.shape)} of {labels.dtype}"
        )
    if flat.dtype.kind == "S":
        flat = np.char.decode(flat, "utf-8", "replace")
    return pa.array(flat.tolist() if flat.dtype.kind == "U" else flat)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ArrayTable:
    """Numeric columns [n, columns], or series [n, time, features] as a list column for each feature; and labels, in one
    file that is loaded whole."""

    files: tuple[str, ...]
    label: str
    role: Role = "train"
    form: str = "npz"
    kind: Literal["table", "image"] = "table"
    text: bool = False

    def pieces(self) -> list[Piece]:
        return [Piece(files=self.files)]

    def profiles(self) -> Iterator[Profile]:
        batch = next(self.read(self.pieces()[0]))
        yield Profile(file=self.files[0], schema=batch.columns.schema, sample=batch.columns.slice(0, SAMPLE_ROWS))

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        (file,) = piece.files
        features, labels = load_npz(file, self.label, self.role)
        if features.ndim not in (2, 3) or features.dtype.kind not in "biuf" or 0 in features.shape:
            raise DataError(
                f"{file}: a tabular task needs numbers of shape [rows, columns] or [rows, time, features], got "
                f"{list(features.shape)} of {features.dtype}; for images set task: image_classification"
            )
        names = [f"x{place}" for place in range(features.shape[-1])]
        answers = label_array(file, labels)
        for start in range(0, len(features), BATCH_ROWS):
            part = features[start : start + BATCH_ROWS].astype(np.float64)
            arrays = [_column(np.ascontiguousarray(part[..., place])) for place in range(part.shape[-1])]
            batch = pa.RecordBatch.from_arrays([*arrays, answers.slice(start, len(part))], names=[*names, self.label])
            yield RowBatch(files=piece.files, rows=np.arange(start + 1, start + 1 + len(part)), columns=batch)


def _column(values: NDArray[np.float64]) -> pa.Array:
    """Numbers [n], or lists of one length [n, time]."""
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ArrayImages:
    """Images [n, h, w] or [n, h, w, c] and labels, in one file that is loaded whole."""

    files: tuple[str, ...]
    label: str
    role: Role = "train"
    form: str = "npz"
    kind: Literal["table", "image"] = "image"
    text: bool = False

    def shape(self) -> ImageShape:
        (file,) = self.files
        _, height, width, channels = _images(file, load_npz(file, self.label, self.role)[0]).shape
        return ImageShape(encoding="array", height=height, width=width, channels=cast("Literal[1, 3]", channels))

    def pieces(self) -> list[Piece]:
        return [Piece(files=self.files)]

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        (file,) = piece.files
        features, labels = load_npz(file, self.label, self.role)
        images = _images(file, features)
        rows = max(1, _CHUNK_BYTES // int(np.prod(images.shape[1:])))
        for start in range(0, len(images), rows):
            part = slice(start, start + rows)
            yield image_batch(file, start + 1, images[part], labels[part], self.label)


def load_npz(file: str, label: str, role: Role) -> tuple[NDArray[Any], NDArray[Any]]:
    """Features and labels of a split.

    Raises:
        DataError: damaged, pickled, or no such arrays; lists what is there.
    """
    data = content(file)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            if not hasattr(archive, "files"):
                raise DataError(f"{file}: one array, not an .npz archive; save features and labels with np.savez")
            arrays = dict(archive)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = "it holds pickled objects, which may run code" if "allow_pickle" in str(error) else str(error)
        raise DataError(f"{file}: not a readable .npz file: {reason}; save plain arrays with np.savez") from error
    features, labels = pick(file, arrays, label, role)
    if len(features) != len(labels):
        raise DataError(f"{file}: {len(features):,} rows but {len(labels):,} labels; they must be as many")
    if len(features) == 0:
        raise DataError(f"{file}: no rows in it")
    return features, labels


def has_test(file: str) -> bool:
    """Whether an archive brings its own test set; reads only its table of contents."""
    with opened(file) as handle:
        try:
            names = {name.removesuffix(".npy") for name in zipfile.ZipFile(handle).namelist()}
        except (zipfile.BadZipFile, OSError):
            return False  # load_npz says what is wrong with it
    return bool(names & set(_FEATURES["test"])) and bool(names & set(_LABELS["test"]))


def pick(file: str, arrays: Mapping[str, NDArray[Any]], label: str, role: Role) -> tuple[NDArray[Any], NDArray[Any]]:
    """Features and labels by their customary names; the label's own name goes first."""
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    label_names = [*([label] if role == "train" else [f"{label}_test"]), *_LABELS[role]]
    label_name = next((name for name in label_names if name in arrays), None)
    if label_name is None:
        raise DataError(f"{file}: no array named {label!r} (data.label) or {', '.join(_LABELS[role])}; it has {shapes}")
    feature_name = next((name for name in _FEATURES[role] if name in arrays and name != label_name), None)
    if feature_name is None:
        others = [name for name, array in arrays.items() if name != label_name and array.ndim >= 2]
        images = [name for name in others if arrays[name].ndim in (3, 4)]
        feature_name = (images if len(images) == 1 else others if len(others) == 1 else [None])[0]
    if feature_name is None:
        raise DataError(f"{file}: cannot tell which array holds the features; name it 'x'. It has {shapes}")
    features, labels = arrays[feature_name], arrays[label_name]
    if features.ndim < 2 or labels.ndim == 0:
        raise DataError(f"{file}: features need at least two dimensions, labels one; it has {shapes}")
    return features, labels


def _images(file: str, features: NDArray[Any]) -> NDArray[np.uint8]:
    images = features[..., np.newaxis] if features.ndim == 3 else features
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise DataError(
            f"{file}: images must have the shape [n, height, width], or [n, height, width, 1 or 3], got "
            f"{list(features.shape)}; for columns of numbers set a tabular task"
        )
    if images.dtype == np.uint8:
        return cast("NDArray[np.uint8]", images)
    whole = images.dtype.kind in "biu" or (images.dtype.kind == "f" and bool((np.rint(images) == images).all()))
    if not whole or images.min() < 0 or images.max() > 255:
        raise DataError(
            f"{file}: pixels must be whole numbers from 0 to 255 (uint8), got {images.dtype} from {images.min()} to "
            f"{images.max()}; convert them, e.g. (255 * x).round().astype('uint8')"
        )
    return images.astype(np.uint8)
