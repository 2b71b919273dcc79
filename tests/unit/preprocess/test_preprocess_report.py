"""The Dataset's page: self-contained, light, findings first; and columns that only number the rows."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nasflow.core.artifacts import Dataset
from nasflow.preprocess import report_findings, step
from nasflow.preprocess.findings import yaml_name
from nasflow.preprocess.spec import PreprocessSpec

ROWS, WIDE = 600, 150


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows that are numbered in the order of their label, named (50 names twice), and shifted in the test file."""
    folder, rng = tmp_path_factory.mktemp("report"), np.random.default_rng(0)
    names = [f"name {number % (ROWS - 50)}" for number in range(ROWS)]
    table = {
        "row": np.arange(ROWS),
        "name": names,
        "amount": rng.integers(0, 1_000_000, ROWS),  # whole and different, but it counts nothing
        "age, in <years>": rng.normal(40, 5, ROWS),
        "fixed": np.full(ROWS, 3.0),
        "gap": np.where(rng.random(ROWS) < 0.5, np.nan, rng.normal(size=ROWS)),
    }
    table |= {f"column {number}": rng.normal(size=ROWS) for number in range(WIDE)}
    table["y"] = np.where(np.arange(ROWS) < ROWS / 2, "a", "b")
    pq.write_table(pa.table(table), folder / "train.parquet")
    shifted = table | {"age, in <years>": table["age, in <years>"] + 20}
    pq.write_table(pa.table(shifted).take(pa.array(rng.permutation(ROWS)[:200])), folder / "test.parquet")
    return folder


def _run(files: Path, name: str, **optimise: bool) -> Dataset:
    data = {"train": str(files / "train.parquet"), "test": str(files / "test.parquet"), "label": "y"}
    spec = {"task": "tabular_classification", "data": {**data, "optimise": optimise}}
    return step.run(PreprocessSpec.model_validate(spec), work_dir=str(files / "work"), output=str(files / name))


@pytest.fixture(scope="module")
def dataset(files: Path) -> Dataset:
    return _run(files, "plain")


@pytest.fixture(scope="module")
def page(dataset: Dataset) -> str:
    return dataset.file("report.html").decode()


def _quality(dataset: Dataset, kind: str) -> dict[str, dict]:
    return {found["column"]: found for found in dataset.json("statistics.json")["quality"] if found["kind"] == kind}


def test_the_page_needs_nothing_else_and_is_light(page: str) -> None:
    """500 columns are about 600 kB."""
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!#)", page)
    assert not re.search(r"url\((?!#)", page)
    assert len(page) < 20_000 + 1_200 * WIDE


def test_findings_come_first_and_lead_to_their_columns(page: str) -> None:
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings[0] == "Findings"
    targets = set(re.findall(r'href="#(c\d+)"', page))
    assert targets
    assert targets <= set(re.findall(r'<tr id="(c\d+)"', page))
    assert page.index("serious</span>") < page.index("note</span>")


def test_names_are_escaped_and_switches_are_yaml(dataset: Dataset, page: str) -> None:
    assert "<years>" not in page
    assert _quality(dataset, "drift")["age, in <years>"]["switch"] == 'data.ignore: ["age, in <years>"]'
    assert [yaml_name(name) for name in ("age", "no: yes", "größe", "no", "3", "true story")] == [
        "age", '"no: yes"', "größe", '"no"', '"3"', "true story",
    ]  # fmt: skip


def test_identifiers_are_found_and_numbers_of_other_kinds_are_not(dataset: Dataset) -> None:
    found = _quality(dataset, "identifier")
    assert set(found) == {"row", "name"}
    assert found["row"]["severity"] == "serious"  # in the order of the label
    assert "it counts them. It even predicts the label" in found["row"]["text"]
    assert found["name"]["severity"] == "warning"
    assert found["name"]["switch"] == "data.optimise.drop_identifiers: true"
    assert list(_quality(dataset, "constant")) == ["fixed"]
    assert _quality(dataset, "missing")["gap"]["switch"] == "data.ignore: [gap]"


def test_the_switch_hides_them(files: Path, dataset: Dataset) -> None:
    hidden = _run(files, "hidden", drop_identifiers=True)
    ignored = hidden.json("schema.json")["ignored"]
    assert ignored["row"].startswith("an identifier: ")
    assert ignored["name"].startswith("an identifier: ")
    assert {name: found["severity"] for name, found in _quality(hidden, "identifier").items()} == {
        "row": "note",
        "name": "note",
    }
    assert hidden.remedies == ("drop_identifiers",)
    assert hidden.rows == dataset.rows


def _finding(column: str, **more: str) -> dict:
    one = {"severity": "serious", "kind": "drift", "remedy": "Look.", "switch": f"data.ignore: [{column}]"}
    return {**one, "column": column, "text": f"Column {column!r} drifts.", **more}


def test_many_findings_of_one_kind_share_a_remedy_and_fold() -> None:
    found = [_finding(f"c{number}") for number in range(300)] + [_finding("x", kind="leak", switch="")]
    text = str(report_findings.listed(found, {}))
    assert text.count("Look.") == 2
    assert "and 295 more" in text
    assert "data.ignore: [c0, c1, c2, c3, c4, …]" in text
    assert text.count("<dt>") == 301
    assert "Nothing out of the ordinary" in str(report_findings.listed([], {}))


def test_frequent_values_have_their_share_in_each_split(page: str) -> None:
    """550 names in 600 rows: the most frequent ones twice in the training rows."""
    assert "most frequent</th><th>train</th><th>validation</th><th>test" in re.sub(r"\s*\n\s*", "", page)
