"""The request log: what is written is what is read, within its limits."""

import gzip
import json
import threading

import numpy as np
import pytest

from nasflow.core.errors import DataError, UserError
from nasflow.serving.request_log import LogSettings, Record, RequestLog, read


def logged(folder, **settings):
    return RequestLog(LogSettings(folder=folder, **settings), model="houses", version="3")


def batch(rows):
    town = np.empty(rows, object)
    town[:] = ["Ulm" if row % 2 else "" for row in range(rows)]
    return {"rooms": np.array([np.nan, *range(1, rows)], np.float64), "town": town}


def test_a_request_is_read_back_with_missing_numbers_as_null(tmp_path):
    log = logged(tmp_path)
    log.answered(batch(3), np.array([1.5, 2.5, 3.5], np.float32), seconds=0.25, request_id="r1")
    log.refused(422, "row 1: column 'rooms': expected a number or null, got 'x'")
    log.close()
    answered, refused = read([str(tmp_path)])
    assert answered.columns == {"rooms": [None, 1.0, 2.0], "town": ["", "Ulm", ""]}
    assert answered.predictions == [1.5, 2.5, 3.5]
    assert (answered.model, answered.version, answered.status, answered.rows) == ("houses", "3", 200, 3)
    assert (answered.seconds, answered.id, answered.share) == (0.25, "r1", 1.0)
    assert (refused.status, refused.columns, "rooms" in refused.error) == (422, {}, True)
    assert next(tmp_path.iterdir()).stat().st_mode & 0o777 == 0o600


def test_probabilities_keep_their_rows(tmp_path):
    log = logged(tmp_path)
    log.answered({"image": np.full((2, 4, 4, 1), 7, np.uint8)}, np.array([[0.25, 0.75], [0.5, 0.5]], np.float32))
    log.close()
    (record,) = read([str(tmp_path)])
    assert record.predictions == [[0.25, 0.75], [0.5, 0.5]]
    assert record.columns == {"image/brightness": [7.0, 7.0], "image/contrast": [0.0, 0.0]}


def test_only_a_share_of_the_answered_requests_is_written_and_every_refused_one(tmp_path):
    log = logged(tmp_path, share=0.0)
    for _ in range(20):
        log.answered(batch(1), np.zeros(1, np.float32))
    log.refused(400, "no rows: send at least one")
    log.close()
    assert [record.status for record in read([str(tmp_path)])] == [400]
    with pytest.raises(UserError, match="share must be 0 to 1, got 2"):
        logged(tmp_path, share=2)


def test_rows_of_a_large_request_are_a_spread_sample(tmp_path):
    log = logged(tmp_path, max_rows=4)
    log.answered({"x": np.arange(100.0)}, np.arange(100, dtype=np.float32))
    log.close()
    (record,) = read([str(tmp_path)])
    assert record.rows == 100
    assert record.columns["x"] == record.predictions == [0.0, 25.0, 50.0, 75.0]


def test_files_are_begun_anew_at_their_limit_and_the_oldest_go(tmp_path):
    log = logged(tmp_path, max_bytes=400, files=2)
    for number in range(10):
        log.answered({"x": np.full(8, float(number))}, np.zeros(8, np.float32))
    log.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    assert all(file.stat().st_size <= 400 for file in files)
    kept = [record.columns["x"][0] for record in read([str(tmp_path)])]
    assert kept == [float(number) for number in range(10)][-len(kept) :]


def test_a_line_that_a_kill_cut_is_left_out_and_a_damaged_one_is_named(tmp_path):
    path = tmp_path / "a.requests.jsonl"
    whole = Record(time="t", model="m", status=200).model_dump_json()
    path.write_text(f"{whole}\n{whole[:20]}")
    assert len(list(read([str(path)]))) == 1
    path.write_text(f"{whole}\n{whole[:20]}\n{whole}\n")
    with pytest.raises(DataError, match=r"a\.requests\.jsonl, line 2: no request record"):
        list(read([str(path)]))
    path.write_text(json.dumps({"instances": []}) + "\n")
    with pytest.raises(DataError, match="line 1: no request record: time"):
        list(read([str(path)]))
    with pytest.raises(DataError, match="no such file"):
        list(read([str(tmp_path / "none")]))


def test_what_a_rotation_made_of_a_log_is_read_too(tmp_path):
    """logrotate's names; the end of a compressed file that was cut is left out like that of a plain one."""
    line = Record(time="t", model="m", status=200).model_dump_json().encode() + b"\n"
    (tmp_path / "a.requests.jsonl").write_bytes(line)
    (tmp_path / "a.requests.jsonl.1").write_bytes(line * 2)
    (tmp_path / "a.requests.jsonl.2.gz").write_bytes(gzip.compress(line * 3))
    (tmp_path / "other.txt").write_bytes(b"no log")
    assert len(list(read([str(tmp_path)]))) == 6
    cut = tmp_path / "b.requests.jsonl.gz"
    cut.write_bytes(gzip.compress(line * 1000)[:-20])
    assert 0 < len(list(read([str(cut)]))) <= 1000
    cut.write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"b\.requests\.jsonl\.gz: is not gzip"):
        list(read([str(cut)]))


def test_pods_that_share_a_folder_write_files_of_their_own(tmp_path, monkeypatch):
    """Both are process 1 of their container, and began in the same second."""
    names = set()
    for host in ("pod-a", "pod-b"):
        monkeypatch.setattr("nasflow.serving.request_log.socket.gethostname", lambda host=host: host)
        monkeypatch.setattr("nasflow.serving.request_log.os.getpid", lambda: 1)
        log = logged(tmp_path / host)
        log.refused(400, "no rows")
        log.close()
        (file,) = (tmp_path / host).iterdir()
        names.add(file.name.split("-", 1)[1])
    assert names == {"pod-a-1-00000.requests.jsonl", "pod-b-1-00000.requests.jsonl"}


def test_a_queue_that_is_full_drops_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("nasflow.serving.request_log._QUEUE", 1)
    monkeypatch.setattr("nasflow.serving.request_log.threading.Thread.start", lambda self: None)
    log = logged(tmp_path)
    for _ in range(5):
        log.refused(400, "no rows")
    monkeypatch.undo()
    log._thread.start()
    log.close()
    assert [record.dropped for record in read([str(tmp_path)])] == [4]


def test_what_json_cannot_hold_is_counted_and_the_log_goes_on(tmp_path):
    log = logged(tmp_path)
    log.answered({"x": np.array([1 + 2j])}, np.zeros(1, np.float32))
    log.answered({"x": np.zeros(1)}, np.zeros(1, np.float32))
    log.close()
    assert [record.dropped for record in read([str(tmp_path)])] == [1]


def test_a_line_that_fails_in_whatever_way_ends_no_log(tmp_path, monkeypatch):
    line = RequestLog._line

    def broken(self, item, dropped):
        if item["status"] == 400:
            raise KeyError("a defect")
        return line(self, item, dropped)

    monkeypatch.setattr(RequestLog, "_line", broken)
    log = logged(tmp_path)
    for status in (400, 422):
        log.refused(status, "no rows")
    log.close()
    assert [(record.status, record.dropped) for record in read([str(tmp_path)])] == [(422, 1)]


def test_a_disk_that_hangs_does_not_keep_the_server(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("nasflow.serving.request_log._QUEUE", 1)
    monkeypatch.setattr("nasflow.serving.request_log._CLOSE_SECONDS", 0.05)
    answers = threading.Event()
    monkeypatch.setattr(RequestLog, "_line", lambda self, item, dropped: answers.wait(60) and b"")
    log = logged(tmp_path)
    try:
        for _ in range(5):
            log.refused(400, "no rows")
        log.close()
        assert "what waits is lost" in caplog.text
    finally:
        answers.set()
