"""How far a job is: marks that workers leave, and what is said of them."""

import json
import logging
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.workers import table_files

from nasflow.core.errors import TryAgainError
from nasflow.preprocess import progress as progress_module
from nasflow.preprocess import step
from nasflow.preprocess.progress import Progress, Reached, Watch
from nasflow.preprocess.spec import PreprocessSpec


@pytest.fixture
def progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Progress:
    """Marks are left at once."""
    monkeypatch.setattr(progress_module, "_SECONDS_HERE", 0.0)
    return Progress(stage="transform", uri=str(tmp_path / "marks"))


def _said(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The lines of progress: other loggers write, too, a warning about a slow machine say."""
    return [record for record in caplog.records if record.name == progress_module.__name__]


def _read(progress: Progress, index: int, *, rows: int, dead: int = 0) -> progress_module.Part:
    part = progress.part(f"{index}.csv", index)
    part.add(rows=rows, dead=dead)
    return part


def test_a_part_that_is_delivered_twice_counts_once(progress: Progress, caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    watch = Watch(progress, parts=3, clock=lambda: now[0])
    assert watch.look() == Reached(begun=False)
    progress.begun()
    assert watch.look() == Reached(begun=True)
    for _ in range(2):
        _read(progress, 0, rows=100, dead=1).done(shards=3)
    _read(progress, 1, rows=50).done(shards=2)
    now[0] = 10.0
    with caplog.at_level("INFO", logger="nasflow.preprocess.progress"):
        assert watch.look() == Reached(begun=True, parts=2, rows=150, dead=1, shards=5)
    # 150 rows in 10 s; 2 of 3 parts took 10 s, so the third takes 5
    assert "transform 2 of 3 parts, 150 rows (15 rows/s), 5 shards, 1 dead letters, left: 5 s" in caplog.text
    assert _said(caplog)[-1].live
    watch.close()
    assert not list(Path(progress.uri).iterdir())


def test_rows_of_a_part_that_is_being_read_count_until_it_is_done(progress: Progress) -> None:
    now = [0.0]
    watch = Watch(progress, parts=2, rows=1000, clock=lambda: now[0])
    part = _read(progress, 0, rows=100, dead=2)
    now[0] = 20.0
    assert watch.look() == Reached(begun=True, rows=100, dead=2)
    assert watch.left(watch.look()) == 180.0  # 900 rows to go at 5 rows/s
    part.add(rows=300, dead=0)
    assert watch.look() == Reached(begun=True, rows=400, dead=2)
    part.done(shards=1)
    assert watch.look() == Reached(begun=True, parts=1, rows=400, dead=2, shards=1)


def test_nothing_is_estimated_before_there_is_something_to_go_by(progress: Progress) -> None:
    watch = Watch(progress, parts=2, clock=lambda: 5.0)
    _read(progress, 0, rows=100)
    assert watch.left(watch.look()) is None


def test_a_bucket_is_asked_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(progress_module, "storage_for", lambda uri: _Recorder(asked))
    part = Progress(stage="analyse", uri="gs://bucket/marks").part("a", 0)
    for _ in range(100):
        part.add(rows=1, dead=0)
    assert asked == []  # ten seconds are not over
    part._marked -= 11
    part.add(rows=1, dead=0)
    assert asked == ["gs://bucket/marks/000000.doing 101 0"]


class _Recorder:
    def __init__(self, asked: list[str]) -> None:
        self._asked = asked

    def exists(self, uri: str) -> bool:
        return False

    def write(self, uri: str, data: bytes) -> None:
        self._asked.append(f"{uri} {data.decode()}")


def test_work_on_a_cancelled_job_ends_by_itself(progress: Progress) -> None:
    """A runner may lose the request: the workers see the mark."""
    part, watch = _read(progress, 0, rows=10), Watch(progress, parts=2)
    watch.cancel()
    watch.close()
    assert [path.name for path in Path(progress.uri).iterdir()] == ["cancelled"]
    with pytest.raises(TryAgainError, match="transform: the job was cancelled"):
        part.add(rows=10, dead=0)
    with pytest.raises(TryAgainError, match="transform: the job was cancelled"):
        progress.part("1.csv", 1)


def _preprocess(folder: Path) -> list[str]:
    train = table_files(folder / "data", files=4, rows=50)
    spec = {"task": "tabular_classification", "data": {"train": train, "label": "y"}}
    (folder / "spec.yaml").write_text(json.dumps(spec))
    places = ["--spec", folder / "spec.yaml", "--output", folder / "out", "--work-dir", folder / "work"]
    return [sys.executable, "-m", "nasflow.preprocess", *map(str, places)]


def test_the_local_runner_says_how_far_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = {
        "task": "tabular_classification",
        "data": {"train": table_files(tmp_path / "data", files=4, rows=50), "label": "y"},
    }
    with caplog.at_level("INFO", logger="nasflow.preprocess.progress"):
        step.run(PreprocessSpec.model_validate(spec), work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))
    last = _said(caplog)[-1]
    assert last.live is False  # it stays
    assert (last.stage, last.parts, last.rows, last.dead, last.shards) == ("transform", 4, 200, 0, 12)
    assert last.rows_per_second > 0


def test_every_stage_says_how_far_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = {"train": table_files(tmp_path / "data", files=4, rows=50), "label": "y", "split": {"by": "stratified"}}
    spec = {"task": "tabular_classification", "data": {**data, "optimise": {"drop_duplicates": True}}}
    with caplog.at_level("INFO", logger="nasflow.preprocess.progress"):
        step.run(PreprocessSpec.model_validate(spec), work_dir=str(tmp_path / "work"), output=str(tmp_path / "out"))
    last = {record.stage: (record.parts, record.rows) for record in _said(caplog) if record.live is False}
    assert last == {
        "survey": (4, 200),
        "record": (4, 200),
        "compare": (1, 200),
        "analyse": (4, 200),
        "transform": (4, 200),
    }


def test_a_terminal_has_a_live_line(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(_preprocess(tmp_path), stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        said, deadline = b"", time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                said += os.read(ours, 65536)
            except OSError:  # Linux: the other end is closed
                break
    assert process.returncode == 0
    # the last line stays, in the place of the live ones before it if there were any
    line = rb"[\r\n](\x1b\[K)?[\d:]+ preprocess: transform 4 of 4 parts, 200 rows \([\d,]+ rows/s\), 12 shards, 0 dead"
    assert re.search(line, said)
