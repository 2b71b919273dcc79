"""Near duplicates of images, and the samples of rows."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.preprocess.inspection import RowSample, shrink
from nasflow.preprocess.near import HEIGHT, WIDTH, dhash, pairs


def test_shrinking_averages_areas() -> None:
    image = np.arange(16 * 18, dtype=np.float64).reshape(1, 16, 18, 1) % 251
    expected = image[0, :, :, 0].reshape(8, 2, 9, 2).mean(axis=(1, 3))
    assert np.abs(shrink(image.astype(np.uint8), HEIGHT, WIDTH)[0] - expected).max() <= 0.5
    assert (shrink(np.full((2, 28, 28, 3), 77, np.uint8), HEIGHT, WIDTH) == 77).all()
    assert (
        shrink(np.full((1, 3, 5, 1), 9, np.uint8), HEIGHT, WIDTH) == 9
    ).all()  # smaller than the picture: edges count in part


def test_hash_by_hand() -> None:
    rising = np.tile(np.arange(9, dtype=np.uint8) * 10, (8, 1))
    assert dhash(np.stack([rising, rising[:, ::-1]])).tolist() == [2**64 - 1, 0]
    one = rising[:, ::-1].copy()
    one[7, 8] = 255  # the last comparison of the last row: bit 0
    assert dhash(one[None]).tolist() == [1]


def test_the_same_picture_brighter_or_noisier_is_found() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(30, 200, (40, 8, 9, 1)).astype(np.uint8)
    images = coarse.repeat(4, axis=1).repeat(4, axis=2)
    noisy = (images[:3] + rng.integers(0, 6, images[:3].shape)).astype(np.uint8)
    brighter = images[3:6] + np.uint8(30)
    other = rng.integers(30, 200, (5, 8, 9, 1)).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    found = pairs(*(shrink(part, HEIGHT, WIDTH) for part in (np.concatenate([noisy, brighter, other]), images)))
    assert found.tolist() == [0, 1, 2, 3, 4, 5, -1, -1, -1, -1, -1]


def test_flat_pictures_are_not_alike_by_their_hash_alone() -> None:
    falling = np.tile(np.linspace(240, 0, 9).astype(np.uint8), (8, 1))
    flat = np.full((8, 9), 120, np.uint8)
    assert dhash(falling[None]) == dhash(flat[None])
    assert pairs(falling[None], flat[None]).tolist() == [-1]


def test_pairs_are_those_of_comparing_all() -> None:
    """Few grey levels, so that hashes are often alike; the last hundred are one flat picture each."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 3, (30, 8, 9))
    first = (coarse[rng.integers(0, 30, 150)] * 20 + (rng.random((150, 8, 9)) < 0.2) * 3).astype(np.uint8)
    second = (coarse[rng.integers(0, 30, 400)] * 20 + (rng.random((400, 8, 9)) < 0.2) * 3).astype(np.uint8)
    second[-100:] = rng.integers(0, 200, (100, 1, 1))
    first[-9:] = rng.integers(0, 200, (9, 1, 1))
    expected = []
    for picture, hash_ in zip(first.astype(float), dhash(first), strict=True):
        delta = second - picture
        level = np.abs(delta - delta.mean(axis=(1, 2), keepdims=True)).mean(axis=(1, 2))
        bits = np.bitwise_count(hash_ ^ dhash(second)).astype(float)
        bits[(bits > 2) | (level > 4 + 1e-9)] = np.inf
        expected.append(int(bits.argmin()) if np.isfinite(bits).any() else -1)
    assert 20 < sum(place >= 0 for place in expected) < 145
    assert pairs(first, second).tolist() == expected
    assert pairs(first[:0], second).tolist() == []
    assert pairs(first[:2], second[:0]).tolist() == [-1, -1]


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=60), st.integers(0, 60), st.integers(1, 9))
def test_a_row_sample_is_the_same_for_every_batching(ranks: list[int], cut: int, size: int) -> None:
    found = []
    for batches in ([ranks], [ranks[cut:], ranks[:cut]], [[rank] for rank in ranks]):
        sample = RowSample(size)
        for batch in batches:
            numbers = np.array(batch, np.uint64)
            part = RowSample(size)
            wanted = part.wanted(numbers)
            part.add(numbers[wanted], pa.table({"rank": numbers[wanted]}))
            again = sample.wanted(part.ranks)
            sample.add(part.ranks[again], part.rows.take(pa.array(again)))
        table = sample.compact()
        found.append([] if table is None else table.column("rank").to_pylist())
    assert found[0] == found[1] == found[2] == sorted(ranks)[:size]
