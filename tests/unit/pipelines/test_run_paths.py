"""Local paths of a spec, as tasks in other folders and in containers must find them."""

import errno

import pytest

from nasflow.core import spec_file
from nasflow.core.errors import TryAgainError
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


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    """The second would empty the first one's log and mix their documents; the end of the first opens the folder."""
    with local._alone(tmp_path / "out"):
        with (
            pytest.raises(TryAgainError, match="another run is writing its results there"),
            local._alone(tmp_path / "out"),
        ):
            pass
        with local._alone(tmp_path / "other"):
            pass
    with local._alone(tmp_path / "out"):
        pass


def test_a_full_disk_at_the_end_of_a_run_is_one_message(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(local, "_execute", lambda *args, **kwargs: (None, "it failed"))
    monkeypatch.setattr(local, "write_results", full)
    experiment = spec_file.parse("task: tabular_classification\ndata: {train: 'sample:iris', label: target}\n")
    with pytest.raises(TryAgainError, match="No space left on device; make room"):
        local.run(experiment, output=str(tmp_path), work_dir=str(tmp_path / "work"))
