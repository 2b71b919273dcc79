"""CSV files: all values are read as text. A file is one piece, because a quoted value may hold a line break."""

import codecs
import contextlib
import csv
import dataclasses
import io
from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO, Any, Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.core.spec import CsvSection
from nasflow.preprocess.dead_letters import DeadLetter
from nasflow.preprocess.sources._base import SAMPLE_ROWS, Piece, Profile, RowBatch
from nasflow.preprocess.sources.files import Stream, decompressed

MISSING = ("", "?", "NA", "N/A", "n/a", "null", "NULL", "Null", "NaN", "nan", "NAN")
"""Texts that mean "no value"."""
BLOCK_BYTES = 8 << 20
_DELIMITERS = ",;\t|"
_HEADER_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CsvSource:
    """One or more files (``.csv``, ``.tsv``, also compressed), written as `options` says."""

    files: tuple[str, ...]
    options: CsvSection
    form: str = "CSV"
    kind: Literal["table", "image"] = "table"
    text: bool = True

    def pieces(self) -> list[Piece]:
        return [Piece(files=(file,)) for file in self.files]

    def profiles(self) -> Iterator[Profile]:
        for file in self.files:
            batches = self.read(Piece(files=(file,)))
            batch = next((batch for batch in batches if batch.columns.num_rows), None)
            if batch is None:
                raise DataError(f"{file}: a header, but no rows; name a file with data")
            sample = batch.columns.slice(0, SAMPLE_ROWS)
            yield Profile(file=file, schema=sample.schema, sample=sample)

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        """Batches of about `BLOCK_BYTES`; rows with a wrong number of fields come as dead letters."""
        (file,) = piece.files
        names, delimiter = _header(file, self.options)
        skip_rows = int(self.options.header)
        broken: list[tuple[int, str, str]] = []

        def skip(row: Any) -> str:
            reason = f"expected {row.expected_columns} fields, found {row.actual_columns}"
            broken.append((row.number - skip_rows, row.text or "", reason))  # Arrow counts the header as row 1
            return "skip"

        numbers = _Numbers()
        with _open(file, self.options) as handle, _damage_is_users(file, self.options):
            reader = pc.open_csv(
                handle,
                read_options=pc.ReadOptions(
                    use_threads=False, block_size=BLOCK_BYTES, column_names=names, skip_rows=skip_rows
                ),
                parse_options=pc.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip),
                convert_options=pc.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=MISSING
                ),
            )
            for batch in reader:
                letters, broken[:] = tuple(_letters(file, broken)), []
                rows = numbers.take(batch.num_rows, [letter.row for letter in letters])
                if batch.num_rows or letters:
                    yield RowBatch(files=piece.files, rows=rows, columns=batch, dead=letters)
            if broken:
                nothing = RowBatch(files=piece.files, rows=numbers.take(0, []), columns=batch.slice(0, 0))
                yield dataclasses.replace(nothing, dead=tuple(_letters(file, broken)))


class _Numbers:
    """Gives good rows their place in the file, stepping over the broken ones."""

    def __init__(self) -> None:
        self._next = 1
        self._broken: list[int] = []

    def take(self, count: int, broken: list[int]) -> NDArray[np.int64]:
        """Numbers of the next `count` good rows; `broken` may already name rows behind them."""
        self._broken = [row for row in [*self._broken, *broken] if row >= self._next]
        candidates = np.arange(self._next, self._next + count + len(self._broken), dtype=np.int64)
        rows = np.setdiff1d(candidates, np.array(self._broken, np.int64), assume_unique=True)[:count]
        if count:
            self._next = int(rows[-1]) + 1
        return rows


def _letters(file: str, broken: list[tuple[int, str, str]]) -> Iterator[DeadLetter]:
    for row, text, reason in broken:
        yield DeadLetter.of(file=file, row=row, column="", value=text, reason=reason)


def _header(file: str, options: CsvSection) -> tuple[list[str], str]:
    """Column names (spaces around them stripped) and the delimiter, the most frequent in the first line."""
    with _open(file, options) as handle, _damage_is_users(file, options):
        line = handle.readline(_HEADER_BYTES).decode("utf-8-sig").rstrip("\r\n")
    if not line.strip():
        what = "the first line must name the columns" if options.header else "name a file with data"
        raise DataError(f"{file}: empty; {what}")
    likely = "\t" + _DELIMITERS if ".tsv" in file.lower() else _DELIMITERS
    delimiter = options.delimiter or max(likely, key=line.count)
    first = next(csv.reader([line], delimiter=delimiter))
    if options.columns and len(first) != len(options.columns):
        raise DataError(
            f"{file}: its first line has {len(first)} fields ({line[:80]!r}), but data.csv.columns names "
            f"{len(options.columns)}; make them as many, or set data.csv.delimiter or data.csv.comment"
        )
    names = [name.strip() for name in options.columns or first]
    names = [name or f"unnamed_{place}" for place, name in enumerate(names, start=1)]
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise DataError(f"{file}: the header names {twice[0]!r} more than once; give each column its own name")
    return names, delimiter


@contextlib.contextmanager
def _open(file: str, options: CsvSection) -> Iterator[IO[bytes]]:
    """The file as UTF-8, without comment lines."""
    with decompressed(file) as handle:
        stream = handle
        if codecs.lookup(options.encoding).name not in ("utf-8", "utf-8-sig"):
            stream = _buffered(_Recoded(stream, options.encoding).read)
        if options.comment:
            stream = _buffered(_Uncommented(stream, options.comment.encode()).read)
        yield stream


def _buffered(read: Callable[[int], bytes]) -> IO[bytes]:
    return cast("IO[bytes]", io.BufferedReader(Stream(read), 1 << 20))


class _Recoded:
    """Bytes of another encoding as UTF-8."""

    def __init__(self, handle: IO[bytes], encoding: str) -> None:
        self._handle = handle
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = b""

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        while not self._ready:
            data = self._handle.read(size)
            self._ready = self._decoder.decode(data, final=not data).encode()
            if not data:
                break
        found, self._ready = self._ready[:size], self._ready[size:]
        return found


class _Uncommented:
    """Lines, but for those that begin with a mark outside quotation marks."""

    def __init__(self, handle: IO[bytes], mark: bytes) -> None:
        self._handle, self._mark = handle, mark
        self._quoted = False
        self._ready = b""

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        while not self._ready:
            lines = self._handle.readlines(max(size, 1 << 16))
            if not lines:
                break
            self._ready = b"".join(line for line in lines if self._is_kept(line))
        found, self._ready = self._ready[:size], self._ready[size:]
        return found

    def _is_kept(self, line: bytes) -> bool:
        if not self._quoted and line.removeprefix(codecs.BOM_UTF8).startswith(self._mark):
            return False
        self._quoted ^= bool(line.count(b'"') & 1)
        return True


@contextlib.contextmanager
def _damage_is_users(file: str, options: CsvSection) -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        message = str(error).splitlines()[0]
        if "Empty CSV file" in message:
            return  # a header and nothing behind it: no rows
        if "straddling" in message or "out of sync" in message:
            message = f"a row is longer than {BLOCK_BYTES >> 20} MiB: is a quotation mark left open?"
        elif "UTF8" in message:
            message += "; name its encoding in data.csv.encoding, e.g. latin-1"
        raise DataError(f"{file}: not a readable CSV file: {message}") from error
    except UnicodeError as error:
        raise DataError(
            f"{file}: not {options.encoding.upper()} text ({getattr(error, 'reason', error)}); name its encoding in "
            "data.csv.encoding, e.g. latin-1"
        ) from error
