import json
import subprocess
import sys

import pytest

from nasflow.core.spec import ExperimentSpec
from nasflow.core.step_cli import fields

STEPS = ("preprocess", "search", "train", "evaluate", "register", "deploy")


def run(step, *args):
    return subprocess.run([sys.executable, "-m", f"nasflow.{step}", *args], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("step", STEPS)
def test_help_comes_from_the_specs_docstrings(step):
    done = run(step, "--help")
    assert done.returncode == 0, done.stderr
    assert "--spec" in done.stdout
    assert "--output" in done.stdout
    assert "What it reads of the experiment" in done.stdout


def test_a_mistyped_flag_is_refused():
    done = run("search", "--spce", "x")
    assert done.returncode == 2
    assert "No such option '--spce'" in done.stderr
    assert "Did you mean" in done.stderr


def test_mistakes_end_with_2_and_write_nothing(tmp_path):
    (tmp_path / "e.yaml").write_text("task: tabular_regression\ndata: {train: a.csv, label: y}\n")
    out = tmp_path / "out"
    done = run("search", "--spec", str(tmp_path / "e.yaml"), "--dataset", str(tmp_path), "--output", str(out))
    assert done.returncode == 2
    assert "no Dataset here" in json.loads(done.stderr.splitlines()[-1])["message"]
    assert not out.exists()
    done = run("search", "--spec", "none.yaml", "--dataset", str(tmp_path), "--output", str(out))
    assert done.returncode == 2
    assert "no such file" in done.stderr


def test_every_key_is_listed_with_its_type_default_and_meaning():
    listed = dict(fields(ExperimentSpec))
    assert "Trials that may start" in listed["search.budget.trials: int or null = 20"]
    assert listed["data.train: str"].startswith("Parquet, CSV, JSON lines")
    assert "data.split.by: hash | group | time | stratified | column = hash" in listed
    assert "data.ignore: list of str = []" in listed
    assert "register.name: str or null = null" in listed
    assert "resources.accelerator = null" in listed
    assert "resources.accelerator.spot: bool = false" in listed
    assert all(listed.values())
