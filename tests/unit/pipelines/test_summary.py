import json

import jsonschema
import pytest
from pydantic import ValidationError

from nasflow.core.artifacts import Dataset
from nasflow.core.spec import ExperimentSpec
from nasflow_pipelines.summary import Failure, Summary, summarise, to_json

SPEC = ExperimentSpec.model_validate({"task": "tabular_regression", "data": {"train": "a.csv", "label": "y"}})
FAILURE = Failure(step="search", message="no", exit_code=2)


def test_a_failed_run_tells_what_it_has():
    rows = {"train": 8, "validation": 1, "test": 1, "dead": 2}
    dataset = Dataset(task="tabular_regression", rows=rows, shards={}, seconds=1.5, cpu_seconds=2.5)
    content = json.loads(to_json(summarise(SPEC, {"preprocess": dataset}, failure=FAILURE)))
    jsonschema.validate(content, Summary.model_json_schema(mode="serialization"))
    assert content["status"] == "failed"
    assert content["objective"] == "rmse"
    assert content["rows"] == rows
    assert content["seconds"] == {"preprocess": 1.5}
    assert content["cpu_seconds"] == {"preprocess": 2.5}
    assert content["search"] is content["test"] is content["model"] is None


def test_success_needs_all_parts_and_failure_an_error():
    with pytest.raises(ValidationError, match="all its parts"):
        summarise(SPEC, {})
    with pytest.raises(ValidationError, match="with error"):
        Summary(status="failed", name="x", task="tabular_regression", objective="rmse")


def test_the_schema_describes_every_key():
    schema = Summary.model_json_schema(mode="serialization")
    promised = {
        "status", "task", "rows", "search", "test", "baseline", "decision", "model", "seconds", "cpu_seconds",
    }  # fmt: skip
    assert promised <= set(schema["properties"])
    assert schema["additionalProperties"] is False
