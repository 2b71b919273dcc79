"""`search.strategy: differentiable` from the raw data to the summary."""

import json
from pathlib import Path

import pytest
from tests.e2e.command import QUICK, Nasflow, write_spec


@pytest.mark.slow
def test_digits_by_a_supernet_of_cells(nasflow: Nasflow, tmp_path: Path) -> None:
    """The space with its own settings; trials 4: three presets and the likeliest cell."""
    spec = write_spec(
        tmp_path, name="digits", task="image_classification", data={"train": "sample:digits", "label": "target"}
    )

    run = nasflow(
        "run",
        str(spec),
        *QUICK,
        "--set=search.strategy=differentiable",
        "--set=search.space=cell",
        "--set=search.budget.trials=4",
        "--set=search.budget.epochs=1",
        "--set=search.settings.epochs=3",
    )

    assert run.code == 0, run.stderr
    summary = json.loads((tmp_path / "runs" / "digits" / "summary.json").read_text())
    assert summary["status"] == "succeeded"
    assert summary["search"]["trials"]["completed"] == 4
    (found,) = tmp_path.rglob("search/*/supernet.json")
    prepared = json.loads(found.read_text())
    assert prepared["content"]["message"] == ""
    assert prepared["cpu_seconds"] > 0
    trials = json.loads((found.parent / "trials.json").read_text())
    assert [trial["origin"] for trial in trials] == ["preset"] * 3 + ["supernet"]
    cell = {name: trials[3]["values"][name] for name in trials[3]["values"] if name.startswith("edge_")}
    assert cell in [each["values"] for each in prepared["content"]["derived"]]
    assert "What the supernet learned" in (found.parent / "report.html").read_text()


def test_a_space_that_is_no_network_is_refused_at_once(nasflow: Nasflow, tmp_path: Path) -> None:
    spec = write_spec(
        tmp_path, name="digits", task="image_classification", data={"train": "sample:digits", "label": "target"}
    )

    run = nasflow("run", str(spec), "--set=search.strategy=differentiable")

    assert run.code == 2
    assert "differentiable needs a space that can be one network, which auto cannot" in run.stderr
    assert not (tmp_path / "runs" / "digits").exists()
