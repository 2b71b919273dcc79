"""JSON lines: one object a line, read in blocks of whole lines; long files are cut into ranges that are read alone."""

import dataclasses
import io
import itertools
import json
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.json as pj

from nasflow.core.errors import DataError
from nasflow.preprocess.dead_letters import DeadLetter
from nasflow.preprocess.sources._base import SAMPLE_ROWS, Piece, Profile, RowBatch
from nasflow.preprocess.sources.files import decompressed
from nasflow.preprocess.sources.ranges import Section, chunks, line_ranges, pieces
from nasflow.preprocess.sources.records import Fields

BLOCK_BYTES = 8 << 20
NOT_JSON = "not JSON"
NOT_AN_OBJECT = "not a JSON object"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JsonLines:
    """One or more files (``.jsonl``, ``.ndjson``, also compressed). A name that a line lacks is a missing value."""

    files: tuple[str, ...]
    fields: Fields
    form: str = "JSON lines"
    kind: Literal["table", "image"] = "table"
    text: bool = False

    @classmethod
    def of(cls, files: tuple[str, ...], label: str) -> "JsonLines":
        """Looks at the beginning of each file.

        Raises:
            DataError: no line of a file is a JSON object.
        """
        return cls(files=files, fields=Fields.infer((row for file in files for row in _beginning(file)), label))

    def pieces(self) -> list[Piece]:
        """Of a long file, ranges of about `ranges.RANGE_BYTES`."""
        return [piece for file in self.files for piece in pieces(file, line_ranges(file))]

    def profiles(self) -> Iterator[Profile]:
        for file in self.files:
            yield self.fields.profile(file, list(_beginning(file)))

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        """Batches of about `BLOCK_BYTES`. Rows are numbered by line."""
        (file,) = piece.files
        first = piece.first_row
        with decompressed(file) as handle:
            if piece.start:
                handle.seek(piece.start)
            section = Section(handle, piece.stop - piece.start) if piece.stop else handle
            for chunk in chunks(section, BLOCK_BYTES):
                lines = io.BytesIO(chunk).readlines()
                yield self._fast(file, first, lines) or self._slow(file, first, lines)
                first += len(lines)

    def _fast(self, file: str, first: int, lines: list[bytes]) -> RowBatch | None:
        """Arrow's parser, where every line is what the sample promised; else None."""
        filled = [place for place, line in enumerate(lines) if line.strip()]
        known = [(name, kind) for name, kind in self.fields.types if kind not in ("null", "other", "binary")]
        expected = pa.schema([self.fields.schema.field(name) for name, _ in known])
        more = "error" if len(known) == len(self.fields.types) else "infer"
        block = b"".join(lines)
        try:
            block.decode()
            table = pj.read_json(
                io.BytesIO(block),
                read_options=pj.ReadOptions(use_threads=False, block_size=len(block) + 1),
                parse_options=pj.ParseOptions(explicit_schema=expected, unexpected_field_behavior=more),
            )
        except (pa.ArrowException, UnicodeDecodeError):
            return None
        if table.num_rows != len(filled) or not set(table.schema.names) <= set(self.fields.schema.names):
            return None
        columns = []
        for name, kind in self.fields.types:
            if kind in ("null", "other", "binary"):
                columns.append(pa.nulls(len(filled), self.fields.schema.field(name).type))
            else:
                columns.append(table[name].combine_chunks())
        batch = pa.RecordBatch.from_arrays(columns, schema=self.fields.schema)
        return RowBatch(files=(file,), rows=np.asarray(filled, np.int64) + first, columns=batch)

    def _slow(self, file: str, first: int, lines: list[bytes]) -> RowBatch:
        rows: list[dict[str, Any]] = []
        numbers: list[int] = []
        dead: list[DeadLetter] = []
        for number, line in enumerate(lines, start=first):
            if not line.strip():
                continue
            row = _parsed(line)
            if isinstance(row, str):
                value = line[:1000].decode("utf-8", "replace").rstrip("\r\n")
                dead.append(DeadLetter.of(file=file, row=number, column="", value=value, reason=row))
            else:
                rows.append(row)
                numbers.append(number)
        return self.fields.batch(file, numbers, rows, dead)


def _parsed(line: bytes) -> dict[str, Any] | str:
    """The object, or why it is none."""
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return NOT_JSON
    return row if isinstance(row, dict) else NOT_AN_OBJECT


def _beginning(file: str) -> Iterator[dict[str, Any]]:
    found = False
    with decompressed(file) as handle:
        for line in itertools.islice(handle, SAMPLE_ROWS):
            row = _parsed(line) if line.strip() else ""
            if isinstance(row, dict):
                found = True
                yield row
    if not found:
        raise DataError(f"{file}: no line of its first {SAMPLE_ROWS:,} is a JSON object; expected one object a line")
