import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from nasflow.core.task import OWNER_VARIABLE, read_record, record_uri

HEAD = """
import os, sys, time
from nasflow.core.artifacts import Dataset
from nasflow.core.errors import NasflowError, TryAgainError, UserError
from nasflow.core.task import task
def document():
    rows = {"train": 1, "validation": 0, "test": 0, "dead": 0}
    return Dataset(task="t", rows=rows, shards={}, seconds=2.5).publish(sys.argv[1] + "/d", {})
with task("search", work_dir=sys.argv[1], run_id="r") as current:
"""


def start(tmp_path, body, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + textwrap.indent(body, "    "), str(tmp_path)],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(tmp_path, body):
    process = start(tmp_path, body)
    _, stderr = process.communicate(timeout=60)
    return process.returncode, [json.loads(line) for line in stderr.splitlines() if line.startswith("{")], stderr


def test_a_success_is_recorded_with_its_document(tmp_path):
    code, lines, _ = finish(tmp_path, "current.done(document())")
    assert code == 0
    record = read_record(str(tmp_path), "r", "search")
    assert (record.status, record.exit_code, record.seconds) == ("succeeded", 0, 2.5)
    assert record.document_uri == str(tmp_path / "d")
    assert len(record.document_digest) == 64
    assert [line.get("event") for line in lines] == ["started", "done"]
    assert record_uri(str(tmp_path), "r", "search") == str(tmp_path / "runs/r/search.json")


@pytest.mark.parametrize(
    ("error", "code"), [("UserError('a.csv: no')", 2), ("TryAgainError('busy')", 75), ("NasflowError('x')", 1)]
)
def test_an_error_of_ours_is_one_line_and_its_exit_code(tmp_path, error, code):
    ended, lines, stderr = finish(tmp_path, f"raise {error}")
    assert ended == code
    assert read_record(str(tmp_path), "r", "search").exit_code == code
    assert lines[-1]["exit_code"] == code
    assert "Traceback" not in stderr


def test_a_defect_is_recorded_and_shows_its_traceback(tmp_path):
    ended, _, stderr = finish(tmp_path, "{}['key']")
    assert ended == 1
    record = read_record(str(tmp_path), "r", "search")
    assert (record.status, record.exit_code) == ("failed", 1)
    assert "KeyError: 'key'" in record.error
    assert "Traceback" in stderr


def test_a_task_without_a_document_is_a_failure(tmp_path):
    ended, _, _ = finish(tmp_path, "pass")
    assert ended == 1
    assert "without a document" in read_record(str(tmp_path), "r", "search").error


def test_a_missing_permission_is_the_users_to_solve(tmp_path):
    ended, _, _ = finish(tmp_path, "raise PermissionError(13, 'denied', '/data/a.csv')")
    assert ended == 2
    assert "/data/a.csv: permission denied" in read_record(str(tmp_path), "r", "search").error


def test_a_full_disk_is_a_reason_to_try_again(tmp_path):
    ended, _, stderr = finish(tmp_path, "raise OSError(28, 'No space left on device', '/work/a')")
    assert ended == 75
    record = read_record(str(tmp_path), "r", "search")
    assert (record.exit_code, record.error) == (
        75,
        "/work/a: No space left on device; make room, then run the same command again",
    )
    assert "Traceback" not in stderr


def test_a_task_that_never_ran_has_no_record(tmp_path):
    assert read_record(str(tmp_path), "r", "search") is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_75_after_its_cleaning_up_even_if_sent_twice(tmp_path, number):
    body = f"""
try:
    open("{tmp_path}/began", "w").close()
    time.sleep(60)
finally:
    time.sleep(1)
    open("{tmp_path}/cleaned", "w").close()
"""
    process = start(tmp_path, body)
    wait_until((tmp_path / "began").exists)
    process.send_signal(number)
    time.sleep(0.3)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 75
    assert (tmp_path / "cleaned").exists()
    record = read_record(str(tmp_path), "r", "search")
    assert record.exit_code == 75
    assert "run the same command again" in record.error


def test_it_ends_with_its_owner_and_takes_its_own_children_along(tmp_path):
    owner = subprocess.Popen(["sleep", "60"])
    body = f"""
import subprocess
child = subprocess.Popen(["sleep", "60"])
open("{tmp_path}/child.tmp", "w").write(str(child.pid))
os.rename("{tmp_path}/child.tmp", "{tmp_path}/child")
time.sleep(60)
"""
    process = start(tmp_path, body, **{OWNER_VARIABLE: str(owner.pid)})
    wait_until((tmp_path / "child").exists)
    child = int((tmp_path / "child").read_text())
    assert process.poll() is None
    owner.kill()  # not waited for: a zombie counts as gone
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    wait_until(lambda: gone(child))
    owner.wait()
    assert read_record(str(tmp_path), "r", "search") is None


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
