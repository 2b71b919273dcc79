"""Parses CSV in blocks of whole records. Columns of numbers are parsed as such at once, block by block; a block where
one of them does not parse is read as text, so that the cell can be named.
"""

import dataclasses
import io
import re
from collections.abc import Iterator
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
from numpy.typing import NDArray

from nasflow.preprocess.dead_letters import DeadLetter
from nasflow.preprocess.sources._base import RowBatch, Want
from nasflow.preprocess.sources.csv_numbers import Style
from nasflow.preprocess.sources.files import Stream
from nasflow.preprocess.sources.ranges import IrregularError, chunks, last_end

BLOCK_BYTES = 8 << 20
_Broken = list[tuple[int, str, str]]
"""Row, from 1; its text; what is wrong with it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BlockParser:
    """Of one file."""

    file: str
    names: tuple[str, ...]
    delimiter: str
    want: Want | None
    missing: tuple[str, ...]
    """Texts that mean "no value"."""
    style: Style
    """How its numbers are written."""

    def batches(self, handle: Any, first: int, *, regular: bool = False) -> Iterator[RowBatch]:
        """All records behind the handle's place, which is the beginning of the record with the number `first`.

        `regular`: somebody has looked at every quotation mark and line end (`ranges.record_ends`), and would have
        raised; so they are only counted.
        """
        rest, quoted = b"", False
        for chunk in chunks(handle, BLOCK_BYTES):
            try:
                end, quoted = last_end(chunk, self.delimiter, quoted=quoted, regular=regular)
            except IrregularError:
                yield from self._streamed(rest + chunk, handle, first)
                return
            if not end:
                rest += chunk
                if len(rest) > BLOCK_BYTES:  # a value of many lines, or a quotation mark that was left open
                    break
                continue
            block, rest = rest + chunk[:end], chunk[end:]
            for batch in self._block(block, first):
                first += len(batch.rows) + len(batch.dead)
                yield batch
        if rest:
            yield from self._streamed(rest, handle, first)

    def _block(self, block: bytes, first: int) -> Iterator[RowBatch]:
        if not block.strip(b"\r\n"):
            return
        broken: _Broken = []
        table = self._typed(block, broken) if self.want is not None else None
        if table is None:
            broken.clear()
            try:
                table = self._parse(block, broken, self._as_text())
            except pa.ArrowInvalid as error:
                raise pa.ArrowInvalid(_in_file(str(error), first)) from error
        good, bad = table.num_rows, np.array([row for row, _, _ in broken], np.int64)
        rows = np.delete(np.arange(first, first + good + len(bad)), bad - 1)
        columns = self._plain(table.combine_chunks().to_batches()[0]) if good else _no_rows(table.schema)
        yield RowBatch(files=(self.file,), rows=rows, columns=columns, dead=self._letters(broken, first - 1))

    def _typed(self, block: bytes, broken: _Broken) -> pa.Table | None:
        """None where a number does not parse, or is not-a-number by a name that means no missing value."""
        assert self.want is not None
        kinds = {name: pa.float64() if name in self.want.numbers else _ENCODED for name in self.want.names}
        padded = tuple(f" {text}" for text in self.missing if text)  # numbers may have spaces around them
        options = pv.ConvertOptions(
            column_types=kinds,
            include_columns=list(kinds),
            strings_can_be_null=True,
            null_values=(*self.missing, *padded),
            decimal_point=self.style.decimal,
        )
        try:
            table = self._parse(block, broken, options)
        except pa.ArrowInvalid:
            return None
        odd = any(pc.any(pc.is_nan(table[name])).as_py() for name in self.want.numbers)
        return None if odd else table

    def _plain(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Numbers that are still text, as Arrow and everybody behind it reads them. Nobody knows yet which columns hold
        numbers where all of them are wanted: then what looks like one is."""
        if self.style.usual:
            return batch
        return self.style.plain_columns(batch, None if self.want is None else self.want.written)

    def _as_text(self) -> Any:
        names = self.names if self.want is None else self.want.names
        return pv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=list(names),
            strings_can_be_null=True,
            null_values=self.missing,
        )

    def _parse(self, block: bytes, broken: _Broken, options: Any) -> pa.Table:
        reading = pv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=list(self.names))
        return pv.read_csv(
            pa.BufferReader(block), read_options=reading, parse_options=self._parsing(broken), convert_options=options
        )

    def _streamed(self, begun: bytes, handle: Any, first: int) -> Iterator[RowBatch]:
        """What Arrow makes of records whose ends are not plain to see: all of them, one after the other."""
        broken: _Broken = []
        numbers = _Numbers(first)
        reader = pv.open_csv(
            cast("IO[bytes]", io.BufferedReader(Stream(_Chained(begun, handle).read), 1 << 20)),
            read_options=pv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=list(self.names)),
            parse_options=self._parsing(broken),
            convert_options=self._as_text(),
        )
        for batch in reader:
            letters, broken[:] = self._letters(broken, first - 1), []
            rows = numbers.take(batch.num_rows, [letter.row for letter in letters])
            if batch.num_rows or letters:
                yield RowBatch(files=(self.file,), rows=rows, columns=self._plain(batch), dead=letters)
        if broken:
            nothing = _no_rows(reader.schema)
            letters = self._letters(broken, first - 1)
            yield RowBatch(files=(self.file,), rows=numbers.take(0, []), columns=nothing, dead=letters)

    def _parsing(self, broken: _Broken) -> Any:
        def skip(row: Any) -> str:
            reason = f"expected {row.expected_columns} fields, found {row.actual_columns}"
            broken.append((row.number, row.text or "", reason))
            return "skip"

        return pv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=skip)

    def _letters(self, broken: _Broken, before: int) -> tuple[DeadLetter, ...]:
        return tuple(
            DeadLetter.of(file=self.file, row=before + row, column="", value=text, reason=reason)
            for row, text, reason in broken
        )


def _in_file(message: str, first: int) -> str:
    """Arrow's message with the row's number in the file instead of that in the block that begins with `first`.

    >>> _in_file("Row #3: invalid UTF8 data", 101)
    'row 103: invalid UTF8 data'
    """
    return re.sub(r"Row #(\d+)", lambda found: f"row {first - 1 + int(found[1])}", message)


_ENCODED = pa.dictionary(pa.int32(), pa.string())


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


class _Numbers:
    """Gives good rows their place in the file, stepping over the broken ones."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._broken: list[int] = []

    def take(self, count: int, broken: list[int]) -> NDArray[np.int64]:
        """Numbers of the next `count` good rows; `broken` may already name rows behind them."""
        self._broken = [row for row in [*self._broken, *broken] if row >= self._next]
        candidates = np.arange(self._next, self._next + count + len(self._broken), dtype=np.int64)
        rows = np.setdiff1d(candidates, np.array(self._broken, np.int64), assume_unique=True)[:count]
        if count:
            self._next = int(rows[-1]) + 1
        return rows


class _Chained:
    """Bytes, and what comes behind them."""

    def __init__(self, begun: bytes, handle: Any) -> None:
        self._begun, self._handle = begun, handle

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        if not self._begun:
            return bytes(self._handle.read(size))
        found, self._begun = self._begun[:size], self._begun[size:]
        return found
