"""Long CSV and JSON lines files in ranges: the same rows with the same numbers as from one reader, quoting and all."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.core.spec import CsvSection
from nasflow.preprocess.sources import csv_blocks, json_lines, ranges
from nasflow.preprocess.sources._base import Want
from nasflow.preprocess.sources.csv_files import CsvSource
from nasflow.preprocess.sources.json_lines import JsonLines
from nasflow.preprocess.sources.ranges import IrregularError, last_end, record_ends

WANT = Want(names=("n", "t"), numbers=frozenset({"n"}))
_CELLS = st.sampled_from(["1", "2.5", "", "?", " 3", "x", 'say "hi"', "two\nlines", "a,b", 'end"\n', '"', "é"])


def _rows(source: Any) -> tuple[list[tuple[int, Any, Any]], list[tuple[int, str]]]:
    """(number, n as a float or its text, t) of good rows, and number and reason of bad ones, from all pieces."""
    good, bad = [], []
    for piece in source.pieces():
        for batch in source.read(piece):
            good += zip(batch.rows.tolist(), *(batch.columns.column(name).to_pylist() for name in "nt"), strict=True)
            bad += [(letter.row, letter.reason) for letter in batch.dead]
    return [(row, _plain(n), t) for row, n, t in good], bad


def _plain(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _reference(content: str) -> tuple[list[tuple[int, Any, Any]], list[int]]:
    """By Python's csv module, which numbers no records that are empty."""
    good, bad, number = [], [], 0
    reader = csv.reader(io.StringIO(content, newline=""))
    next(reader)
    for record in reader:
        if not record:
            continue
        number += 1
        if len(record) == 2:
            n, t = (None if cell in ("", "?") else cell for cell in record)
            good.append((number, _plain(n), t))
        else:
            bad.append(number)
    return good, bad


@settings(deadline=None, max_examples=60)
@given(
    records=st.lists(st.lists(_CELLS, min_size=1, max_size=3), min_size=1, max_size=40),
    blanks=st.sets(st.integers(0, 39), max_size=5),
    end=st.sampled_from(["\n", "\r\n"]),
    last_end=st.booleans(),
    block=st.sampled_from([16, 64, 1 << 20]),
    cut=st.sampled_from([8, 40, 1 << 20]),
)
def test_ranges_and_blocks_give_the_rows_that_the_csv_module_gives(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[list[str]],
    blanks: set[int],
    end: str,
    last_end: bool,
    block: int,
    cut: int,
) -> None:
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, lineterminator=end)
    writer.writerow(["n", "t"])
    for place, record in enumerate(records):
        if place in blanks:
            sink.write(end)
        writer.writerow(record if record != [""] else ["1", "1"])  # a record of one empty cell is a blank line
    content = sink.getvalue() if last_end else sink.getvalue().removesuffix(end)
    file = tmp_path_factory.mktemp("csv") / "a.csv"
    file.write_text(content, newline="")
    ranges._ranges.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_blocks, "BLOCK_BYTES", block)
        patch.setattr(ranges, "RANGE_BYTES", cut)
        patch.setattr(ranges, "_CHUNK_BYTES", block)
        source = CsvSource(files=(str(file),), options=CsvSection())
        for chosen in (source, source.only(WANT)):
            good, bad = _rows(chosen)
            expected, broken = _reference(content)
            assert good == expected
            assert [row for row, _ in bad] == broken
        pieces = source.pieces()
    assert pieces[0].start == 0
    assert [piece.start for piece in pieces[1:]] == [piece.stop for piece in pieces[:-1]]
    if len(pieces) > 1:
        assert pieces[-1].stop == file.stat().st_size


def test_a_long_file_is_many_pieces_and_numbers_are_parsed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "RANGE_BYTES", 1000)
    monkeypatch.setattr(ranges, "_CHUNK_BYTES", 100)
    lines = [f'{n}.5,"row\n{n}"' for n in range(1, 501)]
    (tmp_path / "a.csv").write_text("n,t\n" + "\n".join(lines) + "\n")
    source = CsvSource(files=(str(tmp_path / "a.csv"),), options=CsvSection()).only(WANT)
    pieces = source.pieces()
    assert len(pieces) > 5
    first = next(source.read(pieces[3]))
    assert str(first.columns.schema.field("n").type) == "double"
    assert first.rows[0] == pieces[3].first_row > 1
    assert first.columns.column("n")[0].as_py() == first.rows[0] + 0.5
    assert first.columns.column("t")[0].as_py() == f"row\n{first.rows[0]}"


def test_a_cell_that_is_no_number_makes_its_block_text(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    for cell, kind in (("nAn", "string"), ("oops", "string"), (" ?", "double"), ("inf", "double")):
        file.write_text(f"n,t\n1,a\n{cell},b\n")
        source = CsvSource(files=(str(file),), options=CsvSection()).only(WANT)
        (batch,) = source.read(source.pieces()[0])
        assert str(batch.columns.schema.field("n").type) == kind, cell


def test_quotation_marks_at_odd_places_leave_a_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "RANGE_BYTES", 100)
    file = tmp_path / "a.csv"
    file.write_text("n,t\n" + "".join(f'{n},5" pipe\n' for n in range(100)))
    source = CsvSource(files=(str(file),), options=CsvSection())
    assert len(source.pieces()) == 1
    good, bad = _rows(source)
    assert (good[-1], bad) == ((100, 99.0, '5" pipe'), [])
    for text in (b'a"b"\n', b'"a"b\n', b"a\rb\n"):
        with pytest.raises(IrregularError):
            record_ends(np.frombuffer(text, np.uint8), ",", quoted=False)
    ends, quoted = record_ends(np.frombuffer(b'"a\n""\n",1\nx,"\n', np.uint8), ",", quoted=False)
    assert (ends.tolist(), quoted) == ([10], True)


def test_where_every_mark_was_looked_at_they_are_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = {b'1,"a"\n2,b\n': (10, False), b'1,"a\n': (0, True), b'1,a\n2,"b\n': (4, True), b"1,a\n2,b": (7, False)}
    for text, expected in cases.items():
        for regular in (False, True):
            assert last_end(text, ",", quoted=False, regular=regular) == expected, text
    assert last_end(b'x",1\n2,b\n', ",", quoted=True, regular=True) == (9, False)
    monkeypatch.delattr(ranges, "record_ends")
    assert last_end(b'1,"a"\n2,b\n', ",", quoted=False, regular=True) == (10, False)


def test_json_lines_in_ranges_keep_their_line_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.jsonl"
    lines = [f'{{"n": {n}, "t": "x{n}"}}' for n in range(1, 301)]
    lines[7], lines[100], lines[299] = "", "not json", "[]"
    file.write_text("\n".join(lines) + "\n")
    source = JsonLines.of((str(file),), "t")
    whole = _rows(source)
    monkeypatch.setattr(ranges, "RANGE_BYTES", 700)
    monkeypatch.setattr(ranges, "_CHUNK_BYTES", 64)
    monkeypatch.setattr(json_lines, "BLOCK_BYTES", 200)
    ranges._ranges.cache_clear()
    assert len(source.pieces()) > 5
    assert _rows(source) == whole
    assert [row for row, _ in whole[1]] == [101, 300]
    assert whole[0][7][0] == 9  # line 8 is empty
