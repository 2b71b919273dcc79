"""`search.settings`: checked against the fields of the strategy that `search.strategy` names."""

import sys
import types

import pytest

from nasflow.core.errors import SpecError
from nasflow.core.spec import SearchSection
from nasflow.strategies.asha import Asha
from nasflow.strategies.auto import Auto
from nasflow.strategies.genetic import Genetic
from nasflow.strategies.hybrid import Hybrid
from nasflow.strategies.registry import STRATEGIES, check_strategy, get_strategy, known_strategies, settings_of


def problem(name, settings):
    with pytest.raises(SpecError) as caught:
        check_strategy(name, settings)
    return str(caught.value)


def test_every_strategy_has_defaults():
    for name, kind in STRATEGIES.items():
        check_strategy(name)
        assert isinstance(get_strategy(name), kind)


def test_settings_reach_the_strategy():
    assert get_strategy("genetic", {"population": 20, "mutation": None}) == Genetic(population=20)
    assert get_strategy("auto", {"evolution": {"population": 5}}).evolution.population == 5


def test_an_unknown_setting_names_the_known_ones():
    assert problem("genetic", {"populaton": 20}) == (
        "search.settings.populaton: unknown setting of genetic; did you mean 'population'? Known: population, "
        "tournament, mating, crossover, mutation, elites"
    )
    assert problem("random", {"population": 20}).endswith("unknown setting of random; It has none; remove it")
    assert "hyperband has no settings, got factor" in problem("hyperband", {"factor": 3})
    assert "search.settings.evolution.pop: unknown setting of RegularizedEvolution" in problem(
        "auto", {"evolution": {"pop": 5}}
    )


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("genetic", {"population": 0}, "search.settings.population: should be greater than or equal to 1, got 0"),
        ("genetic", {"population": "many"}, "search.settings.population: should be a valid integer"),
        ("evolution", {"crossover": 1.5}, "search.settings.crossover: should be less than or equal to 1, got 1.5"),
        ("hybrid", {"mode": "both"}, "search.settings.mode: should be 'mixture' or 'sequence', got 'both'"),
        ("hybrid", {"parts": ["tpe"]}, "weights must be as many as parts, got 4 for 1"),
        ("hybrid", {"parts": ["tpe", "asha"], "weights": None}, "'asha' cannot be one of parts"),
        ("hybrid", {"parts": ["tpe"], "mode": "sequence", "trials": [3]}, "trials must be one fewer than parts"),
        ("hybrid", {"settings": {"tpe": {}}}, "settings for 'tpe', which is not one of parts"),
        ("hybrid", {"parts": ["tpr"], "weights": None}, "unknown strategy 'tpr'; did you mean 'tpe'"),
        ("hybrid", {"settings": {"evolution": {"size": 1}}}, "search.settings.size: unknown setting of evolution"),
    ],
)
def test_a_setting_out_of_range_says_what_and_where(name, settings, message):
    assert message in problem(name, settings)


def test_what_the_study_knows_is_no_setting():
    assert "unknown setting of asha" in problem("asha", {"epochs": 4})
    assert get_strategy("asha", epochs=9, tie=0.1) == Asha(epochs=9)
    assert get_strategy("auto", epochs=9, tie=0.1) == Auto(tie=0.1)
    assert get_strategy("hybrid", tie=0.1) == Hybrid(tie=0.1)


def test_a_dotted_path_is_called_with_the_settings(monkeypatch):
    module = types.ModuleType("my_settings")

    class Mine:
        def __init__(self, *, width):
            self.width = width

        def suggest(self, parameters, presets, history, n, rng):
            return []

    module.Mine = Mine
    monkeypatch.setitem(sys.modules, "my_settings", module)
    check_strategy("my_settings:Mine", {"width": 3})
    assert get_strategy("my_settings:Mine", {"width": 3}).width == 3
    with pytest.raises(SpecError, match=r"cannot be loaded: TypeError.*height"):
        get_strategy("my_settings:Mine", {"height": 3})


def test_the_schema_names_every_strategy_and_setting():
    described = SearchSection.model_json_schema()["properties"]
    for name in known_strategies():
        assert f"`{name}`" in described["strategy"]["description"]
    for name, kind in STRATEGIES.items():
        for setting in settings_of(kind):
            assert setting in described["settings"]["description"], f"{name}.{setting}"
