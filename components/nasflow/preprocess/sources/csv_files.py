"""CSV files: what the values mean is decided from text; long files are cut into ranges that are read alone."""

import codecs
import contextlib
import csv
import dataclasses
import io
from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO, Literal, cast

import pyarrow as pa

from nasflow.core.errors import DataError
from nasflow.core.spec import CsvSection
from nasflow.preprocess.sources._base import SAMPLE_ROWS, Piece, Profile, RowBatch, Want
from nasflow.preprocess.sources.csv_blocks import BLOCK_BYTES, BlockParser
from nasflow.preprocess.sources.csv_numbers import Style
from nasflow.preprocess.sources.files import Stream, decompressed
from nasflow.preprocess.sources.ranges import Range, Section, csv_ranges, pieces

MISSING = ("", "?", "NA", "N/A", "n/a", "null", "NULL", "Null", "NaN", "nan", "NAN")
"""Texts that mean "no value"."""
_DELIMITERS = ",;\t|"
_HEADER_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CsvSource:
    """One or more files (``.csv``, ``.tsv``, also compressed), written as `options` says."""

    files: tuple[str, ...]
    options: CsvSection
    want: Want | None = None
    """None: every column, as text."""
    form: str = "CSV"
    kind: Literal["table", "image"] = "table"
    text: bool = True

    def only(self, want: Want) -> "CsvSource":
        return dataclasses.replace(self, want=want)

    def pieces(self) -> list[Piece]:
        """Of a long file, ranges of about `ranges.RANGE_BYTES`."""
        return [piece for file in self.files for piece in pieces(file, self._ranges(file))]

    def profiles(self) -> Iterator[Profile]:
        for file in self.files:
            batches = dataclasses.replace(self, want=None).read(Piece(files=(file,)))
            batch = next((batch for batch in batches if batch.columns.num_rows), None)
            if batch is None:
                raise DataError(f"{file}: a header, but no rows; name a file with data")
            sample = batch.columns.slice(0, SAMPLE_ROWS)
            yield Profile(file=file, schema=sample.schema, sample=sample)

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        """Batches of about `BLOCK_BYTES`; rows with a wrong number of fields come as dead letters."""
        (file,) = piece.files
        names, delimiter = _header(file, self.options)
        style = Style(self.options.decimal, self.options.thousands)
        parser = BlockParser(
            file=file, names=tuple(names), delimiter=delimiter, want=self.want, missing=MISSING, style=style
        )
        with _open(file, self.options) as handle, _damage_is_users(file, self.options):
            if piece.start:
                handle.seek(piece.start)
            elif self.options.header:
                handle.readline(_HEADER_BYTES)
            section = Section(handle, piece.stop - handle.tell()) if piece.stop else handle
            yield from parser.batches(section, piece.first_row, regular=bool(piece.stop))

    def _ranges(self, file: str) -> list[Range] | None:
        plain = codecs.lookup(self.options.encoding).name in ("utf-8", "utf-8-sig") and not self.options.comment
        if not plain:
            return None
        _, delimiter = _header(file, self.options)
        return csv_ranges(file, delimiter, header=self.options.header)


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
        likely = "utf-16" if _begins_as_utf16(file) else "latin-1"
        raise DataError(
            f"{file}: not {options.encoding.upper()} text ({getattr(error, 'reason', error)}); name its encoding in "
            f"data.csv.encoding, e.g. {likely}"
        ) from error


def _begins_as_utf16(file: str) -> bool:
    with decompressed(file) as handle:
        return handle.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
