import multiprocessing
from pathlib import Path

import pytest

from nasflow.core.artifacts import External
from nasflow.core.errors import DocumentError, UserError
from nasflow.registry._base import Draft
from nasflow.registry.file import FileRegistry
from nasflow.testing import RegistryConformance


class TestFileRegistry(RegistryConformance):
    def open(self, folder):
        return FileRegistry(str(Path(folder, "registry")))


def draft(folder, content):
    path = Path(folder, content, "saved_model.pb")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return Draft(bundle_uri=str(path.parent), files={"saved_model.pb": External.of(str(path))})


def test_a_crash_between_copy_and_version_is_harmless(tmp_path):
    registry = FileRegistry(str(tmp_path / "registry"))
    first = registry.register("fashion", draft(tmp_path, "a"))
    version_file = tmp_path / "registry/fashion/versions/1.json"
    version_file.unlink()  # as if killed before it was written
    assert registry.models() == []
    assert registry.versions("fashion") == []
    again = registry.register("fashion", draft(tmp_path, "a"))
    assert (again.version, again.bundle_uri) == (1, first.bundle_uri)
    registry.verify(again)


def test_a_copy_cut_short_is_repaired(tmp_path):
    registry = FileRegistry(str(tmp_path / "registry"))
    version = registry.register("fashion", draft(tmp_path, "abc"))
    Path(version.files["saved_model.pb"].uri).write_text("ab")
    (tmp_path / "registry/fashion/versions/1.json").unlink()
    registry.verify(registry.register("fashion", draft(tmp_path, "abc")))


def test_file_names_stay_inside_the_bundle(tmp_path):
    good = draft(tmp_path, "a")
    for name in ("../escape", "/etc/escape"):
        bad = good.model_copy(update={"files": {name: good.files["saved_model.pb"]}})
        with pytest.raises(UserError, match="leads out of the bundle"):
            FileRegistry(str(tmp_path / "registry")).register("fashion", bad)


def test_damaged_files_are_named(tmp_path):
    registry = FileRegistry(str(tmp_path / "registry"))
    registry.register("fashion", draft(tmp_path, "a"))
    registry.promote("fashion", "champion", 1, expected=None)
    (tmp_path / "registry/fashion/aliases.json").write_text("{")
    with pytest.raises(DocumentError, match=r"aliases\.json: damaged"):
        registry.aliases("fashion")
    (tmp_path / "registry/fashion/versions/1.json").write_text("{}")
    with pytest.raises(DocumentError, match=r"1\.json: damaged"):
        registry.get("fashion", version=1)


def _register(folder, number, queue):
    version = FileRegistry(str(folder / "registry")).register("fashion", draft(folder, f"process-{number}"))
    queue.put(version.version)


def test_processes_race_as_threads_do(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_register, args=(tmp_path, number, queue)) for number in range(8)]
    for process in processes:
        process.start()
    numbers = sorted(queue.get(timeout=30) for _ in processes)
    for process in processes:
        process.join()
    assert numbers == [1, 2, 3, 4, 5, 6, 7, 8]
