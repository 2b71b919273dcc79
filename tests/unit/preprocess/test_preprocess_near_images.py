"""Rows whose images nearly repeat others', left out."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nasflow.core.artifacts import SPLITS
from nasflow.preprocess import drops, near_drops, near_image_drops, step
from nasflow.preprocess.near import pairs as brute_force
from nasflow.preprocess.near_texts import signatures
from nasflow.preprocess.spec import PreprocessSpec


def pictures(count: int, seed: int) -> np.ndarray:
    """uint8 [count, 8, 9]: two of them share no more bits than chance."""
    return np.random.default_rng(seed).integers(20, 200, (count, 8, 9)).astype(np.uint8)


def drawn(folder: Path, *parts: tuple[np.ndarray, list[int]]) -> list[str]:
    uris = [str(folder / f"p{number}") for number in range(len(parts))]
    for uri, (small, roles) in zip(uris, parts, strict=True):
        near_image_drops.write_pictures(uri, small, np.array(roles, np.uint8))
    return uris


def all_pairs(uris: list[str]) -> np.ndarray:
    return np.concatenate([near_image_drops.candidates(uris, band) for band in range(6)])


def flipped(picture: np.ndarray, *places: int) -> np.ndarray:
    """The difference hash changes in one bit at each place, the grey levels by a few."""
    changed = picture.copy()
    for place in places:
        row, column = divmod(place, 8)
        changed[row, column + 1] = changed[row, column]
    return changed


def test_pairs_across_pieces_by_hand(tmp_path: Path) -> None:
    """Piece 0: a b c; piece 1: a lit up, b lit up (a test row), d. Dropped: b for the test row, a' for a."""
    a, b, c, d = pictures(4, 0)
    uris = drawn(
        tmp_path,
        (np.stack([a, b, c]), [drops.OPTIONAL] * 3),
        (np.stack([a + np.uint8(9), b + np.uint8(9), d]), [drops.OPTIONAL, drops.KEPT, drops.OPTIONAL]),
    )
    found = near_image_drops.verified(uris, all_pairs(uris), None)
    assert sorted(found.tolist()) == [(0, 1, 1, 1, 1), (1, 0, 0, 0, 0)]
    records, pieces = near_image_drops.dropped(found)
    assert [(piece, *record) for piece, record in zip(pieces.tolist(), records.tolist(), strict=True)] == [
        (0, 1, drops.IMAGE_NEAR_TEST),
        (1, 0, drops.IMAGE_REPEATS),
    ]


def test_two_test_rows_are_no_pair_and_nothing_is_no_error(tmp_path: Path) -> None:
    small = np.repeat(pictures(1, 0), 3, axis=0)
    uris = drawn(tmp_path, (small, [drops.KEPT, drops.TEST_FILE, drops.KEPT]), (small[:0], []))
    pairs = all_pairs(uris)
    assert len(pairs) == 0
    records, pieces = near_image_drops.dropped(near_image_drops.verified(uris, pairs, None))
    assert (len(records), len(pieces)) == (0, 0)


def test_of_a_chain_a_row_goes_only_for_one_that_stays(tmp_path: Path) -> None:
    """a ~ b ~ c, but not a ~ c: b goes for a; c stays, as what it repeats has gone."""
    pair = np.array([(0, 1, 0, 0, 0), (0, 2, 0, 1, 0)], near_drops.PAIR)
    records, _ = near_image_drops.dropped(pair)
    assert records["place"].tolist() == [1]


def test_of_a_thousand_of_one_hash_the_first_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than each row has neighbours, and than a band has pairs."""
    monkeypatch.setattr(near_image_drops, "_MOST_PAIRS", 10)
    uris = drawn(tmp_path, (np.repeat(pictures(1, 0), 1000, axis=0), [drops.OPTIONAL] * 1000))
    records, _ = near_image_drops.dropped(near_image_drops.verified(uris, all_pairs(uris), None))
    assert records["place"].tolist() == list(range(1, 1000))
    near_image_drops.write_pictures(
        uris[0], np.repeat(pictures(1, 0), 1000, axis=0), np.array([0] * 999 + [1], np.uint8)
    )
    records, _ = near_image_drops.dropped(near_image_drops.verified(uris, all_pairs(uris), None))
    assert records["place"].tolist() == list(range(999))  # all of them, for the last, which is a test row


def test_two_bits_anywhere_meet_as_all_against_all_do(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    base = np.tile(np.array([100, 99, 100, 99, 100, 99, 100, 99, 100], np.uint8), (8, 1))  # every step flips by 1
    own = np.stack([base, *(flipped(base, *rng.choice(64, 2, replace=False)) for _ in range(60)), *pictures(40, 4)])
    uris = drawn(tmp_path, (own, [drops.OPTIONAL] * len(own)))
    found = {
        tuple(pair)
        for pair in near_image_drops.verified(uris, all_pairs(uris), None)[["place", "other_place"]].tolist()
    }
    expected = {
        (later, earlier)
        for later in range(len(own))
        for earlier in range(later)
        if brute_force(own[later : later + 1], own[earlier : earlier + 1])[0] == 0
    }
    assert found == expected
    assert len(expected) >= 60


def test_where_rows_have_texts_these_must_repeat_too(tmp_path: Path) -> None:
    small = np.repeat(pictures(1, 0), 3, axis=0)
    uris, signed = drawn(tmp_path, (small, [drops.OPTIONAL] * 3)), [str(tmp_path / "signed")]
    signature, _ = signatures(
        [pa.array(["a red house by the sea", "how many windows has it", "a red house by the sea"])]
    )
    near_drops.write_signatures(signed[0], signature, np.zeros(3, np.uint8))
    assert len(near_image_drops.verified(uris, all_pairs(uris), None)) == 3
    assert near_image_drops.verified(uris, all_pairs(uris), signed).tolist() == [(0, 2, 0, 0, 0)]


def _step(folder: Path, task: str, name: str = "out", **data: object) -> object:
    spec = PreprocessSpec.model_validate({"task": task, "data": data})
    return step.run(spec, work_dir=str(folder / "work"), output=str(folder / name))


def test_the_remedy_through_the_step(tmp_path: Path) -> None:
    """Of 300 training images 12 nearly repeat the test file's, 10 earlier training ones, 5 exactly repeat these."""
    own, test = (pictures(count, seed).repeat(2, axis=1).repeat(2, axis=2) for count, seed in ((273, 1), (50, 2)))
    train = np.concatenate([own, own[:10] + np.uint8(3), test[:12] + np.uint8(3), own[20:25]])
    np.savez(tmp_path / "train.npz", x=train, y=np.arange(300) % 2)
    np.savez(tmp_path / "test.npz", x=test, y=np.arange(50) % 2)
    given = {"train": str(tmp_path / "train.npz"), "test": str(tmp_path / "test.npz"), "label": "y"}
    plain = _step(tmp_path, "image_classification", "plain", **given)
    (finding,) = [
        one
        for one in plain.json("statistics.json")["quality"]
        if one["kind"] == "near_duplicates" and one["numbers"]["split"] == "test"
    ]
    assert finding["switch"] == "data.optimise.drop_near_duplicates: true"
    done = _step(tmp_path, "image_classification", **given, optimise={"drop_near_duplicates": True})
    assert done.json("statistics.json")["dead"] == {
        "dropped: its image nearly repeats an earlier row's": 15,
        "dropped: its image nearly repeats a test row's": 12,
    }
    assert done.rows["test"] == 50
    assert sum(done.rows[split] for split in SPLITS) == 273 + 50
    assert not [one for one in done.json("statistics.json")["quality"] if one["kind"] == "near_duplicates"]
    letters = [json.loads(line) for line in done.file("dead_letters.jsonl").splitlines()]
    assert [letter["row"] for letter in letters] == list(range(274, 301))


def test_one_picture_with_many_questions(tmp_path: Path) -> None:
    """40 pictures, each with two different texts, and 6 of these rows once more with a word changed."""
    small = pictures(40, 7).repeat(4, axis=1).repeat(4, axis=2)
    for number, picture in enumerate(small):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    rng = np.random.default_rng(0)
    words = [" ".join(f"w{word}" for word in rng.integers(0, 900, 30)) for _ in range(80)]
    rows = [(f"{number % 40}.png", text) for number, text in enumerate(words)]
    rows += [(name, text.rsplit(" ", 1)[0] + " other") for name, text in rows[:6]]
    table = {"file": [name for name, _ in rows], "text": [text for _, text in rows], "y": rng.choice(["a", "b"], 86)}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    done = _step(
        tmp_path,
        "tabular_classification",
        train=str(tmp_path / "t.parquet"),
        label="y",
        image="file",
        image_size=16,
        split={"by": "stratified", "validation": 0.2, "test": 0.2},
        optimise={"drop_near_duplicates": True},
    )
    dead = done.json("statistics.json")["dead"]
    assert 0 < sum(dead.values()) <= 6  # two rows of the test split are no pair to be parted
    assert set(dead) <= set(drops.REASONS[drops.IMAGE_REPEATS : drops.IMAGE_NEAR_TEST + 1])
    assert done.rows["dead"] + sum(done.rows[split] for split in SPLITS) == 86
