import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nasflow.core.spec import ExperimentSpec, parse_count

SMALLEST = {"task": "tabular_classification", "data": {"train": "a.csv", "label": "y"}}


def made(**more):
    return ExperimentSpec.model_validate({**SMALLEST, **more})


def test_everything_but_task_data_and_label_has_a_default():
    spec = made()
    assert (spec.name, spec.metric, spec.seed, spec.model_name) == ("experiment", "accuracy", 0, "experiment")
    assert spec.search.budget.trials == 20
    for missing in ("task", "data"):
        with pytest.raises(ValidationError):
            ExperimentSpec.model_validate({k: v for k, v in SMALLEST.items() if k != missing})


def test_the_objective_fits_the_task():
    assert made(task="tabular_regression").metric == "rmse"
    assert made(objective="f1_macro").metric == "f1_macro"
    with pytest.raises(ValidationError, match="does not fit task tabular_classification; use one of accuracy"):
        made(objective="rmse")


@pytest.mark.parametrize(
    ("text", "count"),
    [("50M", 50_000_000), ("200_000", 200_000), ("1.5k", 1500), ("2K", 2000), ("1G", 10**9), (" 7 ", 7), (7, 7)],
)
def test_counts_are_read_with_units(text, count):
    assert parse_count(text) == count
    assert made(constraints={"flops": text}).constraints.flops == count


@pytest.mark.parametrize("text", ["M", "1.5.2k", "-3", "5 apples", "0", -1, 0])
def test_what_is_no_count_is_refused(text):
    with pytest.raises(ValidationError):
        made(constraints={"parameters": text})


def test_a_search_without_a_limit_is_refused():
    assert made(search={"budget": {"trials": None, "hours": 1}}).search.budget.trials is None
    with pytest.raises(ValidationError, match="never ends"):
        made(search={"budget": {"trials": None}})


@pytest.mark.parametrize("split", [{"validation": 0}, {"validation": 0.5, "test": 0.5}, {"test": 1.0}, {"test": -0.1}])
def test_a_split_leaves_rows_to_train_and_to_compare_on(split):
    with pytest.raises(ValidationError):
        made(data={**SMALLEST["data"], "split": split})


@pytest.mark.parametrize("name", ["", "UPPER", "a_b", "-a", "a-", "a" * 51])
def test_names_are_kubernetes_names(name):
    with pytest.raises(ValidationError):
        made(name=name)


def test_register_is_written_without_its_underscore():
    spec = made(register={"name": "cars"})
    assert spec.model_name == "cars"
    dumped = spec.model_dump(mode="json")
    assert dumped["register"] == {"name": "cars", "registry": "file", "uri": None, "server": None}
    assert ExperimentSpec.model_validate(dumped) == spec


@given(
    trials=st.none() | st.integers(1, 10**6),
    hours=st.floats(0.001, 1000),
    flops=st.none() | st.integers(1, 10**12),
    ignore=st.lists(st.text(min_size=1, max_size=8), max_size=3),
    seed=st.integers(0, 2**31 - 1),
)
def test_json_and_yaml_round_trips(trials, hours, flops, ignore, seed):
    spec = made(
        search={"budget": {"trials": trials, "hours": hours}},
        constraints={"flops": flops},
        data={**SMALLEST["data"], "ignore": ignore},
        seed=seed,
    )
    content = json.loads(spec.model_dump_json())
    assert ExperimentSpec.model_validate(content) == spec
    assert ExperimentSpec.model_validate(yaml.safe_load(yaml.safe_dump(content))) == spec


def test_every_field_of_every_section_says_what_it_means():
    schema = ExperimentSpec.model_json_schema()
    for name, section in {"ExperimentSpec": schema, **schema["$defs"]}.items():
        for key, field in section["properties"].items():
            assert field.get("description"), f"{name}.{key}"
