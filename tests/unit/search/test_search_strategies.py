"""Every strategy in a whole search on a tiny table, with Keras."""

import pytest

from nasflow.core.spec import BudgetSection, SearchSection
from nasflow.search import step
from nasflow.search.spec import SearchSpec
from nasflow.strategies.registry import STRATEGIES

SETTINGS = {
    "genetic": {"population": 2},
    "tpe": {"startup": 3},
    "predictor": {"startup": 3, "trees": 8},
    "asha": {"rungs": 2},
    "pasha": {"rungs": 2},
    "hybrid": {"parts": ["tpe", "predictor"], "weights": None, "settings": {"predictor": {"startup": 3}}},
}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES) - {"differentiable"}))  # images: test_search_preparation
def test_a_search_by_each_strategy(strategy, table, tmp_path):
    search = step.run(
        SearchSpec(
            task="tabular_classification",
            metric="accuracy",
            search=SearchSection(
                strategy=strategy, settings=SETTINGS.get(strategy, {}), budget=BudgetSection(trials=6, epochs=3)
            ),
        ),
        dataset=table,
        work_dir=str(tmp_path / "work"),
        output=str(tmp_path / "output"),
    )
    trials = search.json("trials.json")
    assert search.strategy == strategy
    assert search.trials.completed == 6
    assert [trial["origin"] for trial in trials] == ["preset"] * 3 + ["strategy"] * 3
    assert {trial["epochs"] for trial in trials[3:]} == ({1} if strategy in ("asha", "pasha") else {3})
    presets = [trial["score"] for trial in trials[:3]]
    assert search.candidates[0].score >= max(presets)
