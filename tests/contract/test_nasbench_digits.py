"""The benchmark of trained cells: its space, what is committed of it, and how one more architecture is made."""

import gzip
import json

import numpy as np
import pytest
from tests.benchmarks.nasbench_digits import generate, landscape

pytestmark = pytest.mark.slow


def test_the_space_has_as_many_architectures_as_its_readme_says() -> None:
    assert len(landscape.points()) == 4**6
    assert len(landscape.architectures()) == 1230


def test_what_is_committed_belongs_to_the_space_and_can_be_made_again() -> None:
    known = landscape.architectures()
    kept = [json.loads(line) for line in gzip.decompress(generate.COMMITTED.read_bytes()).splitlines()]
    shape = (landscape.SEEDS, landscape.EPOCHS)
    assert {entry["identity"] for entry in kept} <= set(known)
    assert all(np.shape(entry[name]) == shape for entry in kept for name in ("validation", "test", "log_loss"))

    entry = max(kept, key=lambda entry: float(np.mean(entry["test"], axis=0)[-1]))
    made = generate._train(known[entry["identity"]], generate._splits())

    assert made["parameters"] == entry["parameters"]
    assert np.mean(made["test"], axis=0)[-1] == pytest.approx(np.mean(entry["test"], axis=0)[-1], abs=0.03)
