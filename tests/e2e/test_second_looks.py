"""Second looks from the command line: what the search returns is what the mean says, and train takes it over."""

import json
import statistics
from pathlib import Path

import pytest
from tests.e2e.command import Nasflow

DIGITS = Path(__file__).parents[2] / "pipelines" / "examples" / "digits.yaml"


@pytest.mark.slow
def test_digits(nasflow: Nasflow, tmp_path: Path) -> None:
    settings = {
        "search.finalists": 2,
        "search.looks": 1,
        "search.workers": 2,
        "search.budget.trials": 6,
        "search.budget.epochs": 4,
        "search.strategy": "random",
        "train.epochs": 2,
        "train.seeds": 1,
        "evaluate.bootstrap": 100,
        "evaluate.min_gain": -1,
    }
    given = (f"--set={name}={value}" for name, value in settings.items())
    done = nasflow("run", str(DIGITS), "--output", "out", *given, timeout=900)

    assert done.code == 0, done.stderr
    assert "(of them 2 second looks)" in done.stdout
    place = tmp_path / "out" / "documents"
    search = json.loads((place / "search" / "manifest.json").read_text())
    assert (search["trials"]["completed"], search["trials"]["looks"]) == (6, 2)
    looked = [candidate for candidate in search["candidates"] if candidate["scores"]]
    assert len(looked) == 2
    assert {candidate["trial_id"] for candidate in search["candidates"][:2]} == {c["trial_id"] for c in looked}
    for candidate in looked:
        assert candidate["score"] == pytest.approx(statistics.fmean(candidate["scores"]))
    assert len({score for candidate in looked for score in candidate["scores"]}) > 1
    assert "Second looks" in (place / "search" / "report.html").read_text()
    trials = json.loads(nasflow("trials", "out", "--json").stdout)
    assert sorted(row["look"] for row in trials if row["status"] == "completed") == [0, 0, 0, 0, 1, 1]
    model = json.loads((place / "train" / "manifest.json").read_text())
    assert model["architecture_id"] == search["candidates"][0]["architecture_id"]
