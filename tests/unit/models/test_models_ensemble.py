"""Several networks as one."""

import keras
import numpy as np
import pytest

from nasflow.models.ensemble import mean_of
from nasflow.models.saved import load_keras


def constant(value):
    """x → 2 x + value."""
    source = keras.Input((1,), name="numeric")
    layer = keras.layers.Dense(1, name="output")
    model = keras.Model({"numeric": source}, layer(source))
    layer.set_weights([np.array([[2.0]]), np.array([value])])
    return model


def test_it_answers_with_the_members_mean_and_survives_the_disk(tmp_path):
    made = mean_of([constant(1.0), constant(4.0), constant(10.0)])
    rows = {"numeric": np.array([[0.0], [3.0]], np.float32)}
    expected = [[5.0], [11.0]]  # (1 + 4 + 10) / 3, and 2 · 3 more
    np.testing.assert_allclose(made(rows), expected)
    assert made.count_params() == 6
    made.save(tmp_path / "m.keras")
    np.testing.assert_allclose(load_keras(tmp_path / "m.keras")(rows), expected)


def test_one_is_itself_and_none_is_a_mistake():
    one = constant(1.0)
    assert mean_of([one]) is one
    with pytest.raises(ValueError, match="no models"):
        mean_of([])
