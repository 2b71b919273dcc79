"""The distinct values of numeric columns: exact where few, a fair sample where many, the same for every order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.preprocess.distinct import Distinct

_FLOATS = st.floats(width=64) | st.sampled_from([0.0, -0.0, 5e-324, 1.0, 2.0])


@settings(deadline=None)
@given(st.lists(st.lists(_FLOATS, max_size=20), min_size=1, max_size=5), st.sampled_from([4, 100]))
def test_any_batching_and_order_gives_the_same(batches: list[list[float]], limit: int) -> None:
    one, parts = Distinct(limit=limit), Distinct(limit=limit)
    one.update(np.array([value for batch in batches for value in batch], np.float64))
    for batch in reversed(batches):
        part = Distinct(limit=limit)
        part.update(np.array(batch, np.float64))
        parts.merge(part)
    assert parts.values().tolist() == one.values().tolist()
    assert parts.exact == one.exact
    values = {value for batch in batches for value in batch if np.isfinite(value)}
    true = {0.0 if abs(value) < 2.0**-1022 else value for value in values}
    assert one.exact == (len(true) <= limit)
    assert set(one.values().tolist()) <= true
    if one.exact:
        assert one.values().tolist() == sorted(true)
        assert one.distinct == len(true)
    else:
        assert len(one.values()) == limit


def test_of_many_values_a_uniform_sample_is_kept() -> None:
    sketch = Distinct(limit=1000)
    for start in range(0, 100_000, 9_000):
        sketch.update(np.repeat(np.arange(start, min(start + 9_000, 100_000), dtype=np.float64), 3))
        sketch.update(np.zeros(500))  # repeats weigh nothing
    assert not sketch.exact
    assert len(sketch.hashes) == 1000
    assert sketch.distinct == pytest.approx(100_000, rel=0.12)  # a standard error of 1/√1000 = 3 %
    # The median of 1,000 uniform draws is off by √(.25/1000) = 1.6 % of the range.
    assert sketch.quantiles(3)[1] == pytest.approx(50_000, abs=6_500)


def test_quantiles_are_values_of_the_data() -> None:
    sketch = Distinct()
    sketch.update(np.array([0.0] * 1000 + [1.0, 2.0, 4.0, 8.0, np.nan, np.inf]))
    assert sketch.quantiles(3).tolist() == [0.0, 2.0, 8.0]  # of the distinct values: rows would say 0, 0, 8
    assert sketch.quantiles(9).tolist() == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert Distinct().quantiles(3).tolist() == []
