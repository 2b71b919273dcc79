"""`nasflow models`: the registry from the command line."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from nasflow.core.artifacts import Estimate, External
from nasflow.registry._base import Draft, Feature
from nasflow.registry.file import FileRegistry
from nasflow_pipelines.cli import main


def draft(folder, text, accuracy, **fields):
    path = Path(folder, "made", text, "saved_model", "saved_model.pb")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    bundle = path.parent.parent
    metrics = {"accuracy": Estimate(value=accuracy, ci95=(accuracy - 0.1, accuracy + 0.1))}
    files = {"saved_model/saved_model.pb": External.of(str(path))}
    return Draft(bundle_uri=str(bundle), files=files, metrics=metrics, **fields)


@pytest.fixture
def store(tmp_path):
    """Two versions, the second the champion."""
    registry = FileRegistry(str(tmp_path / "registry"))
    age = {"name": "age", "kind": "numeric", "dtype": "double", "missing": False}
    registry.register(
        "m",
        draft(
            tmp_path,
            "a",
            0.5,
            features=(
                Feature(**age, low=1, high=90),
                Feature(name="job", kind="categorical", dtype="string", missing=True),
            ),
            signature={"classes": ["no", "yes"]},
            lineage={"dataset": "1" * 64},
            attachments={"spec.json": b'{"seed": 0, "task": "t"}', "card.md": b"# Model card: m"},
        ),
    )
    registry.register(
        "m",
        draft(
            tmp_path,
            "b",
            0.75,
            features=(Feature(**age, low=1, high=95),),
            signature={"classes": ["maybe", "yes"]},
            lineage={"dataset": "2" * 64},
            attachments={"spec.json": b'{"seed": 1, "task": "t"}', "card.md": b"# Model card: m"},
        ),
    )
    registry.promote("m", "champion", 1, expected=None)
    registry.promote("m", "champion", 2, expected=1, reason="better")
    return registry


def run(store, *arguments):
    return CliRunner().invoke(main, ["models", *arguments, "--registry", store.uri])


def test_list_show_and_card(store):
    assert run(store, "list").output == "m  versions 1, 2  champion = 2\n"
    lines = run(store, "list", "m").output.splitlines()
    assert lines[0].startswith("m 1  ")
    assert lines[0].endswith("accuracy 0.5")
    assert lines[1].endswith("accuracy 0.75  champion")
    assert lines[3].endswith("champion: 1 → 2  promote  (better)")
    assert json.loads(run(store, "show", "m@champion").output)["version"] == 2
    assert run(store, "show", "m@1", "--card").output == "# Model card: m\n"
    unknown = run(store, "list", "n")
    assert (unknown.exit_code, "it has m" in unknown.output) == (2, True)


def test_diff_says_what_changed(store):
    assert run(store, "diff", "m@1", "m@champion").output.splitlines() == [
        "m 1 → 2",
        "metrics (on other data):",
        "  accuracy   0.5 [0.4, 0.6] → 0.75 [0.65, 0.85]  +0.25",
        "input ~ age: 1.0 to 90.0 → 1.0 to 95.0",
        "input - job",
        "class - no",
        "class + maybe",
        f"made from another dataset: {'1' * 12} → {'2' * 12}",
        "spec:",
        '  - "seed": 0,',
        '  + "seed": 1,',
    ]


def test_promote_names_what_it_replaces_and_rollback_brings_the_former_back(store):
    lost = run(store, "promote", "m", "1", "--expect", "1")
    assert lost.exit_code == 75
    assert "points at version 2, expected version 1" in lost.output
    assert run(store, "promote", "m", "1", "--expect", "2").output == "m@champion: 2 → 1\n"
    assert run(store, "rollback", "m", "--reason", "worse").output == "m@champion: back to 2\n"
    assert store.history("m")[-1].reason == "worse"


def test_export_is_whole_or_nothing(store, tmp_path):
    target = tmp_path / "out"
    assert run(store, "export", "m@champion", "-o", str(target)).output == f"m version 2: 4 files in {target}\n"
    assert (target / "bundle/saved_model/saved_model.pb").read_text() == "b"
    assert json.loads((target / "spec.json").read_text())["seed"] == 1
    assert json.loads((target / "version.json").read_text())["version"] == 2
    again = run(store, "export", "m@1", "-o", str(target))
    assert (again.exit_code, "not empty; name a new folder" in again.output) == (2, True)
    Path(store.get("m", version=1).attachments["card.md"].uri).write_text("changed")
    assert run(store, "export", "m@1", "-o", str(tmp_path / "other")).exit_code == 2
    assert not (tmp_path / "other").exists()


def test_verify_refuses_a_changed_bundle_and_so_does_promote(store):
    fine = run(store, "verify")
    assert (fine.exit_code, fine.output) == (0, "m 1: 3 files ok\nm 2: 3 files ok\n")
    Path(store.get("m", version=1).files["saved_model/saved_model.pb"].uri).write_text("evil")
    changed = run(store, "verify")
    assert changed.exit_code == 2
    assert "m 2: 3 files ok" in changed.output
    assert "Error: m version 1: " in changed.output
    assert "it was changed" in changed.output
    assert run(store, "verify", "m@2").exit_code == 0
    refused = run(store, "promote", "m", "1")
    assert (refused.exit_code, store.aliases("m")["champion"]) == (2, 2)


def test_gc_lists_then_deletes_what_no_version_refers_to(store, tmp_path):
    store.register("m", draft(tmp_path, "c", 0.1))
    (tmp_path / "registry/m/versions/3.json").unlink()  # as if killed before it was written
    assert run(store, "gc").output == "0 files of no version found; --delete removes them\n"  # it may be at work still
    listed = run(store, "gc", "--older-than-hours", "0").output.splitlines()
    assert len(listed) == 2
    assert Path(listed[0]).exists()
    assert (
        run(store, "gc", "--older-than-hours", "0", "--delete").output.splitlines()[-1]
        == "1 files of no version deleted"
    )
    assert not Path(listed[0]).exists()
    assert run(store, "verify").exit_code == 0


@pytest.mark.slow
def test_rollback_takes_about_a_second(store):
    """CPU seconds of a whole process: the machine may be busy with others."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    command = [sys.executable, "-m", "nasflow_pipelines.cli", "models", "rollback", "m", "--registry", store.uri]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "m@champion: back to 1\n"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 2.0, (seconds, time.monotonic() - started)
