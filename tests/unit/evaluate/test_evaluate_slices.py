"""Parts of the test rows, and histograms of what the model says of all of them."""

import numpy as np

from nasflow.evaluate.reference import reference
from nasflow.evaluate.slices import slices

ROWS = 100


def made():
    """Right on the first 80 rows, wrong on the last 20, which are all of them `Ulm` and above 60."""
    labels = np.arange(ROWS, dtype=np.int32) % 2
    said = np.where(np.arange(ROWS) < 80, labels, 1 - labels)
    probabilities = np.eye(2)[said] * 0.8 + 0.1
    town = np.empty(ROWS, object)
    town[:] = ["Bonn"] * 60 + [""] * 20 + ["Ulm"] * 20
    size = np.concatenate([np.arange(80.0) % 60, np.arange(61.0, 81.0)])
    size[:30] = np.nan
    return labels, probabilities, {"town": town, "size": size, "pixels": np.zeros((ROWS, 2))}


def test_the_weakest_part_comes_first():
    labels, probabilities, columns = made()
    found = {
        part.what: (part.rows, part.value)
        for part in slices("accuracy", labels, probabilities, columns=columns, classes=("a", "b"))
    }
    assert next(iter(found)) == "town = Ulm"
    assert found["town = Ulm"] == (20, 0.0)
    assert found["town = Bonn"] == (60, 1.0)
    assert found["town = missing"] == (20, 1.0)
    assert found["size is missing"] == (30, 1.0)
    assert found["label = a"] == (50, 0.8)  # 40 right of the 50 even rows
    assert not any("pixels" in what for what in found)
    (third,) = [value for what, (_, value) in found.items() if what.startswith("size > ")]
    assert third < 0.2


def test_parts_of_few_rows_say_nothing_and_losses_are_turned_around():
    labels, probabilities, columns = made()
    few = columns["town"].copy()
    few[:] = ["rare"] * 19 + ["often"] * 81
    found = slices("log_loss", labels, probabilities, columns={"town": few}, classes=None)
    assert [part.what for part in found] == ["town = often"]
    worst = slices("log_loss", labels, probabilities, columns=columns, classes=None)[0]
    assert worst.what == "town = Ulm"
    assert np.isclose(worst.value, -np.log(0.1))


def test_weights_count():
    labels, probabilities, columns = made()
    weights = np.where(np.arange(ROWS) % 2 == 0, 3.0, 1.0)
    probabilities[0] = probabilities[0, ::-1]  # row 0 is wrong, and weighs 3 of the 120 of Bonn's rows
    found = {
        part.what: part.value
        for part in slices("accuracy", labels, probabilities, columns=columns, classes=None, weights=weights)
    }
    assert np.isclose(found["town = Bonn"], 117 / 120)


def test_the_reference_counts_predictions_and_what_is_kept_of_images():
    _, probabilities, _ = made()
    images = np.concatenate([np.zeros((50, 2, 2, 1), np.uint8), np.full((50, 2, 2, 1), 200, np.uint8)])
    found = reference(probabilities, images, image="picture", classes=("a", "b"))
    assert found["predictions"]["label"] == {"edges": [], "texts": ["a", "b"], "counts": [50, 50, 0, 0]}
    assert sum(found["predictions"]["confidence"]["counts"]) == ROWS
    assert found["columns"]["picture/brightness"]["edges"] == [0.0, 200.0]
    assert found["columns"]["picture/brightness"]["counts"][:2] == [50, 50]
    assert set(reference(np.arange(9.0), None, image="x", classes=None)["predictions"]) == {"value"}
