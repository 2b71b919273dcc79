import os
import tempfile
import threading
import time
from pathlib import Path

import pytest

from nasflow.core.errors import UserError
from nasflow.core.storage import LocalStorage, absolute, assert_writable, join, sha256_of, storage_for
from nasflow.testing import StorageConformance


class TestLocalStorage(StorageConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path

    def make(self):
        return LocalStorage()

    def root(self):
        return tempfile.mkdtemp(dir=self.folder)


def test_no_half_written_file_and_no_leftover(tmp_path):
    uri = str(tmp_path / "data")
    LocalStorage().write(uri, b"old")
    stop = threading.Event()
    seen = set()

    def read():
        while not stop.is_set():
            seen.add(len(LocalStorage().read(uri)))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        LocalStorage().write(uri, b"x" * 1_000_000)
        LocalStorage().write(uri, b"old")
    stop.set()
    reader.join()
    assert seen <= {3, 1_000_000}
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_torn_last_line_is_closed_off(tmp_path):
    path = tmp_path / "ledger"
    path.write_bytes(b'{"a": 1}\n{"a"')
    LocalStorage().append(str(path), b'{"a": 2}')
    assert path.read_bytes() == b'{"a": 1}\n{"a"\n{"a": 2}\n'


def test_a_lock_waits_for_its_holder(tmp_path):
    order = []
    uri = str(tmp_path / ".lock")
    taken = threading.Event()

    def second():
        taken.wait()
        with LocalStorage().lock(uri):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with LocalStorage().lock(uri):
        taken.set()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_files_have_the_users_permissions(tmp_path):
    old = os.umask(0o027)
    try:
        LocalStorage().write(str(tmp_path / "file"), b"")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_uris(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("a/../b") == str(tmp_path / "b")
    assert absolute("gs://bucket/a/") == "gs://bucket/a"
    assert join("/a/", "/b", "c/") == "/a/b/c"
    Path("x").write_bytes(b"abc")
    assert sha256_of(f"file://{tmp_path}/x") == ("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 3)
    with pytest.raises(UserError, match=r"cannot use 's3://bucket'; name a local path or gs://"):
        storage_for("s3://bucket")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"work_dir: cannot write to '.*/file/below'"):
        assert_writable(str(tmp_path / "file/below"))
    assert_writable(str(tmp_path / "new"))
    assert list((tmp_path / "new").iterdir()) == []


def test_who_waits_for_a_lock_says_so(tmp_path, caplog):
    uri, order = str(tmp_path / "place" / ".lock"), []

    def second():
        with LocalStorage().lock(uri):
            order.append("second")

    with caplog.at_level("INFO", logger="nasflow.core.storage"):
        with LocalStorage().lock(uri):
            thread = threading.Thread(target=second)
            thread.start()
            deadline = time.monotonic() + 20
            while not caplog.records and time.monotonic() < deadline:
                time.sleep(0.01)
            order.append("first")
        thread.join(20)
    assert order == ["first", "second"]
    assert [record.getMessage() for record in caplog.records] == [
        f"waiting: another process works in {tmp_path / 'place'}"
    ]
