"""Faults of the data and of the machine: one clear error that names the file, or the same Dataset all the same."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.workers import dataset_of, table_files

from nasflow.core.errors import DataError, TryAgainError
from nasflow.preprocess import pipeline, step
from nasflow.preprocess.spec import PreprocessSpec

ROWS = 200


def _rows(count: int = ROWS) -> str:
    return "".join(f"{i},{i * 0.5},{i % 2}\n" for i in range(count))


def _spec(train: str, **more: object) -> PreprocessSpec:
    return PreprocessSpec.model_validate(
        {"task": "tabular_classification", "data": {"train": train, "label": "y", **more}}
    )


def _run(folder: Path, train: str, **more: object):
    return step.run(_spec(train, **more), work_dir=str(folder / "work"), output=str(folder / "out"))


def _huge_value(folder: Path) -> str:
    values = ["t"] * ROWS + ["x" * 20_000_000]
    pq.write_table(pa.table({"a": values, "y": [i % 2 for i in range(ROWS + 1)]}), folder / "t.parquet")
    return "t.parquet"


def _huge_row(folder: Path) -> str:
    (folder / "t.csv").write_text(f"a,b,y\n{_rows()}{'x' * 20_000_000},1,1\n")
    return "t.csv"


def _not_utf8(folder: Path) -> str:
    (folder / "t.csv").write_bytes(f"a,b,y\n{_rows()}".encode() + "é,1,1\n".encode("latin-1"))
    return "t.csv"


def _truncated_gzip(folder: Path) -> str:
    (folder / "t.csv.gz").write_bytes(gzip.compress(f"a,b,y\n{_rows(5000)}".encode())[:-500])
    return "t.csv.gz"


def _column_missing_in_one_shard(folder: Path) -> str:
    (folder / "t-0.csv").write_text(f"a,b,y\n{_rows()}")
    (folder / "t-1.csv").write_text("a,y\n1,0\n2,1\n")
    return "t-*.csv"


def _kind_changes_between_shards(folder: Path) -> str:
    for number, value in enumerate([1.0, "one"]):
        pq.write_table(pa.table({"a": [value] * ROWS, "y": [0, 1] * (ROWS // 2)}), folder / f"t-{number}.parquet")
    return "t-*.parquet"


def _corrupt_row_group(folder: Path) -> str:
    """The footer is whole: only reading finds it."""
    path = folder / "t.parquet"
    pq.write_table(pa.table({"a": list(range(5000)), "y": [i % 2 for i in range(5000)]}), path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[4:1004] = b"\xff" * 1000
    path.write_bytes(content)
    return "t.parquet"


def _header_only_shard(folder: Path) -> str:
    (folder / "t-0.csv").write_text(f"a,b,y\n{_rows()}")
    (folder / "t-1.csv").write_text("a,b,y\n")
    return "t-*.csv"


def _too_few_rows_to_split(folder: Path) -> str:
    (folder / "t.csv").write_text(f"a,b,y\n{_rows(2)}")
    return "t.csv"


def _no_file(folder: Path) -> str:
    return "t-*.csv"


def _ragged_row(folder: Path) -> str:
    (folder / "t.csv").write_text(f"a,b,y\n{_rows()}1,2\n")
    return "t.csv"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (_huge_value, r"text longer than 1,048,576 bytes\. First: \S*/t\.parquet row 201 column 'a': 'x{200}'"),
        (_huge_row, r"1 × not a number\. First: \S*/t\.csv row 201 column 'a': 'x{200}'"),
        (_not_utf8, r"/t\.csv: .*row 201: .*invalid UTF8 data; name its encoding in data\.csv\.encoding"),
        (_truncated_gzip, r"/t\.csv\.gz: a damaged gzip .* copy it again"),
        (_column_missing_in_one_shard, r"/t-1\.csv lacks 'b', compared with \S*/t-0\.csv"),
        (
            _kind_changes_between_shards,
            r"column 'a' is numeric in \S*/t-0\.parquet but categorical in \S*/t-1\.parquet",
        ),
        (_corrupt_row_group, r"/t\.parquet"),
        (_header_only_shard, r"/t-1\.csv: a header, but no rows"),
        (_too_few_rows_to_split, r"no row fell into \w+ .*2 rows were split"),
        (_no_file, r"t-\*\.csv' matches no file; look at the pattern"),
        (_ragged_row, r"expected 3 fields, found 2\. First: \S*/t\.csv row 201: '1,2'"),
    ],
    ids=lambda value: getattr(value, "__name__", "").strip("_"),
)
def test_a_fault_of_the_data_is_one_error_that_names_the_file(
    tmp_path: Path, fault: Callable[[Path], str], message: str
) -> None:
    train = str(tmp_path / fault(tmp_path))
    with pytest.raises(DataError, match=message) as caught:
        _run(tmp_path, train)
    assert caught.value.exit_code == 2
    assert not list((tmp_path / "work").glob("preprocess/*/manifest.json"))


def test_what_a_runner_delivers_twice_is_not_twice_in_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle that is tried again: every part is analysed, judged for drops and written two times, and both outputs
    arrive."""
    train = table_files(tmp_path / "data", files=3, rows=300)
    optimise = {"drop_duplicates": True}
    once = _run(tmp_path / "once", train, optimise=optimise)
    monkeypatch.setattr(beam, "Reshuffle", lambda: "Twice" >> beam.FlatMap(lambda part: [part, part]))
    twice = _run(tmp_path / "twice", train, optimise=optimise)
    assert twice.rows == once.rows
    assert sum(twice.rows.values()) == 900
    assert dataset_of(tmp_path / "twice" / "work") == dataset_of(tmp_path / "once" / "work")
    assert {name: entry.sha256 for name, entry in twice.files.items() if name != "report.html"} == {
        name: entry.sha256 for name, entry in once.files.items() if name != "report.html"
    }


def _changes_after_the_analysis(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    analyse = pipeline.analyse

    def then(*args: object, **kwargs: object):
        found = analyse(*args, **kwargs)
        change()
        return found

    monkeypatch.setattr(pipeline, "analyse", then)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many rows as before, but others: no count shows it."""
    path = tmp_path / "t.csv"
    path.write_text(f"a,b,y\n{_rows()}")
    _changes_after_the_analysis(monkeypatch, lambda: path.write_text(f"a,b,y\n{_rows().replace('0.5', '0.7')}"))
    with pytest.raises(
        TryAgainError, match=r"/t\.csv changed while it was read; run again when nobody writes"
    ) as error:
        _run(tmp_path, str(path))
    assert error.value.exit_code == 75
    assert not list((tmp_path / "work").glob("preprocess/*/manifest.json"))
    monkeypatch.undo()
    assert sum(_run(tmp_path, str(path)).rows.values()) == ROWS  # the same command, a place of its own


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is not that the file is damaged: it was not when the run began."""
    (path,) = Path(table_files(tmp_path / "data", files=1)).parent.glob("*.parquet")
    _changes_after_the_analysis(monkeypatch, lambda: path.write_bytes(path.read_bytes()[:-1000]))
    with pytest.raises(TryAgainError, match=r"/part-00\.parquet changed while it was read"):
        _run(tmp_path, str(path))


def test_a_file_that_is_removed_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = Path(table_files(tmp_path / "data", files=1)).parent.glob("*.parquet")
    _changes_after_the_analysis(monkeypatch, path.unlink)
    with pytest.raises(TryAgainError, match=r"part-00\.parquet'?: removed while the data was read"):
        _run(tmp_path, str(path))


def _command(folder: Path, train: str, *, prefix: list[str]) -> subprocess.CompletedProcess[str]:
    (folder / "spec.yaml").write_text(_spec(train).model_dump_json())
    (folder / "spec.yaml").write_text(
        json.dumps({"task": "tabular_classification", "data": {"train": train, "label": "y"}})
    )
    command = [*prefix, sys.executable, "-m", "nasflow.preprocess", "--spec", "spec.yaml", "--output", "out"]
    command += ["--work-dir", "work"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def _bound_by_permissions() -> list[str]:
    """Root may read everything, unless it gives that up."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root without setpriv (util-linux): permissions do not bind it")
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"a,b,y\n{_rows()}")
    path.chmod(0)
    run = _command(tmp_path, str(path), prefix=_bound_by_permissions())
    assert run.returncode == 2, run.stderr
    assert "t.csv" in run.stderr
    assert "cannot be read (Permission denied); look at the path and its permissions" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system: needs root")
def test_a_full_disk(tmp_path: Path) -> None:
    """Nothing half-written counts as finished, and with room the same command goes on."""
    train = table_files(tmp_path / "data", files=2, rows=20_000)
    work = tmp_path / "work"
    work.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", work], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"this machine does not let root mount a tmpfs: {mounted.stderr}")
    try:
        run = _command(tmp_path, train, prefix=[])
        assert run.returncode == 75, run.stderr
        assert "No space left on device" in run.stderr
        assert "make room" in run.stderr
        assert "Traceback" not in run.stderr
        assert not list(work.glob("preprocess/*/manifest.json"))
        subprocess.run(["mount", "-o", "remount,size=64m", work], check=True)
        again = _command(tmp_path, train, prefix=[])
        assert again.returncode == 0, again.stderr
    finally:
        subprocess.run(["umount", "-l", work], check=True)
