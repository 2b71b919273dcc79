"""Local paths of a spec, as tasks in other folders and in containers must find them."""

from nasflow.core.spec import ExperimentSpec
from nasflow_pipelines import local, runners


def experiment(*uris):
    data = {"train": "gs://bucket/train.csv", "label": "y"}
    content = {"name": "one", "task": "tabular_classification", "data": data, "search": {"warm_start": uris}}
    return ExperimentSpec.model_validate(content)


def test_earlier_searches_are_named_by_absolute_path_and_mounted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "search").mkdir()
    found = local._with_absolute_paths(experiment("search", "gs://bucket/work/search/1"))
    assert found.search.warm_start == (str(tmp_path / "search"), "gs://bucket/work/search/1")
    assert runners._sources(found) == [str(tmp_path / "search")]
