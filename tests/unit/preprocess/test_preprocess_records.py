"""JSON lines, Arrow IPC and TFRecord: read to the row, the same as the table they were made from; damage is named."""

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as pf
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.core.artifacts import SPLITS
from nasflow.core.errors import DataError
from nasflow.core.spec import DataSection
from nasflow.data.reader import read
from nasflow.preprocess import step
from nasflow.preprocess.plan import Plan, make_plan
from nasflow.preprocess.sources import json_lines
from nasflow.preprocess.sources._base import RowBatch
from nasflow.preprocess.sources.find import find
from nasflow.preprocess.sources.json_lines import JsonLines
from nasflow.preprocess.sources.tfrecords import _example_class, masked_crc
from nasflow.preprocess.spec import PreprocessSpec


def _data(train: object, **more: object) -> DataSection:
    return DataSection.model_validate({"train": str(train), "label": "y", **more})


def _plan(train: object) -> Plan:
    return make_plan(find(_data(train), "tabular_classification"), _data(train), "tabular_classification")


def _batches(train: object) -> list[RowBatch]:
    source = find(_data(train), "tabular_classification").train
    return [batch for piece in source.pieces() for batch in source.read(piece)]


def _rows(batches: list[RowBatch]) -> list[tuple[int, dict[str, Any]]]:
    pairs = (zip(b.rows.tolist(), b.columns.to_pylist(), strict=True) for b in batches)
    return [pair for batch in pairs for pair in batch]


def _table(rows: int = 300) -> pa.Table:
    rng = np.random.default_rng(0)
    full = np.arange(rows) > 0  # JSON lines show their columns in the order in which they first have a value
    age = rng.normal(40, 10, rows).astype(np.float32).astype(np.float64)  # TFRecord holds float32
    return pa.table(
        {
            "age": pa.array(age, mask=full & (rng.random(rows) < 0.1)),
            "count": rng.integers(0, 9, rows),
            "job": pa.array(rng.choice(["cook", "smith", "Zürich"], rows), mask=full & (rng.random(rows) < 0.1)),
            "y": rng.integers(0, 2, rows),
        }
    )


def _jsonl(table: pa.Table, path: Path) -> None:
    lines = [
        json.dumps({k: v for k, v in row.items() if v is not None}, ensure_ascii=False) for row in table.to_pylist()
    ]
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def example(row: dict[str, Any]) -> bytes:
    message = _example_class()()
    for name, value in row.items():
        feature = message.features.feature[name]
        values = value if isinstance(value, list) else [] if value is None else [value]
        for one in values:
            if isinstance(one, float):
                feature.float_list.value.append(one)
            elif isinstance(one, int):
                feature.int64_list.value.append(one)
            else:
                feature.bytes_list.value.append(one if isinstance(one, bytes) else one.encode())
    return message.SerializeToString()


def framed(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def _tfrecord(table: pa.Table, path: Path) -> None:
    data = b"".join(framed(example(row)) for row in table.to_pylist())
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def _stream(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=70)


WRITERS: dict[str, Callable[[pa.Table, Path], Any]] = {
    "a.parquet": pq.write_table,
    "a.jsonl": _jsonl,
    "a.ndjson.gz": _jsonl,
    "a.feather": pf.write_feather,
    "a.arrow": _stream,
    "a.tfrecord": _tfrecord,
    "a.tfrecord.gz": _tfrecord,
}


def test_every_form_gives_the_same_shards(tmp_path: Path) -> None:
    found = {}
    for name, write in WRITERS.items():
        write(_table(), tmp_path / name)
        spec = PreprocessSpec.model_validate({"task": "tabular_classification", "data": _data(tmp_path / name)})
        folder = tmp_path / f"of-{name}"
        dataset = step.run(spec, work_dir=str(folder / "work"), output=str(folder / "out"))
        assert dataset.rows["dead"] == 0
        tensors = {split: read(dataset, split) for split in SPLITS}
        found[name] = {
            split: (t.inputs["numeric"].tobytes(), t.inputs["categorical"].tobytes(), t.labels.tobytes())
            for split, t in tensors.items()
        }
    assert all(shards == found["a.parquet"] for shards in found.values())


def test_json_lines_that_do_not_fit_are_dead_letters(tmp_path: Path) -> None:
    lines = [json.dumps({"x": n, "ok": True, "job": "a", "y": n % 2}) for n in range(40)]
    lines[3] = '{"x": 1, "y": '
    lines[5] = "[1, 2]"
    lines[7] = ""
    lines[9] = '{"x": "nine", "ok": true, "job": "a", "y": 1}'
    lines[11] = '{"x": 1.5, "ok": 2, "job": "a", "y": 1}'
    lines[12] = '{"x": 12, "job": 12, "y": 1.0}'
    lines[13] = '{"x": 13, "job": ["a"], "y": 1}'
    lines[15] = '{"x": true, "job": "a", "y": 1}'
    lines[16] = '{"x": 16, "job": "a", "y": 1.5}'
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    odd = '{"x": 41, "job": "a", "y": 1, "extra": 1}'
    source = JsonLines.of((str(tmp_path / "a.jsonl"),), "y")
    types = dict(source.fields.types)
    assert types == {"x": "string", "ok": "string", "job": "other", "y": "float"}  # the sample saw them all
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({"x": n, "ok": True, "job": "a", "y": 1}) for n in range(3)))
    clean = JsonLines.of((str(tmp_path / "b.jsonl"),), "y")
    assert dict(clean.fields.types) == {"x": "float", "ok": "bool", "job": "string", "y": "int"}
    (tmp_path / "b.jsonl").write_text("\n".join([*lines, odd]))
    (batch,) = [b for piece in clean.pieces() for b in clean.read(piece)]
    assert sorted((d.row, d.column, d.value, d.reason) for d in batch.dead) == [
        (4, "", '{"x": 1, "y": ', "not JSON"),
        (6, "", "[1, 2]", "not a JSON object"),
        (10, "x", "nine", "not a number"),
        (12, "ok", "2", "not true or false"),
        (14, "job", '["a"]', "not text"),
        (16, "x", "True", "not a number"),
        (17, "y", "1.5", "not a whole number"),
        (41, "extra", "1", "a name that the beginning of the files does not have"),
    ]
    rows = dict(_rows([batch]))
    assert rows[13] == {"x": 12.0, "ok": None, "job": "12", "y": 1}
    assert set(rows) | {d.row for d in batch.dead} | {8} == set(range(1, 42))


_VALUES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=3)
_LINES = st.lists(
    st.dictionaries(st.sampled_from(["x", "z", "y", "new"]), _VALUES).map(json.dumps)
    | st.sampled_from(
        ["", "  ", "{", "[]", '{"x": [1]}', '{"x": {}}', '{"x": "\\ud800"}', '{"x": 1e999}', '{"x": 1} {}']
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=150)
@given(_LINES)
def test_every_line_of_json_is_a_row_or_a_dead_letter_or_blank(tmp_path_factory: Any, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("json") / "a.jsonl"
    path.write_text('{"x": 1, "z": "a", "y": 1}\n')
    source = JsonLines.of((str(path),), "y")
    path.write_text("".join(f"{line}\n" for line in lines))
    (batch,) = [b for p in source.pieces() for b in source.read(p)] or [None]
    numbers = [] if batch is None else [*batch.rows.tolist(), *(letter.row for letter in batch.dead)]
    assert sorted(numbers) == [number for number, line in enumerate(lines, start=1) if line.strip()]
    if batch is not None:
        batch.columns.validate(full=True)


def test_blocks_of_json_lines_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "BLOCK_BYTES", 100)
    _jsonl(_table(100), tmp_path / "a.jsonl")
    batches = _batches(tmp_path / "a.jsonl")
    assert len(batches) > 20
    assert [row for row, _ in _rows(batches)] == list(range(1, 101))


def test_lists_are_read_and_nothing_is_ignored_with_a_reason(tmp_path: Path) -> None:
    lines = [json.dumps({"x": n, "tags": ["a"] * (n % 3), "no": None, "y": n % 2}) for n in range(30)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    plan = _plan(tmp_path / "a.jsonl")
    assert [(column.name, column.kind) for column in plan.columns] == [("x", "numeric"), ("tags", "list")]
    assert plan.ignored["no"] == "no value in any row"
    assert len(_batches(tmp_path / "a.jsonl")[0].rows) == 30


def test_a_column_without_values_in_one_file_is_missing_there(tmp_path: Path) -> None:
    pf.write_feather(pa.table({"x": [1, 2], "job": pa.nulls(2), "y": ["a", "b"]}), tmp_path / "1.feather")
    pf.write_feather(
        pa.table({"x": range(300), "job": ["c", "d"] * 150, "y": ["a", "b"] * 150}), tmp_path / "2.feather"
    )
    spec = PreprocessSpec.model_validate({"task": "tabular_classification", "data": _data(tmp_path / "*.feather")})
    dataset = step.run(spec, work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))
    assert sum(dataset.rows.values()) == 302
    assert dataset.rows["dead"] == 0


def test_damaged_records(tmp_path: Path) -> None:
    records = [framed(example({"x": float(n), "y": n % 2})) for n in range(6)]
    damaged = bytearray(records[2])
    damaged[20] ^= 1
    records[2] = bytes(damaged)
    records[4] = framed(b"\xff\xff\xff")
    records[5] = framed(example({"x": [1.0, 2.0], "y": 1}))
    (tmp_path / "a.tfrecord").write_bytes(b"".join(records[:5]))
    (batch,) = _batches(tmp_path / "a.tfrecord")
    assert batch.rows.tolist() == [1, 2, 4]
    assert [(d.row, d.reason) for d in batch.dead] == [
        (3, "damaged record (its checksum differs)"),
        (5, "not a tf.Example"),
    ]
    source = find(_data(tmp_path / "a.tfrecord"), "tabular_classification").train
    (tmp_path / "a.tfrecord").write_bytes(b"".join(records))
    (batch,) = [b for piece in source.pieces() for b in source.read(piece)]
    assert [(d.row, d.column, d.value) for d in batch.dead][2:] == [(6, "x", "[1.0, 2.0]")]
    (tmp_path / "a.tfrecord").write_bytes(b"".join(records)[:-5])
    with pytest.raises(DataError, match=r"a\.tfrecord: truncated at record 6"):
        [b for piece in source.pieces() for b in source.read(piece)]
    (tmp_path / "a.tfrecord").write_bytes(records[0] + b"\0" * 40)
    with pytest.raises(DataError, match=r"no TFRecord, or damaged at record 2"):
        [b for piece in source.pieces() for b in source.read(piece)]


def test_tensorflow_reads_and_writes_the_same_records(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    row = {"x": 1.5, "n": -7, "job": "Zürich", "y": "a"}
    ours = example(row)
    theirs = tf.train.Example.FromString(ours)
    assert theirs.features.feature["n"].int64_list.value == [-7]
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(theirs.SerializeToString())
    (batch,) = _batches(tmp_path / "a.tfrecord")
    assert batch.columns.to_pylist() == [row | {"n": -7.0}]
    assert (tmp_path / "a.tfrecord").read_bytes()[:12] == framed(theirs.SerializeToString())[:12]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b"", r"a\.jsonl: no line of its first 20,000 is a JSON object"),
        ("a.jsonl", b"x,y\n1,a\n", r"a\.jsonl: no line of its first 20,000 is a JSON object"),
        ("a.jsonl.gz", b"plain", r"a\.jsonl\.gz: a damaged"),
        ("a.arrow", b"", r"a\.arrow: (not a readable Arrow IPC file|no rows)"),
        ("a.feather", b"FEA1 old", r"a\.feather: not a readable Arrow IPC file"),
        ("a.feather", b"ARROW1\0\0cut", r"a\.feather: not a readable Arrow IPC file"),
        ("a.tfrecord", b"", r"a\.tfrecord: no tf\.Example in it"),
        ("a.tfrecord", b"short", r"a\.tfrecord: truncated at record 1"),
        ("a.tfrecord", framed(b""), r"a\.tfrecord: no tf\.Example in it"),
    ],
)
def test_files_that_are_not_what_their_name_says(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        _plan(tmp_path / name)


def test_a_file_without_rows(tmp_path: Path) -> None:
    pf.write_feather(_table(0), tmp_path / "a.feather")
    with pytest.raises(DataError, match=r"a\.feather: no rows in it"):
        _plan(tmp_path / "a.feather")
