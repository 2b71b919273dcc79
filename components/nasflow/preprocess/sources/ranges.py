"""Where a text file can be cut so that several workers read it: between records, with the number of each one's first
row. Found by one cheap scan that looks for line ends and quotation marks only.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.storage import storage_for
from nasflow.preprocess.sources._base import Piece
from nasflow.preprocess.sources.files import COMPRESSED, opened

RANGE_BYTES = 32 << 20
"""Files of more than twice as many bytes are cut."""
_CHUNK_BYTES = 4 << 20
_NEWLINE, _RETURN, _QUOTE = b'\n\r"'
_UNQUOTED_ENDS = (_NEWLINE, _RETURN, _QUOTE)


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """Bytes [start, stop) of a file."""

    start: int
    stop: int
    first: int
    """The number of the first record, from 1."""
    records: int
    """How many there are; one more where the file's last one has no line end."""


class IrregularError(Exception):
    """Quotation marks, or line ends, that only a parser can make sense of."""


def record_ends(chunk: NDArray[np.uint8], delimiter: str, *, quoted: bool) -> tuple[NDArray[np.int64], bool]:
    """Places just behind the line ends that end a CSV record, and whether the chunk ends inside quotation marks.

    The chunk, uint8 [n], begins where a line does (inside quotation marks, if `quoted`) and ends where one ends.

    A quotation mark opens a value only at the value's beginning and closes it only at its end; where all of them are at
    such places, a line end is inside a value exactly if an odd number of them are before it.

    Raises:
        IrregularError: a quotation mark is elsewhere, or a carriage return ends a line alone.
    """
    lines = np.flatnonzero(chunk == _NEWLINE)
    marks = np.flatnonzero(chunk == _QUOTE)
    if len(marks):
        ends = np.zeros(256, bool)
        ends[[*_UNQUOTED_ENDS, ord(delimiter)]] = True
        first, last = int(quoted), len(chunk) - 1
        opening, closing = marks[first::2], marks[1 - first :: 2]
        begins = ends[chunk[np.maximum(opening - 1, 0)]] | (opening == 0)
        if not (begins.all() and (ends[chunk[np.minimum(closing + 1, last)]] | (closing == last)).all()):
            raise IrregularError
        outside = (np.searchsorted(marks, lines) + quoted) % 2 == 0
        lines = lines[outside]
        quoted ^= bool(len(marks) & 1)
    elif quoted:
        lines = lines[:0]
    if (returns := np.flatnonzero(chunk == _RETURN)).size:
        behind = chunk[np.minimum(returns + 1, len(chunk) - 1)]
        if not ((behind == _NEWLINE) & (returns + 1 < len(chunk))).all():
            raise IrregularError
    return lines + 1, quoted


def last_end(chunk: bytes, delimiter: str, *, quoted: bool, regular: bool) -> tuple[int, bool]:
    """The last of `record_ends` (0 where there is none; a last line without a line end ends with the chunk), and
    whether the chunk ends inside quotation marks. What is known to be `regular` is not looked at closely.

    Raises:
        IrregularError: see `record_ends`; not where `regular`.
    """
    seen = np.frombuffer(chunk, np.uint8)
    whole = chunk.endswith(b"\n")
    if regular and whole and not quoted ^ (np.count_nonzero(seen == _QUOTE) & 1):
        return len(chunk), False
    ends, quoted = record_ends(seen, delimiter, quoted=quoted)
    if not whole and not quoted:  # the file's last record
        return len(chunk), quoted
    return int(ends[-1]) if len(ends) else 0, quoted


def _empty_records(chunk: NDArray[np.uint8], ends: NDArray[np.int64], start: int) -> int:
    """How many records hold nothing, which CSV passes over: of those that end at `ends`, the first begins at
    `start`."""
    begins = np.concatenate([[start], ends[:-1]])
    sizes = ends - begins - 1
    return int(((sizes == 0) | ((sizes == 1) & (chunk[np.minimum(begins, len(chunk) - 1)] == _RETURN))).sum())


def csv_ranges(file: str, delimiter: str, *, header: bool) -> list[Range] | None:
    """A CSV file's ranges; None where it is small, packed, or irregular. The header is in the first one."""
    return _ranges(file, storage_for(file).fingerprint(file), _CsvScan, (delimiter, header))


def line_ranges(file: str) -> list[Range] | None:
    """The same for a file whose records are its lines, empty ones too."""
    return _ranges(file, storage_for(file).fingerprint(file), _LineScan, ())


def pieces(file: str, cut: Sequence[Range] | None) -> list[Piece]:
    """A piece for each range; the file as one piece where it was not cut."""
    if cut is None:
        return [Piece(files=(file,))]
    return [Piece(files=(file,), start=r.start, stop=r.stop, first_row=r.first, rows=r.records) for r in cut]


@lru_cache(maxsize=1024)
def _ranges(file: str, fingerprint: str, scan: Callable[..., Any], options: tuple[Any, ...]) -> list[Range] | None:
    """Remembered: each pass over the data asks again. `fingerprint` is here so that a changed file is looked at."""
    if file.lower().endswith(COMPRESSED):
        return None
    with opened(file) as handle:
        size = handle.seek(0, 2)
        if size <= 2 * RANGE_BYTES:
            return None
        handle.seek(0)
        try:
            return list(_cut(handle, scan(*options)))
        except IrregularError:
            return None


def _cut(handle: IO[bytes], scan: Any) -> Iterator[Range]:
    start, first, place, last = 0, 1, 0, 0
    for chunk in chunks(handle, _CHUNK_BYTES):
        end = scan.look(np.frombuffer(chunk, np.uint8))
        if end is not None:
            last = place + end
        place += len(chunk)
        if last - start >= RANGE_BYTES:
            yield Range(start, last, first, scan.records + 1 - first)
            start, first = last, scan.records + 1
    if place > start:
        yield Range(start, place, first, scan.records + 1 - first)


def chunks(handle: Any, size: int) -> Iterator[bytes]:
    """About `size` bytes at a time, each cut behind a line end, but for the last."""
    while chunk := handle.read(size):
        yield chunk if chunk.endswith(b"\n") else chunk + handle.readline()


class Section:
    """The next `size` bytes of a reader."""

    def __init__(self, handle: Any, size: int) -> None:
        self._handle, self._left = handle, size

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        return self._took(self._handle.read(min(size, self._left)))

    def readline(self) -> bytes:
        """To the end of the line."""
        return self._took(self._handle.readline(self._left))

    def _took(self, data: bytes) -> bytes:
        self._left -= len(data)
        return data


class _CsvScan:
    """Counts the records up to the last end that was found."""

    def __init__(self, delimiter: str, header: bool) -> None:  # noqa: FBT001  # a tuple of hashable options
        self.records = -int(header)
        self._delimiter, self._quoted = delimiter, False
        self._begun = False
        """Whether a record has begun in an earlier chunk."""

    def look(self, chunk: NDArray[np.uint8]) -> int | None:
        """Where the last record of the chunk ends."""
        ends, self._quoted = record_ends(chunk, self._delimiter, quoted=self._quoted)
        if not len(ends):
            self._begun = True
            return None
        empty = _empty_records(chunk, ends[1:], int(ends[0]))
        empty += 0 if self._begun else _empty_records(chunk, ends[:1], 0)
        self.records += len(ends) - empty
        self._begun = int(ends[-1]) < len(chunk)
        return int(ends[-1])


class _LineScan:
    """Counts lines."""

    def __init__(self) -> None:
        self.records = 0

    def look(self, chunk: NDArray[np.uint8]) -> int | None:
        """Where the last line ends: with the chunk."""
        self.records += int(np.count_nonzero(chunk == _NEWLINE))
        return len(chunk)
