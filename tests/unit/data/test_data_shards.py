"""Shards: what is written is read back, bit for bit, whatever the batches; the bytes do not show how they came."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.core.artifacts import SPLITS, Dataset, Shard
from nasflow.core.errors import DocumentError
from nasflow.data.apply import apply, apply_columns
from nasflow.data.codes import Codes
from nasflow.data.layout import layout
from nasflow.data.reader import read
from nasflow.data.transform import (
    CategoricalTransform,
    DiscreteTransform,
    ImageTransform,
    LabelTransform,
    NumericTransform,
    TransformSpec,
)
from nasflow.preprocess import shards as shards_module
from nasflow.preprocess.shards import ShardWriter

SPEC = TransformSpec(
    numeric=tuple(NumericTransform(name=f"x{n}", mean=0.0, std=1.0, indicator=n % 2 == 0) for n in range(3)),
    discrete=(DiscreteTransform(name="x0", values=(1.0, 2.0, 3.0)),),
    categorical=(
        CategoricalTransform(name="few", vocabulary=("a", "b")),
        CategoricalTransform(name="many", vocabulary=tuple(f"v{n}" for n in range(300))),
    ),
    label=LabelTransform(name="y", classes=("no", "yes")),
)


def _raw(rows: int, seed: int = 0) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    numbers = {f"x{n}": np.where(rng.random(rows) < 0.2, np.nan, rng.integers(0, 4, rows)) for n in range(3)}
    texts = [("a", "b", "c", None), tuple(f"v{n}" for n in range(400))]
    codes = {
        name: Codes.of(pa.array([of[place] for place in rng.integers(0, len(of), rows)], pa.string()))
        for name, of in zip(("few", "many"), texts, strict=True)
    }
    return {**numbers, **codes}


def _take(raw: dict[str, object], rows: slice) -> dict[str, object]:
    places = np.arange(10_000)[rows]
    return {name: v.take(places) if isinstance(v, Codes) else v[rows] for name, v in raw.items()}  # type: ignore[index]


def _write(folder: Path, spec: TransformSpec, raw: dict, labels: np.ndarray, places: np.ndarray, cuts: list[int]):
    with ShardWriter(spec, str(folder), 0) as writer:
        for start, stop in zip([0, *cuts], [*cuts, len(labels)], strict=True):
            rows = slice(start, stop)
            writer.write(apply_columns(spec, _take(raw, rows)), labels[rows], places[rows])
        return writer.finish()


def _dataset(folder: Path, spec: TransformSpec, shards: dict[str, Shard]) -> Dataset:
    rows = {split: shards[split].rows if split in shards else 0 for split in SPLITS} | {"dead": 0}
    made = Dataset(task="tabular_classification", rows=rows, shards={name: (one,) for name, one in shards.items()})
    return made.publish(f"{folder}/document", {"transform.json": spec.model_dump_json().encode()})


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 150), st.lists(st.integers(0, 150), max_size=4), st.integers(0, 9))
def test_shards_are_read_as_written_and_batches_leave_no_trace(
    tmp_path_factory: pytest.TempPathFactory, rows: int, cuts: list[int], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(seed)
    raw, labels, places = _raw(rows, seed), rng.integers(0, 2, rows).astype(np.int32), rng.integers(0, 3, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards_module, "GROUP_ROWS", 64)
        one = _write(folder / "one", SPEC, raw, labels, places, [])
        cut = _write(folder / "cut", SPEC, raw, labels, places, sorted(min(cut, rows) for cut in cuts))
    assert {name: (s.sha256, s.size) for name, s in one.items()} == {n: (s.sha256, s.size) for n, s in cut.items()}
    dataset, expected = _dataset(folder, SPEC, one), apply(SPEC, raw)
    for number, split in enumerate(SPLITS):
        found = read(dataset, split)
        chosen = places == number
        assert found.labels.dtype == np.int32
        assert found.labels.tolist() == labels[chosen].tolist()
        for tensor, values in expected.items():
            assert found.inputs[tensor].dtype == values.dtype
            assert np.array_equal(found.inputs[tensor], values[chosen])


def test_a_shard_opens_in_any_arrow_tool_and_is_as_small_as_its_ids(tmp_path: Path) -> None:
    raw = _raw(500)
    shard = _write(tmp_path, SPEC, raw, np.zeros(500, np.int32), np.zeros(500, int), [])["train"]
    table = pa.ipc.open_file(shard.uri).read_all()
    assert table.schema.names == ["numeric", "missing", "discrete", "categorical", "label"]
    # Three float32, two bits, one of 5 ids in a byte, two with up to 302 ids in two bytes each, a label of 2 in a byte.
    assert sum(one.size * np.dtype(one.dtype).itemsize for one in layout(SPEC)) == 12 + 2 + 1 + 4 + 1
    assert sum(column.nbytes for column in table.columns) == 500 * (12 + 1 + 4 + 1) + 500 * 2 // 8
    assert table["missing"].to_pylist()[:3] == [
        [bool(np.isnan(raw["x0"][row])), bool(np.isnan(raw["x2"][row]))] for row in range(3)
    ]
    assert table.schema.field("missing").metadata == {b"columns": b'["missing/x0", "missing/x2"]'}


def test_images_and_targets_round_trip(tmp_path: Path) -> None:
    image = ImageTransform(name="image", height=3, width=2, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    spec = TransformSpec(image=image, label=LabelTransform(name="y", classes=None))
    pixels = np.random.default_rng(0).integers(0, 256, (70, 3, 2, 3), dtype=np.uint8)
    targets = np.linspace(-1, 1, 70)
    with ShardWriter(spec, str(tmp_path), 3) as writer:
        writer.write({"image": pixels}, targets, np.zeros(70, int))
        shards = writer.finish()
    found = read(_dataset(tmp_path, spec, shards), "train")
    assert np.array_equal(found.inputs["image"], pixels)
    assert found.labels.tolist() == targets.tolist()


def test_a_changed_or_foreign_shard_is_refused(tmp_path: Path) -> None:
    raw, labels, places = _raw(20), np.zeros(20, np.int32), np.zeros(20, int)
    shards = _write(tmp_path, SPEC, raw, labels, places, [])
    dataset = _dataset(tmp_path, SPEC, shards)
    other = SPEC.model_copy(update={"discrete": ()})
    foreign = _dataset(tmp_path / "other", other, shards)
    with pytest.raises(DocumentError, match=r"not those of transform\.json"):
        read(foreign, "train")
    path = Path(shards["train"].uri)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DocumentError, match="sha256 differs"):
        read(dataset, "train")
    path.unlink()
    with pytest.raises(DocumentError, match="missing"):
        read(dataset, "train")
