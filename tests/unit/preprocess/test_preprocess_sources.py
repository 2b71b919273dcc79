"""Sources: every form of raw data, read to the row; and what is said of damaged ones."""

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nasflow.core.errors import DataError
from nasflow.core.spec import DataSection, Task
from nasflow.preprocess.plan import Plan, make_plan
from nasflow.preprocess.sources import csv_blocks
from nasflow.preprocess.sources._base import RowBatch
from nasflow.preprocess.sources.arrays import ArrayTable
from nasflow.preprocess.sources.find import Sources, find
from nasflow.preprocess.sources.inflated import inflated

TABLE: Task = "tabular_classification"
IMAGES: Task = "image_classification"


def _sources(train: object, task: Task = TABLE, label: str = "y", **more: object) -> Sources:
    return find(DataSection.model_validate({"train": str(train), "label": label, **more}), task)


def _plan(train: object, task: Task = TABLE, label: str = "y", **more: object) -> Plan:
    data = DataSection.model_validate({"train": str(train), "label": label, **more})
    return make_plan(find(data, task), data, task)


def _batches(sources: Sources, role: str = "train") -> list[RowBatch]:
    source = sources.by_role[role]  # type: ignore[index]
    return [batch for piece in source.pieces() for batch in source.read(piece)]


def _idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    data = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def _png(value: int, mode: str = "L", size: int = 4) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new(mode, (size, size), value if mode == "L" else (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def test_csv_row_numbers_step_over_broken_rows_and_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 64)
    lines = [f"{row},a" for row in range(1, 41)]
    lines[9], lines[24], lines[25], lines[39] = "10", "25,a,b", "26", "40,a,b,c"
    (tmp_path / "a.csv").write_text("x, y \n" + "\n".join(lines) + "\n")
    batches = _batches(_sources(tmp_path / "a.csv"))
    assert len(batches) >= 3
    read = [
        (row, x)
        for batch in batches
        for row, x in zip(batch.rows.tolist(), batch.columns["x"].to_pylist(), strict=True)
    ]
    assert read == [(row, str(row)) for row in range(1, 41) if row not in (10, 25, 26, 40)]
    dead = [letter for batch in batches for letter in batch.dead]
    assert [(d.row, d.reason) for d in dead] == [
        (10, "expected 2 fields, found 1"),
        (25, "expected 2 fields, found 3"),
        (26, "expected 2 fields, found 1"),
        (40, "expected 2 fields, found 4"),
    ]
    assert dead[1].value == "25,a,b"


def test_csv_forms(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(
        gzip.compress('\ufeff,x;y\n"1\n1";a\n'.encode().replace(b",x", b"x;z").replace(b'1"', b'1";2'))
    )
    (batch,) = _batches(_sources(tmp_path / "a.csv.gz"))
    assert batch.columns.to_pydict() == {"x": ["1\n1"], "z": ["2"], "y": ["a"]}


def test_parquet_pieces_cover_all_rows_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasflow.preprocess.sources.parquet_files._PIECE_ROWS", 20)
    pq.write_table(pa.table({"x": range(45), "y": ["a"] * 45}), tmp_path / "a.parquet", row_group_size=10)
    sources = _sources(tmp_path / "a.parquet")
    assert [(p.start, p.stop, p.first_row) for p in sources.train.pieces()] == [(0, 2, 1), (2, 4, 21), (4, 5, 41)]
    rows = [row for batch in _batches(sources) for row in batch.rows.tolist()]
    assert rows == list(range(1, 46))


def test_globs_folders_and_markers(tmp_path: Path) -> None:
    for name in ("part-1.csv", "part-0.csv", "_SUCCESS", ".hidden.csv", "other.csv"):
        (tmp_path / name).write_text("x,y\n1,a\n")
    assert [Path(f).name for f in _sources(tmp_path / "part-*.csv").train.files] == ["part-0.csv", "part-1.csv"]
    assert [Path(f).name for f in _sources(tmp_path).train.files] == ["other.csv", "part-0.csv", "part-1.csv"]


def test_npz_brings_its_own_test_set(tmp_path: Path) -> None:
    images = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)
    labels = np.array([0, 1, 0, 1, 0, 1])
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2])
    sources = _sources(tmp_path / "a.npz", IMAGES)
    (train,), (test,) = _batches(sources), _batches(sources, "test")
    assert train.columns.num_rows == 6
    assert test.columns.num_rows == 2
    assert train.columns["image"][1].as_py() == images[1].tobytes()
    assert _plan(tmp_path / "a.npz", IMAGES).image is not None


def test_npz_table(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", features=np.eye(3), y=np.array(["a", "b", "a"]))
    (batch,) = _batches(_sources(tmp_path / "a.npz"))
    assert batch.columns.to_pydict() == {"x0": [1, 0, 0], "x1": [0, 1, 0], "x2": [0, 0, 1], "y": ["a", "b", "a"]}


def test_idx_with_labels_beside_it(tmp_path: Path) -> None:
    images = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    _idx(tmp_path / "train-images-idx3-ubyte.gz", images)
    _idx(tmp_path / "train-labels-idx1-ubyte", np.array([7, 8, 9]))
    sources = _sources(tmp_path / "train-images-idx3-ubyte.gz", IMAGES)
    (batch,) = _batches(sources)
    assert batch.columns["y"].to_pylist() == [7, 8, 9]
    assert batch.columns["image"][2].as_py() == images[2].astype(np.uint8).tobytes()
    assert len(sources.fingerprints()) == 2
    plan = _plan(tmp_path / "train-images-idx3-ubyte.gz", IMAGES)
    assert plan.image is not None
    assert (plan.image.target_height, plan.image.target_width, plan.image.channels) == (4, 5, 1)


def test_gzipped_idx_is_inflated_once(tmp_path: Path) -> None:
    images = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    _idx(file, images)
    _idx(tmp_path / "train-labels-idx1-ubyte.gz", np.array([7, 8, 9]))
    plain = _sources(file, IMAGES)
    (expected,) = _batches(plain)
    with inflated(plain, tmp_path / "work") as sources:
        file.write_bytes(b"not gzip any more")
        (batch,) = _batches(sources)
        assert batch.columns.equals(expected.columns)
        assert batch.files == (str(file),)
        assert sources.train.files == plain.train.files
    assert list((tmp_path / "work").iterdir()) == []
    unzipped = _sources(_unzipped(tmp_path), IMAGES)
    with inflated(unzipped, tmp_path / "none") as sources:
        assert sources is unzipped
    assert not (tmp_path / "none").exists()


def _unzipped(folder: Path) -> Path:
    _idx(folder / "t10k-images-idx3-ubyte", np.zeros((2, 4, 4)))
    _idx(folder / "t10k-labels-idx1-ubyte", np.zeros(2))
    return folder / "t10k-images-idx3-ubyte"


def test_a_damaged_gzip_is_named_before_it_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    file = tmp_path / "images-idx3-ubyte.gz"
    _idx(tmp_path / "labels-idx1-ubyte.gz", np.zeros(300))
    for damage in (lambda data: data[:-20], lambda data: data[:-3], lambda data: data[:5000] + b"\0" + data[5001:]):
        _idx(file, rng.integers(0, 256, (300, 8, 8)))
        file.write_bytes(damage(file.read_bytes()))
        plain = _sources(file, IMAGES)
        said = r"images-idx3-ubyte\.gz: (a damaged gzip file|truncated).*copy it again"
        with pytest.raises(DataError, match=said), inflated(plain, tmp_path / "work") as sources:
            _batches(sources)
    assert list((tmp_path / "work").iterdir()) == []


def test_image_folders(tmp_path: Path) -> None:
    for name, data in {
        "cat/1.png": _png(1),
        "cat/deep/2.PNG": _png(2),
        "dog/3.png": _png(3),
        "dog/readme.txt": b"x",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (batch,) = _batches(_sources(tmp_path, IMAGES))
    assert batch.columns["y"].to_pylist() == ["cat", "cat", "dog"]
    assert batch.file(2) == str(tmp_path / "dog/3.png")
    plan = _plan(tmp_path, IMAGES)
    assert plan.image is not None
    assert (plan.image.encoding, plan.image.target_height, plan.image.channels) == ("bytes", 64, 1)
    (tmp_path / "dog/4.png").write_bytes(_png(4, "RGB"))
    colour = _plan(tmp_path, IMAGES, image_size=8).image
    assert colour is not None
    assert (colour.channels, colour.target_width) == (3, 8)


@pytest.mark.parametrize(
    ("name", "columns", "rows"), [("iris", 4, 150), ("wine", 13, 178), ("breast_cancer", 30, 569), ("digits", 64, 1797)]
)
def test_samples_as_tables(name: str, columns: int, rows: int) -> None:
    (batch,) = _batches(_sources(f"sample:{name}", label="target"))
    assert (batch.columns.num_columns, batch.columns.num_rows) == (columns + 1, rows)


def test_digits_as_images_fill_the_byte() -> None:
    (batch,) = _batches(_sources("sample:digits", IMAGES, label="target"))
    values = set(b"".join(batch.columns["image"].to_pylist()))
    assert values == {round(255 * step / 16) for step in range(17)}


def _corrupt_npz(folder: Path) -> None:
    (folder / "a.npz").write_bytes(b"PK\3\4 not a zip")


def _pickled_npz(folder: Path) -> None:
    np.savez(folder / "a.npz", x=np.array([[{"a": 1}]], dtype=object), y=np.array([1]))


def _float_images(folder: Path) -> None:
    np.savez(folder / "a.npz", x=np.full((2, 4, 4), 0.5), y=np.array([0, 1]))


def _truncated_idx(folder: Path) -> None:
    _idx(folder / "images-idx3-ubyte", np.zeros((3, 4, 4)))
    _idx(folder / "labels-idx1-ubyte", np.zeros(3))
    path = folder / "images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])


def _damaged_gzip(folder: Path) -> None:
    _idx(folder / "images-idx3-ubyte.gz", np.arange(48).reshape(3, 4, 4))
    _idx(folder / "labels-idx1-ubyte.gz", np.zeros(3))
    path = folder / "images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (_corrupt_npz, "a.npz", r"a\.npz: not a readable \.npz file"),
        (_pickled_npz, "a.npz", r"a\.npz: not a readable \.npz file: it holds pickled objects"),
        (_float_images, "a.npz", r"pixels must be whole numbers from 0 to 255 .* got float64"),
        (_truncated_idx, "images-idx3-ubyte", r"images-idx3-ubyte: truncated: 5 bytes are missing"),
        (_damaged_gzip, "images-idx3-ubyte.gz", r"images-idx3-ubyte\.gz: (a damaged gzip file|truncated)"),
    ],
)
def test_damaged_arrays_are_named(make: object, name: str, message: str, tmp_path: Path) -> None:
    make(tmp_path)  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        _batches(_sources(tmp_path / name, IMAGES))


def test_pixels_that_are_whole_numbers_may_be_stored_as_floats(tmp_path: Path) -> None:
    pixels = np.arange(32, dtype=np.float64).reshape(2, 4, 4)
    np.savez(tmp_path / "a.npz", x=pixels, y=np.array([0, 1]))

    (batch,) = _batches(_sources(tmp_path / "a.npz", IMAGES))

    assert batch.columns["image"][1].as_py() == bytes(range(16, 32))


def test_npz_series_are_a_list_column_a_feature(tmp_path):
    """[rows, time, features]: row 1 of feature 1 at times 0, 1, 2 is 7, 9, 11."""
    series = np.arange(2 * 3 * 2).reshape(2, 3, 2)
    np.savez(tmp_path / "s.npz", x=series, y=np.array([0, 1]))
    source = ArrayTable(files=(str(tmp_path / "s.npz"),), label="y")
    (batch,) = source.read(source.pieces()[0])
    assert batch.columns.schema.names == ["x0", "x1", "y"]
    assert batch.columns.column("x1").to_pylist() == [[1.0, 3.0, 5.0], [7.0, 9.0, 11.0]]
