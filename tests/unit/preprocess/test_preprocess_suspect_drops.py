"""Rows whose label is probably wrong, left out."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from nasflow.core.artifacts import SPLITS, Dataset
from nasflow.core.spec import ExperimentSpec, OptimiseSection
from nasflow.preprocess import drops, step, suspect_drops
from nasflow.preprocess.doubts import Doubts, doubt_findings
from nasflow.preprocess.spec import PreprocessSpec

ROWS, TURNED, REPEATED = 1500, 30, 20
REASON = drops.REASONS[drops.SUSPECT]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[int]]:
    """Two files of 750 rows, `up` where x0 + x1 > 0; 30 clear rows have the other label. 20 of these wrong rows are
    written three more times into a third file: a model that had seen a copy would believe them."""
    folder = tmp_path_factory.mktemp("suspects")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 3))
    label = np.where(x[:, 0] + x[:, 1] > 0, "up", "down")
    clear = np.flatnonzero(np.abs(x[:, 0] + x[:, 1]) > 1.5)[:TURNED]
    label[clear] = np.where(label[clear] == "up", "down", "up")
    table = pa.table({**{f"x{n}": x[:, n] for n in range(3)}, "y": label})
    pq.write_table(table.slice(0, 750), folder / "a-0.parquet")
    pq.write_table(table.slice(750), folder / "a-1.parquet")
    pq.write_table(pa.concat_tables([table.take(pa.array(clear[:REPEATED]))] * 3), folder / "a-2.parquet")
    return folder, set(clear.tolist())


def _run(folder: Path, work: Path, **optimise: object) -> Dataset:
    data = {"train": str(folder / "a-*.parquet"), "label": "y", "optimise": optimise}
    spec = PreprocessSpec.model_validate({"task": "tabular_classification", "data": data})
    return step.run(spec, work_dir=str(work / "work"), output=str(work / "out"))


def _letters(dataset: Dataset) -> list[dict[str, object]]:
    return [json.loads(line) for line in dataset.file("dead_letters.jsonl").splitlines()]


def test_the_turned_labels_go_with_what_the_model_believes(files: tuple[Path, set[int]], tmp_path: Path) -> None:
    folder, turned = files
    found = _run(folder, tmp_path, drop_suspect_labels=True)
    total = ROWS + 3 * REPEATED
    assert found.rows["dead"] + sum(found.rows[split] for split in SPLITS) == total
    letters = _letters(found)
    assert {letter["reason"] for letter in letters} == {REASON}
    wrong = 0
    for letter in letters:
        assert letter["column"] == "y"
        was, seems = ("up", "down") if str(letter["value"]).startswith("'up'") else ("down", "up")
        assert str(letter["value"]).startswith(f"{was!r}, more likely {seems!r} (")
        number = int(Path(str(letter["file"])).stem[-1])
        wrong += number == 2 or 750 * number + int(str(letter["row"])) - 1 in turned
    assert wrong >= 0.95 * len(letters)
    assert len(letters) >= 0.5 * (TURNED + 3 * REPEATED) * 0.9  # a tenth was held out for the test, and stays
    (said,) = [one for one in found.json("statistics.json")["quality"] if one["kind"] == "dropped_suspects"]
    assert said["numbers"]["dropped"] == len(letters)
    assert said["numbers"]["looked"] == said["numbers"]["rows"] == total - found.rows["test"]
    # never a test row: equal rows share a split, so no row that stays in the test split has a copy among the letters
    plain = _run(folder, tmp_path / "plain")
    assert found.rows["test"] == plain.rows["test"]
    assert found.remedies == ("drop_suspect_labels",)


def test_only_what_is_left_by_other_remedies_is_asked_and_a_stopped_run_goes_on(
    files: tuple[Path, set[int]], tmp_path: Path
) -> None:
    folder, _ = files
    first = _run(folder, tmp_path, drop_suspect_labels=True, drop_duplicates=True)
    dead = first.json("statistics.json")["dead"]
    repeats = dead[drops.REASONS[drops.REPEATS]]
    assert repeats % 3 == 0  # of each repeated row outside the test split three go
    assert 0 < dead[REASON] <= TURNED + 5
    (said,) = [one for one in first.json("statistics.json")["quality"] if one["kind"] == "dropped_suspects"]
    assert said["numbers"]["rows"] == ROWS + 3 * REPEATED - first.rows["test"] - repeats
    for path in (tmp_path / "work" / "preprocess").rglob("manifest.json"):
        path.unlink()
    again = _run(folder, tmp_path, drop_suspect_labels=True, drop_duplicates=True)
    assert again.files == first.files


def test_a_share_bounds_what_goes(files: tuple[Path, set[int]], tmp_path: Path) -> None:
    """0.002 of about 700 rows of each class: one row each."""
    folder, _ = files
    found = _run(folder, tmp_path, drop_suspect_labels=True, suspect_share=0.002)
    assert len(_letters(found)) == 2
    assert {str(letter["value"])[:4] for letter in _letters(found)} == {"'up'", "'dow"}


def test_only_sampled_rows_can_go_and_the_report_says_so(
    files: tuple[Path, set[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspect_drops, "SAMPLE_ROWS", 600)
    found = _run(files[0], tmp_path, drop_suspect_labels=True)
    (said,) = [one for one in found.json("statistics.json")["quality"] if one["kind"] == "dropped_suspects"]
    rows = ROWS + 3 * REPEATED - found.rows["test"]
    assert (said["numbers"]["looked"], said["numbers"]["rows"]) == (600, rows)
    assert f"{rows - 600:,} other rows were not looked at, and stay" in said["text"]


def test_nothing_to_say() -> None:
    doubts, records, pieces = suspect_drops.judge(None, OptimiseSection(), "y", rows=0)
    assert (doubts, len(records), len(pieces)) == (Doubts(looked=0, rows=0), 0, 0)
    assert doubt_findings(None, OptimiseSection()) == []


def test_classes_only() -> None:
    data = {"train": "a.csv", "label": "y", "optimise": {"drop_suspect_labels": True}}
    with pytest.raises(ValidationError, match=r"data.optimise.drop_suspect_labels needs classes"):
        ExperimentSpec.model_validate({"task": "tabular_regression", "data": data})
