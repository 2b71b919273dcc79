"""Rows whose texts nearly repeat others', left out."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nasflow.core.artifacts import SPLITS
from nasflow.core.spec import ExperimentSpec
from nasflow.preprocess import drops, near_drops, step
from nasflow.preprocess.near_texts import signatures
from nasflow.preprocess.spec import PreprocessSpec


def texts(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{word}" for word in rng.integers(0, 9000, 40)) for _ in range(count)]


def changed(text: str) -> str:
    return text.rsplit(" ", 1)[0] + " changed"


def test_pairs_across_pieces_by_hand(tmp_path: Path) -> None:
    """Piece 0: a b c; piece 1: a' (optional), b' (a test row), "" (no text). b goes for the test row, a' for a."""
    a, b, c = texts(3, 0)
    uris = [str(tmp_path / name) for name in ("0", "1")]
    for uri, content, roles in (
        (uris[0], [a, b, c], [drops.OPTIONAL] * 3),
        (uris[1], [changed(a), changed(b), ""], [drops.OPTIONAL, drops.KEPT, near_drops.NO_TEXT]),
    ):
        signature, _ = signatures([pa.array(content)])
        near_drops.write_signatures(uri, signature, np.array(roles, np.uint8))
        np.testing.assert_array_equal(near_drops.read_signatures(uri, np.array([2, 0])), signature[[2, 0]])
    pairs = np.concatenate([near_drops.candidates(uris, band) for band in range(16)])
    found = near_drops.verified(uris, pairs)
    assert sorted(found.tolist()) == [(0, 1, 1, 1, 1), (1, 0, 0, 0, 0)]
    reasons = near_drops.dropped(found)["reason"].tolist()
    assert [drops.REASONS[reason] for reason in reasons] == [
        "dropped: its text nearly repeats a test row's",
        "dropped: its text nearly repeats an earlier row's",
    ]
    nothing = near_drops.verified(uris, pairs[:0])
    assert len(near_drops.dropped(nothing)) == 0


def test_the_remedy_through_the_step(tmp_path: Path) -> None:
    """200 texts in two files and a test file; 10 nearly repeat earlier ones, 5 the test file's, 7 exactly repeat."""
    own, test = texts(200, 1), texts(30, 2)
    first, second = own[:100], [*own[100:], *map(changed, own[:10]), *map(changed, test[:5]), *own[20:27]]
    rng = np.random.default_rng(0)
    for name, content in (("train-0", first), ("train-1", second), ("test", test)):
        label = rng.choice(["x", "y"], len(content))
        pq.write_table(pa.table({"text": content, "y": label}), tmp_path / f"{name}.parquet")
    content = {
        "task": "text_classification",
        "data": {
            "train": f"{tmp_path}/train-*.parquet",
            "test": f"{tmp_path}/test.parquet",
            "label": "y",
            "optimise": {"drop_near_duplicates": True, "drop_duplicates": True},
        },
    }
    spec = PreprocessSpec.of(ExperimentSpec.model_validate(content))
    found = step.run(spec, work_dir=str(tmp_path / "work"), output=str(tmp_path / "dataset"))
    dead = found.json("statistics.json")["dead"]
    near, near_test = dead[drops.REASONS[drops.NEARLY_REPEATS]], dead[drops.REASONS[drops.NEAR_TEST]]
    exact = dead.get(drops.REASONS[drops.REPEATS], 0)
    assert near_test == 5
    assert near + exact == 17  # a repeat with another label is no exact one, but its text is
    assert exact > 0
    assert found.rows["test"] == 30
    assert sum(found.rows[split] for split in SPLITS) == 230
    assert not [f for f in found.json("statistics.json")["quality"] if f["kind"] == "near_duplicates"]
    letters = [json.loads(line) for line in found.file("dead_letters.jsonl").splitlines()]
    assert {Path(letter["file"]).name for letter in letters} == {"train-1.parquet"}


def test_one_reason_a_row(tmp_path: Path) -> None:
    """A row that two remedies drop goes once, for the reason of the first."""
    for name, places, reason in (("a", [1, 3], drops.REPEATS), ("b", [0, 3], drops.NEARLY_REPEATS)):
        record = np.array([(place, reason) for place in places], drops.DROP)
        drops.write_groups(str(tmp_path / name), record, np.zeros(2, np.int64), 1)
    places, reasons = drops.dropped_places([str(tmp_path / name) for name in "ab"], 0)
    assert places.tolist() == [0, 1, 3]
    assert reasons.tolist() == [drops.NEARLY_REPEATS, drops.REPEATS, drops.REPEATS]
