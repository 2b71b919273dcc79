"""Parts of the test rows: by dates and members of lists, and of rows that count by their weight."""

import numpy as np
import pytest

from nasflow.data.schema import LIST_SEPARATOR
from nasflow.evaluate.slices import slices

ROWS = 120
DAY = 86_400.0


def _of(**changed):
    labels = np.arange(ROWS) % 2
    right = np.arange(ROWS) < 60
    predictions = np.eye(2)[np.where(right, labels, 1 - labels)]
    tags = np.empty(ROWS, object)
    tags[:] = [LIST_SEPARATOR.join(["red"] * (row < 60) + ["blue"] * (row % 4 == 0)) for row in range(ROWS)]
    columns = {"seen": np.arange(ROWS) * DAY, "tags": tags}
    arguments = {"columns": columns, "classes": None, "kinds": {"seen": "datetime", "tags": "list"}}
    return {part.what: part for part in slices("accuracy", labels, predictions, **(arguments | changed))}


def test_dates_are_shown_as_dates_and_lists_by_their_members() -> None:
    found = _of()
    assert {what: (part.rows, part.value) for what, part in found.items() if what.startswith("tags")} == {
        "tags has red": (60, 1.0),
        "tags has blue": (30, 0.5),
        "tags is empty": (45, 0.0),  # three of four in the second half
    }
    # thirds of 0 … 119 days after 1 January 1970: 39.67 and 79.33
    assert {what: part.value for what, part in found.items() if what.startswith(("seen", "1970"))} == {
        "seen ≤ 1970-02-09": 1.0,
        "1970-02-09 < seen ≤ 1970-03-21": 0.5,
        "seen > 1970-03-21": 0.0,
    }


def test_rows_count_by_their_weight() -> None:
    weights = np.where(np.arange(ROWS) < 60, 3.0, 1.0)
    assert _of(weights=weights)["tags has blue"].value == pytest.approx(0.75)  # 15 · 3 / (15 · 3 + 15)
