"""A census table of the form in which UCI publishes the Adult set, byte for byte in form, with the example's YAML."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.e2e.command import QUICK, Nasflow

EXAMPLE = Path(__file__).resolve().parents[2] / "pipelines/examples/adult_uci.yaml"
TRAIN, TEST = 600, 200


def _lines(rows: int, *, end: str, seed: int) -> list[str]:
    """`39, State-gov, 77516, Bachelors, 13, …, <=50K`; one workclass in 17 and one country in 50 is `?`."""
    rng = np.random.default_rng(seed)
    lines = []
    for row in range(rows):
        years, hours = int(rng.integers(1, 17)), int(rng.integers(10, 80))
        rich = years + hours / 8 + rng.normal(0, 2) > 16
        values = [
            int(rng.integers(17, 90)),
            "?" if row % 17 == 0 else rng.choice(["Private", "State-gov", "Self-emp-not-inc"]),
            int(rng.integers(12285, 1484705)),
            rng.choice(["Bachelors", "HS-grad", "11th"]),
            years,
            rng.choice(["Never-married", "Married-civ-spouse", "Divorced"]),
            "?" if row % 17 == 0 else rng.choice(["Exec-managerial", "Craft-repair", "Sales"]),
            rng.choice(["Husband", "Not-in-family", "Wife"]),
            rng.choice(["White", "Black", "Amer-Indian-Eskimo"]),
            rng.choice(["Male", "Female"]),
            int(rng.choice([0, 2174, 99999])),
            int(rng.choice([0, 1902])),
            hours,
            "?" if row % 50 == 0 else rng.choice(["United-States", "Holand-Netherlands"]),
            f"{'>50K' if rich else '<=50K'}{end}",
        ]
        lines.append(", ".join(map(str, values)))
    return lines


@pytest.fixture
def places(tmp_path: Path) -> list[str]:
    """The flags that name the files. The last line of the published training file is blank."""
    (tmp_path / "adult.data").write_text("\n".join(_lines(TRAIN, end="", seed=0)) + "\n\n")
    test = ["|1x3 Cross validator", *_lines(TEST, end=".", seed=1)]
    (tmp_path / "adult.test").write_text("\n".join(test) + "\n\n")
    return [f"--set=data.train={tmp_path / 'adult.data'}", f"--set=data.test={tmp_path / 'adult.test'}"]


def test_every_row_of_the_published_form_is_used(tmp_path: Path, places: list[str]) -> None:
    command = ["--spec", EXAMPLE, *places, "--output", "out", "--work-dir", "work"]
    run = subprocess.run(
        [sys.executable, "-m", "nasflow.preprocess", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    rows = json.loads((tmp_path / "out/manifest.json").read_text())["rows"]
    assert (rows["train"] + rows["validation"], rows["test"], rows["dead"]) == (TRAIN, TEST, 0)
    schema = json.loads((tmp_path / "out/schema.json").read_text())
    assert schema["label"]["classes"] == ["<=50K", ">50K"]
    columns = {column["name"]: column for column in schema["columns"]}
    assert len(columns) == 13  # fnlwgt is ignored
    assert [name for name, column in columns.items() if column["missing"]] == [
        "workclass", "occupation", "native-country",
    ]  # fmt: skip
    statistics = json.loads((tmp_path / "out/statistics.json").read_text())
    assert not any(text != text.strip() for text in statistics["columns"]["sex"]["top"])


@pytest.mark.slow
def test_the_whole_pipeline_runs_on_it(nasflow: Nasflow, tmp_path: Path, places: list[str]) -> None:
    assert nasflow("validate", str(EXAMPLE), *places).code == 0
    run = nasflow("run", str(EXAMPLE), *places, *QUICK, "--output", "out")
    assert run.code == 0, run.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["status"] == "succeeded"
    assert sum(summary["rows"].values()) == TRAIN + TEST
    assert summary["test"]["auc"]["value"] > 0.5
