"""Every strategy on images and on a table, from raw data to a registered model.

The steps of `nasflow run` with its flags, one after the other in this process: an import of TensorFlow for each of six
steps of thirty runs would cost ten times what they do. One run goes through the command itself.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.command import Nasflow, write_spec

from nasflow.core import spec_file
from nasflow.core.artifacts import RegisteredModel
from nasflow.evaluate import step as evaluate
from nasflow.evaluate.spec import EvaluateSpec
from nasflow.preprocess import step as preprocess
from nasflow.preprocess.spec import PreprocessSpec
from nasflow.register import step as register
from nasflow.register.spec import RegisterSpec
from nasflow.registry.open import open_registry
from nasflow.search import step as search
from nasflow.search.spec import SearchSpec
from nasflow.strategies.registry import known_strategies
from nasflow.train import step as train
from nasflow.train.spec import TrainSpec
from nasflow_pipelines import local

SETS: dict[str, dict[str, Any]] = {
    # Constraints keep the costly presets out: one of `cnn` is left, two of `mlp`.
    "digits": {
        "task": "image_classification",
        "data": {"train": "sample:digits", "label": "target"},
        "constraints": {"parameters": 40_000, "flops": "1M"},
    },
    "iris": {
        "task": "tabular_classification",
        "data": {"train": "sample:iris", "label": "target", "split": {"validation": 0.2, "test": 0.2}},
        "constraints": {"parameters": 20_000},
    },
}
FLAGS = (
    *("search.budget.trials=3", "search.budget.epochs=1", "train.epochs=1", "train.seeds=1"),
    *("evaluate.bootstrap=100", "evaluate.min_gain=-1000"),
)
SETTINGS = {
    "genetic": {"population": 2},
    "tpe": {"startup": 2},
    "predictor": {"startup": 2, "trees": 8},
    "asha": {"rungs": 2},
    "pasha": {"rungs": 2},
    "hybrid": {"parts": ["evolution", "tpe"], "weights": None, "settings": {"tpe": {"startup": 2}}},
}
"""So that three trials are enough for a strategy to come to what is its own."""
LONGER = ("asha", "pasha", "hyperband")
"""Those that give out epochs, and need some."""
ELSEWHERE = ("differentiable",)
"""Needs a space that can be one network: tests/e2e/test_differentiable_run.py."""
RUNS = [(data, strategy) for data in SETS for strategy in known_strategies() if strategy not in ELSEWHERE]


def named(strategy: str) -> str:
    """A model of its own for each, so that none is judged against another's champion."""
    return strategy.replace("_", "-")


def flags(strategy: str) -> list[str]:
    more = ["search.budget.epochs=3"] if strategy in LONGER else []
    settings = json.dumps(SETTINGS.get(strategy, {}))
    return [*FLAGS, f"name={named(strategy)}", f"search.strategy={strategy}", f"search.settings={settings}", *more]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One work dir: data are preprocessed, and baselines trained, once a set."""
    return tmp_path_factory.mktemp("every")


@pytest.mark.slow
@pytest.mark.parametrize(("data", "strategy"), RUNS)
def test_a_strategy_ends_in_a_registered_model(data: str, strategy: str, place: Path) -> None:
    (place / data).mkdir(exist_ok=True)
    file = write_spec(place / data, name="every", **SETS[data])
    experiment = spec_file.load(file, flags(strategy))
    local.check_inputs(experiment, file=file)
    work, output = str(place / data / "work"), place / data / strategy

    def at(step: str) -> dict[str, str]:
        return {"work_dir": work, "output": str(output / step)}

    dataset = preprocess.run(PreprocessSpec.of(experiment), **at("preprocess"))
    found = search.run(SearchSpec.of(experiment), dataset=dataset, **at("search"))
    model = train.run(TrainSpec.of(experiment), dataset=dataset, search=found, **at("train"))
    judged = evaluate.run(EvaluateSpec.of(experiment), dataset=dataset, model=model, **at("evaluate"))
    register.run(
        RegisterSpec.of(experiment), dataset=dataset, search=found, model=model, evaluation=judged, **at("register")
    )

    registered = RegisteredModel.read(str(output / "register"))
    trials = found.json("trials.json")
    assert found.strategy == strategy
    assert (found.trials.completed, found.trials.failed) == (3, 0)
    proposed = [trial for trial in trials if trial["status"] == "completed" and trial["origin"] != "preset"]
    assert proposed, "the presets left nothing to the strategy"
    assert 0 <= judged.test["accuracy"].value <= 1
    assert judged.decision.promoted
    store = open_registry(registered.registry)
    version = store.get(named(strategy), alias="champion")
    assert (version.version, version.lineage["search"]) == (1, found.digest)
    store.verify(version)


@pytest.mark.slow
def test_the_command_does_the_same(nasflow: Nasflow, tmp_path: Path) -> None:
    data, strategy = "digits", "asha"
    file = write_spec(tmp_path, name="every", **SETS[data])
    run = nasflow("run", str(file), "--output", "out", *(f"--set={flag}" for flag in flags(strategy)))
    assert run.code == 0, run.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["search"]["strategy"], summary["model"]["name"]) == (strategy, named(strategy))
    assert summary["search"]["trials"]["completed"] == 3
    listed = nasflow("trials", "out", "--top", "1")
    assert listed.code == 0, listed.stderr
    assert listed.stdout.startswith(f"{strategy} over ")
