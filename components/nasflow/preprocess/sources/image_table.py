"""A table with a column of images: paths of files, or their bytes, with labels in another column."""

import dataclasses
import difflib
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nasflow.core.errors import DataError
from nasflow.core.storage import storage_for
from nasflow.data.image import is_grayscale
from nasflow.preprocess.dead_letters import DeadLetter
from nasflow.preprocess.sources._base import IMAGE, ImageShape, Piece, Profile, RowBatch, TableSource
from nasflow.preprocess.sources.files import content

NO_PATH = "image path is missing"
NO_FILE = "no such image file"
_SCHEME = "images are read from paths and gs://, not from other addresses"
_BATCH_FILES = 256
_SAMPLED = 64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ImageTable:
    """Rows of any table source. Paths are absolute, ``gs://``, or relative to the folder of the table's file.

    The column may also hold encoded files: binary, or a struct with a field ``bytes``, as Hugging Face writes it.
    """

    table: TableSource
    column: str
    label: str
    key: str | None
    """A further column to hand on: the split goes by it."""
    weight: str | None = None
    """Another: how much each row counts."""
    mixed: bool = False
    """Whether all other columns are handed on: the model sees them, too."""
    form: str = "image list"
    kind: Literal["table", "image"] = "image"

    @property
    def files(self) -> tuple[str, ...]:
        return self.table.files

    @property
    def text(self) -> bool:
        return self.table.text

    def profiles(self) -> Iterator[Profile]:
        """Of the table.

        Raises:
            DataError: a file lacks the column of the images, or of the labels.
        """
        for profile in self.table.profiles():
            names = profile.schema.names
            for what, name in (("data.image", self.column), ("data.label", self.label)):
                if name not in names:
                    close = difflib.get_close_matches(name, names, n=1)
                    hint = f"did you mean {close[0]!r}? " if close else ""
                    raise DataError(f"{what}: {profile.file} has no column {name!r}; {hint}Its columns: {names}")
            dtype = profile.schema.field(self.column).type
            if not (_is_text(dtype) or _is_bytes(dtype) or pa.types.is_null(dtype)):
                raise DataError(
                    f"data.image: column {self.column!r} of {profile.file} holds {dtype}; name a column of paths, or "
                    "of encoded image files"
                )
            if self.mixed and IMAGE in names and self.column != IMAGE:
                raise DataError(
                    f"{profile.file}: column {IMAGE!r} is not the image, which is to be called so ({self.column!r}); "
                    "rename it, or name it in data.image"
                )
            yield profile

    def shape(self) -> ImageShape:
        """Grayscale where all of `_SAMPLED` images, evenly spread over the sample, are; damaged ones do not count."""
        gray = []
        for profile in self.profiles():
            rows = profile.sample.num_rows
            places = np.unique(np.linspace(0, max(0, rows - 1), min(_SAMPLED, rows)).astype(int))
            images = profile.sample.column(self.column).take(pa.array(places, pa.int64()))
            for value in _plain(images).to_pylist():
                data = self._data(profile.file, value)
                try:
                    gray += [is_grayscale(data)] if isinstance(data, bytes) else []
                except DataError:
                    continue  # reading the rows makes a dead letter of it
        return ImageShape(encoding="bytes", height=None, width=None, channels=1 if gray and all(gray) else 3)

    def pieces(self) -> list[Piece]:
        return self.table.pieces()

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        """Batches of `_BATCH_FILES`; a row whose image is not there is a dead letter."""
        for batch in self.table.read(piece):
            dead = batch.dead
            for start in range(0, batch.columns.num_rows, _BATCH_FILES):
                part = batch.columns.slice(start, _BATCH_FILES)
                yield self._loaded(batch, start, part, dead)
                dead = ()
            if dead:
                yield self._loaded(batch, 0, batch.columns.slice(0, 0), dead)

    def image_files(self) -> Iterator[str]:
        """The files that the table names."""
        for piece in self.pieces():
            for batch in self.table.read(piece):
                images = _plain(batch.columns.column(self.column))
                if _is_text(images.type):
                    paths = (
                        _absolute(batch.file(row), str(path)) for row, path in enumerate(images.to_pylist()) if path
                    )
                    yield from (path for path in paths if "://" not in path or path.startswith("gs://"))

    def _loaded(self, batch: RowBatch, start: int, part: pa.RecordBatch, dead: tuple[DeadLetter, ...]) -> RowBatch:
        letters = list(dead)
        kept: list[int] = []
        files: list[bytes] = []
        for place, value in enumerate(_plain(part.column(self.column)).to_pylist()):
            file, row = batch.file(start + place), int(batch.rows[start + place])
            data = self._data(file, value)
            if isinstance(data, str):
                shown = value if isinstance(value, str) else ""
                letters.append(DeadLetter.of(file=file, row=row, column=self.column, value=shown, reason=data))
            else:
                kept.append(place)
                files.append(data)
        rows = pa.array(kept, pa.int64())
        more = [name for name in (self.key, self.weight) if name is not None and name in part.schema.names]
        names = list(dict.fromkeys([self.label, *more]))
        if self.mixed:
            names = [name for name in part.schema.names if name != self.column]
        arrays = [pa.array(files, pa.large_binary()), *(part.column(name).take(rows) for name in names)]
        owners = batch.files if len(batch.files) == 1 else tuple(batch.files[start + place] for place in kept)
        return RowBatch(
            files=owners,
            rows=batch.rows[start : start + part.num_rows][kept],
            columns=pa.RecordBatch.from_arrays(arrays, names=[IMAGE, *names]),
            dead=tuple(letters),
        )

    def _data(self, file: str, value: Any) -> bytes | str:
        """The encoded image, or why there is none."""
        if isinstance(value, bytes):
            return value
        path = str(value or "").strip()
        if not path:
            return NO_PATH
        image = _absolute(file, path)
        if "://" in image and not image.startswith(("gs://", "file://")):
            return _SCHEME
        try:
            return content(image)
        except DataError:
            return NO_FILE


def image_fingerprints(source: ImageTable) -> dict[str, str]:
    """Of every image file; one that is not there has its own mark, so that it is noticed when it comes."""
    found = {}
    for file in source.image_files():
        try:
            found[file] = storage_for(file).fingerprint(file)
        except (FileNotFoundError, NotADirectoryError):
            found[file] = "missing"
    return found


def _absolute(table: str, path: str) -> str:
    path = path.strip()
    if "://" in path or path.startswith("/"):
        return path
    return f"{table.rpartition('/')[0]}/{path}"


def _plain(images: pa.Array) -> pa.Array:
    """Without dictionary encoding; the field ``bytes`` of a struct."""
    if pa.types.is_dictionary(images.type):
        images = images.dictionary_decode()
    return pc.struct_field(images, "bytes") if pa.types.is_struct(images.type) else images


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))
