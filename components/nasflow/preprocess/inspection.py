"""A bounded, uniform sample of each split's rows, kept whole: what is found by looking at rows rather than columns
(leaks, drift, suspect labels, histograms by split) looks at it.

A row's rank is a hash of its content and of its place in its file. The rows with the smallest ranks are the sample, so
it is the same in any batch size and shard order, and a row that occurs a thousand times has a thousand ranks.
"""

import dataclasses
import posixpath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.core.artifacts import SPLITS
from nasflow.data.codes import Codes
from nasflow.data.schema import LIST_SEPARATOR
from nasflow.preprocess.clean import CleanRows
from nasflow.preprocess.plan import Plan
from nasflow.preprocess.split import occurrence_ranks

SAMPLE_ROWS = {"train": 5_000, "validation": 2_000, "test": 2_000}
_SAMPLE_CELLS = 1_500_000
_LEAST_ROWS = 500
_TEXT_LENGTH = 100
THUMBNAIL = 16
"""Height and width of the grey pictures that stand for images."""
LABEL, FILE, ROW, IMAGE = "label", "file", "row", "image"
FEATURE = "feature/"
"""Prefix of a feature's column in a frame, so that no name can collide."""
PROSE = "text/"
"""Prefix of a column of kind text."""
_PROSE_LENGTH = 1_000
_EXACT = 1 << 24
"""float32 holds all whole numbers up to here."""
_PIXELS_AT_ONCE = 1 << 18


@dataclasses.dataclass(slots=True)
class RowSample:
    """The `size` rows of smallest rank, as an Arrow table. Memory is at most twice the sample."""

    size: int
    ranks: NDArray[np.uint64] = dataclasses.field(default_factory=lambda: np.empty(0, np.uint64))
    rows: Any = None
    """pa.Table, or None while empty."""

    def wanted(self, ranks: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Places of a batch's rows that could enter, in order."""
        places = np.arange(len(ranks))
        if len(self.ranks) >= self.size:
            places = places[ranks < np.partition(self.ranks, self.size - 1)[self.size - 1]]
        if len(places) > self.size:
            places = np.sort(places[np.argsort(ranks[places], kind="stable")[: self.size]])
        return places

    def add(self, ranks: NDArray[np.uint64], rows: pa.Table) -> None:
        """Offers rows."""
        self.ranks = np.concatenate([self.ranks, ranks])
        self.rows = rows if self.rows is None else pa.concat_tables([self.rows, rows])
        if len(self.ranks) > 2 * self.size:
            self.compact()

    def merge(self, other: "RowSample") -> None:
        """Offers another's rows."""
        if other.rows is not None:
            self.add(other.ranks, other.rows)

    def compact(self) -> pa.Table | None:
        """The sample itself, smallest rank first; None where there are no rows."""
        if self.rows is not None:
            order = np.argsort(self.ranks, kind="stable")[: self.size]
            self.ranks, self.rows = self.ranks[order], self.rows.take(pa.array(order)).combine_chunks()
        return self.rows


@dataclasses.dataclass(slots=True)
class Inspection:
    """A sample of each split. Mergeable."""

    samples: dict[str, RowSample]
    texts: frozenset[str] = frozenset()
    """Columns of kind text."""

    @classmethod
    def start(cls, plan: Plan) -> "Inspection":
        """Nothing seen yet. Wide tables have fewer rows in their samples."""
        most = max(_LEAST_ROWS, _SAMPLE_CELLS // max(1, len(plan.columns)))
        texts = frozenset(column.name for column in plan.columns if column.kind == "text")
        return cls({split: RowSample(min(SAMPLE_ROWS[split], most)) for split in SPLITS}, texts)

    def update(self, rows: CleanRows, places: NDArray[np.int8], priorities: NDArray[np.uint64]) -> None:
        """Offers cleaned rows; `places` and `priorities` as `place_rows` gives them."""
        ranks = row_ranks(rows, priorities)
        for number, split in enumerate(SPLITS):
            chosen = np.flatnonzero(places == number)
            sample = self.samples[split]
            chosen = chosen[sample.wanted(ranks[chosen])]
            if len(chosen):
                sample.add(ranks[chosen], sampled(rows.take(chosen), self.texts))

    def merge(self, other: "Inspection") -> None:
        """Adds the findings of the part that comes after this one."""
        for split, sample in self.samples.items():
            sample.merge(other.samples[split])

    def frames(self) -> dict[str, bytes]:
        """Each split's sample as an Arrow IPC stream; splits without rows are left out."""
        found = {split: sample.compact() for split, sample in self.samples.items()}
        return {split: _encode(table) for split, table in found.items() if table is not None}


def row_ranks(rows: CleanRows, priorities: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """uint64 [rows]: uniform, and another one for each occurrence of a repeated row."""
    name = posixpath.basename(rows.batch.files[0]) if len(rows.batch.files) == 1 else ""  # else a file is one row
    return occurrence_ranks(priorities, np.asarray(rows.batch.rows)[rows.kept], name)


def decode_frames(frames: dict[str, bytes]) -> dict[str, pa.Table]:
    """What `Inspection.frames` encoded: columns ``feature/NAME`` (float64 with NaN, or string), ``image`` (a
    16 × 16 grey picture as binary), ``label``, ``file``, ``row``."""
    return {split: pa.ipc.open_stream(pa.py_buffer(data)).read_all().combine_chunks() for split, data in frames.items()}


def features(frame: pa.Table) -> list[str]:
    """Names of the columns of features, without the prefix."""
    return [name.removeprefix(FEATURE) for name in frame.column_names if name.startswith(FEATURE)]


def prose(frame: pa.Table) -> list[str]:
    """Names of the columns of texts, without the prefix."""
    return [name.removeprefix(PROSE) for name in frame.column_names if name.startswith(PROSE)]


def numbers(frame: pa.Table, name: str) -> NDArray[np.float64] | None:
    """A numeric feature, float64 [rows] with NaN and ±inf as they came; None where it is text."""
    column = frame.column(FEATURE + name)
    return column.to_numpy() if pa.types.is_floating(column.type) else None


def texts(frame: pa.Table, name: str) -> pa.Array:
    """A text feature as Arrow strings [rows], null where missing."""
    return frame.column(FEATURE + name).combine_chunks()


def shrink(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """uint8 [n, height, width] grey means of equal areas, of uint8 [n, any height, any width, channels].

    Sums of whole numbers, which are exact, and one division: the same on every processor.
    """
    rows, old_height, old_width, channels = images.shape
    whole = old_height * old_width * channels
    kind = np.float32 if 255 * whole < _EXACT else np.float64
    down, across = _overlaps(old_height, height).astype(kind), _overlaps(old_width, width).astype(kind)
    found = np.empty((rows, height, width), np.uint8)
    block = max(1, _PIXELS_AT_ONCE // (old_height * old_width))
    for start in range(0, rows, block):
        part = images[start : start + block]
        grey = part[..., 0].astype(kind) if channels == 1 else part.sum(axis=3, dtype=kind)
        # an image at a time: of one large product OpenBLAS's threads would make ten times the CPU seconds
        sums: NDArray[Any] = np.matmul(np.matmul(down, grey), across.T)
        found[start : start + block] = np.rint(sums / kind(whole))
    return found


def _overlaps(size: int, parts: int) -> NDArray[np.int64]:
    """int64 [parts, size]: of each of `parts` equal lengths, what it shares with each place, in 1/`parts` of a place.

    >>> _overlaps(3, 2)
    array([[2, 1, 0],
           [0, 1, 2]])
    """
    places, areas = np.arange(size) * parts, np.arange(parts)[:, None] * size
    return np.clip(np.minimum(places + parts, areas + size) - np.maximum(places, areas), 0, None)


def sampled(rows: CleanRows, texts: frozenset[str]) -> pa.Table:
    """Rows as a frame has them, see `decode_frames`; `texts` are the columns of kind text."""
    columns: dict[str, pa.Array] = {}
    for name, values in rows.raw.items():
        if name in texts:
            columns[PROSE + name] = pc.utf8_slice_codeunits(values.text(), 0, _PROSE_LENGTH)
        elif isinstance(values, Codes):
            shown = pc.replace_substring(values.text(), LIST_SEPARATOR, ", ")
            columns[FEATURE + name] = pc.utf8_slice_codeunits(shown, 0, _TEXT_LENGTH)
        elif isinstance(values, np.ndarray) and values.dtype == np.float64 and values.ndim == 1:
            columns[FEATURE + name] = pa.array(values)
    if rows.images is not None:
        flat = pa.py_buffer(np.ascontiguousarray(shrink(rows.images, THUMBNAIL, THUMBNAIL)).reshape(-1))
        kind = pa.binary(THUMBNAIL * THUMBNAIL)
        columns[IMAGE] = pa.FixedSizeBinaryArray.from_buffers(kind, rows.rows, [None, flat])
    columns[LABEL] = rows.labels.text() if isinstance(rows.labels, Codes) else pa.array(rows.labels)
    columns[FILE] = rows.batch.files_of(rows.kept)
    columns[ROW] = pa.array(np.asarray(rows.batch.rows)[rows.kept])
    return pa.table(columns)


def _encode(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
