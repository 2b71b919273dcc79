"""A column of sentences is a text, whether or not one of them repeats; a name of rows is none."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from nasflow.core.spec import DataSection
from nasflow.preprocess.plan import Plan, make_plan
from nasflow.preprocess.sources.find import find

ROWS = 200


def _plan(folder: Path, form: str, values: list[str]) -> Plan:
    rng = np.random.default_rng(0)
    table = pa.table({"x": rng.normal(size=ROWS), "said": values, "y": rng.choice(["a", "b"], ROWS)})
    path = str(folder / f"t.{form}")
    pq.write_table(table, path) if form == "parquet" else pa.csv.write_csv(table, path)
    data = DataSection(train=path, label="y")
    return make_plan(find(data, "tabular_classification"), data, "tabular_classification")


@pytest.mark.parametrize("form", ["parquet", "csv"])
@pytest.mark.parametrize("words", [3, 5, 12])
def test_sentences_that_all_differ_are_texts(tmp_path: Path, form: str, words: int) -> None:
    """200 different sentences of 40 words; those of three words might be names of rows, so the report asks."""
    rng = np.random.default_rng(1)
    known = [f"word{number}" for number in range(40)]
    values = list(dict.fromkeys(" ".join(rng.choice(known, words)) for _ in range(2 * ROWS)))[:ROWS]
    assert len(set(values)) == ROWS
    plan = _plan(tmp_path, form, values)
    (column,) = [column for column in plan.columns if column.name == "said"]
    assert column.kind == "text"
    assert column.confidence == (0.6 if words == 3 else 0.99)
    assert plan.ignored == {}


@pytest.mark.parametrize("pattern", ["row-{0}", "order {0}", "invoice no{0} c{1}", "{0:08x}-{1:04x}"])
def test_names_of_rows_are_identifiers(tmp_path: Path, pattern: str) -> None:
    plan = _plan(tmp_path, "csv", [pattern.format(7919 * number, 104729 * number) for number in range(ROWS)])
    assert plan.ignored["said"] == "an identifier: text that is different in all 200 rows"
