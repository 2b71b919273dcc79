"""Writes the transformed rows of one piece: a shard for each split, the same bytes every time."""

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.core.artifacts import SPLITS, Shard, Split
from nasflow.core.storage import join
from nasflow.data.layout import LABEL, SUFFIX, WEIGHT, Stored, layout, schema
from nasflow.data.tensors import is_whole
from nasflow.data.transform import TransformSpec
from nasflow.preprocess.publish import publish, writing_folder

GROUP_ROWS = 16_384
_GROUP_BYTES = 8 << 20
_BLOCK = 2_048
"""Rows that are laid side by side at once: they stay in the processor's cache while their columns come in."""


class ShardWriter:
    """The shards of one piece, written to a temporary folder and uploaded whole by `finish`.

    Record batches are cut at a fixed number of rows, so that the size of the batches that come in leaves no trace.
    """

    def __init__(self, transform: TransformSpec, uri: str, index: int) -> None:
        self._uri, self._index = uri, index
        self._stored = layout(transform)
        row_bytes = sum(max(1, one.size) * np.dtype(one.dtype).itemsize for one in self._stored)
        self._group_rows = max(64, min(GROUP_ROWS, _GROUP_BYTES // row_bytes))
        self._files: dict[Split, _File] = {}
        self._folder = writing_folder(uri)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        self._folder.cleanup()

    def write(
        self,
        columns: Mapping[str, NDArray[Any]],
        labels: NDArray[Any],
        places: NDArray[np.integer[Any]],
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        """Adds rows.

        Args:
            columns: What `nasflow.data.apply.apply_columns` gives.
            labels: Class ids, or targets.
            places: Each row's place in `SPLITS`.
            weights: Where the transform names a column of them.
        """
        scalars = {LABEL: labels} | ({} if weights is None else {WEIGHT: weights})
        packed = [self._packed(one, columns, scalars) for one in self._stored]
        for number, split in enumerate(SPLITS):
            rows = np.flatnonzero(places == number)
            if len(rows):
                if split not in self._files:
                    path = Path(self._folder.name, f"{split}{SUFFIX}")
                    self._files[split] = _File(path, self._stored, self._group_rows)
                self._files[split].write(packed, rows)

    def finish(self) -> dict[Split, Shard]:
        """Uploads; splits without rows have no shard."""
        shards: dict[Split, Shard] = {}
        for split in SPLITS:
            if split in self._files:
                file = self._files[split]
                file.close()
                uri = join(self._uri, split, f"part-{self._index:05d}{SUFFIX}")
                publish(file.path, uri)
                shards[split] = Shard(uri=uri, size=file.size, sha256=file.sha256, rows=file.rows)
        return shards

    @staticmethod
    def _packed(one: Stored, columns: Mapping[str, NDArray[Any]], scalars: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        if not one.parts:
            return scalars[one.name].astype(one.dtype, copy=False)
        if is_whole(one.tensor):
            return columns[one.parts[0]].astype(one.dtype, copy=False)
        rows = len(scalars[LABEL])
        packed = np.empty((rows, one.size), one.dtype)
        found = [columns[name] for name in one.parts]
        for start in range(0, rows, _BLOCK):
            block = packed[start : start + _BLOCK]
            for place, values in enumerate(found):
                block[:, place] = values[start : start + _BLOCK]
        return packed


class _File:
    """One Arrow IPC file; its digest is taken while it is written."""

    def __init__(self, path: Path, stored: tuple[Stored, ...], group_rows: int) -> None:
        self.path = path
        self.rows = 0
        self._stored, self._group_rows = stored, group_rows
        self._pending = [np.empty((group_rows, *one.shape), one.dtype) for one in stored]
        self._filled = 0
        self._schema = schema(stored)
        self._closing = contextlib.ExitStack()
        self._digest = _Digest(self._closing.enter_context(path.open("wb")))
        self._writer = self._closing.enter_context(pa.ipc.new_file(self._digest, self._schema))
        self._closed = False

    @property
    def size(self) -> int:
        """Bytes written."""
        return self._digest.size

    @property
    def sha256(self) -> str:
        """Of these bytes."""
        return self._digest.sha256.hexdigest()

    def write(self, packed: list[NDArray[Any]], rows: NDArray[np.integer[Any]]) -> None:
        """Adds some rows of a batch."""
        self.rows += len(rows)
        while len(rows):
            taken = rows[: self._group_rows - self._filled]
            for pending, values in zip(self._pending, packed, strict=True):
                np.take(values, taken, axis=0, out=pending[self._filled : self._filled + len(taken)], mode="clip")
            self._filled += len(taken)
            rows = rows[len(taken) :]
            if self._filled == self._group_rows:
                self._flush()

    def close(self) -> None:
        """Writes what is left."""
        if not self._closed:
            self._closed = True
            with self._closing:
                self._flush()

    def _flush(self) -> None:
        if self._filled:
            arrays = [
                one.array(pending[: self._filled]) for one, pending in zip(self._stored, self._pending, strict=True)
            ]
            self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
            self._filled = 0


class _Digest:
    """A file that is hashed as it is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256, self.size = hashlib.sha256(), 0
        self.closed = False

    def write(self, data: Any) -> int:
        """All of it."""
        self.sha256.update(data)
        self.size += memoryview(data).nbytes
        return self._file.write(data)

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """The file is closed by who opened it."""
        self.closed = True
