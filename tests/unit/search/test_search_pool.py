"""The pool with workers that are threads here (they speak the protocol, and cost nothing), and with real processes."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from nasflow.core.artifacts import Search
from nasflow.core.errors import NasflowError, TryAgainError, UserError
from nasflow.core.spec import BudgetSection, RuntimeSection, SearchSection, ValidationSection
from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.search import step
from nasflow.search.channel import dial
from nasflow.search.crew import Lost
from nasflow.search.job import Job, Outcome, Report, Setup, dump, parse
from nasflow.search.launcher import LocalProcesses
from nasflow.search.ledger import Ledger
from nasflow.search.pool import Pool
from nasflow.search.shared import Data, data_of, mapped, write
from nasflow.search.spec import SearchSpec

HERE = Path(__file__).parent
SETUP = Setup(
    inputs=InputSpec(numeric=4, edges=((0.0, 1.0), (), (), ()), image=(8, 8, 1)),
    output=OutputSpec(classes=3),
    metrics=("accuracy",),
    seed=0,
    validation=ValidationSection(),
    runtime=RuntimeSection(),
)


class Threads:
    """A launcher whose workers are threads that do what `behave` says with each job."""

    def __init__(self, behave):
        self.behave, self.started, self.setups = behave, [], []

    def start(self, index, address, key):
        handle = Handle()
        self.started.append(index)
        threading.Thread(target=self._run, args=(index, address, key, handle), daemon=True).start()
        return handle

    def _run(self, index, address, key, handle):
        channel = dial(address, key)
        channel.send("hello", {"index": index, "pid": 0})
        try:
            kind, content = channel.receive()
            self.setups.append(parse(Setup, content))
            while True:
                kind, content = channel.receive()
                if kind == "bye":
                    break
                self.behave(channel, parse(Job, content), handle)
        except (EOFError, OSError):
            pass
        channel.close()
        handle.code = 0 if handle.code is None else handle.code


class Handle:
    code = None

    def poll(self):
        return self.code

    def kill(self):
        self.code = -signal.SIGKILL if self.code is None else self.code


def job(number):
    return Job(trial_id=f"{number:04d}", architecture={"nodes": []}, epochs=3)


def outcome(of, **more):
    return Outcome(trial_id=of.trial_id, status="completed", score=0.5, **more)


def completes(channel, given, handle):
    channel.send("ended", dump(outcome(given)))


def test_what_is_said_is_read_back():
    assert parse(Setup, dump(SETUP)) == SETUP
    whole = outcome(job(3), metrics={"loss": 0.25}, history=[{"number": 1}], notes=["batch 64 → 32"])
    assert parse(Outcome, dump(whole)) == whole


def test_jobs_run_side_by_side_and_epochs_are_decided_by_the_search():
    asked = []
    both = threading.Barrier(2, timeout=20)

    def behave(channel, given, handle):
        both.wait()  # passes only if two trials run at a time
        report = Report(trial_id=given.trial_id, run=0, number=1, loss=0.5, score=0.5, seconds=0.1, spent=0.2)
        channel.send("epoch", dump(report))
        kind, why = channel.receive()
        asked.append((kind, why))
        channel.send("ended", dump(outcome(given, message=why)))

    launcher = Threads(behave)
    pool = Pool(SETUP, launcher, size=2, recycle=10)
    try:
        for number in range(2):
            pool.start(job(number))
        ended = [pool.wait(lambda report: "out of time" if report.trial_id == "0001" else "") for _ in range(2)]
    finally:
        pool.close()
    assert {(each.trial_id, each.message) for each in ended} == {("0000", ""), ("0001", "out of time")}
    assert sorted(asked) == [("go_on", ""), ("go_on", "out of time")]
    assert launcher.setups == [SETUP, SETUP]


def test_a_worker_is_replaced_after_so_many_trials():
    launcher = Threads(completes)
    pool = Pool(SETUP, launcher, size=1, recycle=3)
    try:
        for number in range(7):
            pool.start(job(number))
            assert pool.wait(lambda _: "").trial_id == f"{number:04d}"
    finally:
        pool.close()
    assert launcher.started == [0, 0, 0]  # trials 0–2, 3–5, 6


def test_a_worker_that_dies_loses_its_trial_and_is_replaced():
    def behave(channel, given, handle):
        if given.trial_id == "0000":
            handle.code = -signal.SIGKILL
            channel.close()
            raise EOFError
        completes(channel, given, handle)

    pool = Pool(SETUP, Threads(behave), size=1, recycle=10)
    try:
        pool.start(job(0))
        assert pool.wait(lambda _: "") == Lost(trial_id="0000", how="signal 9", blameless=False)
        pool.start(job(1))
        assert pool.wait(lambda _: "").status == "completed"
    finally:
        pool.close()


def test_a_worker_that_is_not_heard_any_more_is_lost():
    hangs = threading.Event()
    pool = Pool(SETUP, Threads(lambda *_: hangs.wait(20)), size=1, recycle=10, lease_seconds=0.3)
    try:
        pool.start(job(0))
        lost = pool.wait(lambda _: "")
    finally:
        pool.close()
        hangs.set()
    assert lost.trial_id == "0000"
    assert not lost.blameless


def test_a_worker_that_was_told_to_end_is_not_the_trials_fault():
    def behave(channel, given, handle):
        handle.code = -signal.SIGTERM
        channel.close()
        raise EOFError

    pool = Pool(SETUP, Threads(behave), size=1, recycle=10)
    try:
        pool.start(job(0))
        assert pool.wait(lambda _: "").blameless
    finally:
        pool.close()


def test_workers_elsewhere_dial_in_over_tcp():
    launcher = Threads(completes)
    pool = Pool(SETUP, launcher, size=2, recycle=10, address=("127.0.0.1", 0))
    try:
        assert pool._listener.address[0] == "127.0.0.1"
        for number in range(2):
            pool.start(job(number))
        assert {pool.wait(lambda _: "").trial_id for _ in range(2)} == {"0000", "0001"}
    finally:
        pool.close()


def test_nobody_without_the_key_is_listened_to():
    launcher = Threads(completes)
    pool = Pool(SETUP, launcher, size=1, recycle=10)
    try:
        with pytest.raises(Exception, match="digest"):
            dial(pool._listener.address, b"guess")
        pool.start(job(0))
        assert pool.wait(lambda _: "").status == "completed"
    finally:
        pool.close()


def test_workers_that_never_arrive_end_the_search():
    class Stillborn:
        def start(self, index, address, key):
            handle = Handle()
            handle.code = 1
            return handle

    pool = Pool(SETUP, Stillborn(), size=1, recycle=10)
    try:
        for number in range(2):
            pool.start(job(number))
            assert pool.wait(lambda _: "").blameless
        pool.start(job(2))
        with pytest.raises(NasflowError, match="3 worker processes in a row ended before they dialled in"):
            pool.wait(lambda _: "")
    finally:
        pool.close()


@pytest.mark.parametrize(
    ("said", "why", "error"),
    [
        ("hindered", "No space left on device; make room, then run the same command again", TryAgainError),
        ("refused", "search.validation.folds: 5 folds of 3 rows; use fewer folds", UserError),
    ],
)
def test_what_no_worker_can_do_ends_the_search(said, why, error):
    def behave(channel, given, handle):
        channel.send(said, why)

    pool = Pool(SETUP, Threads(behave), size=1, recycle=10)
    try:
        pool.start(job(0))
        with pytest.raises(error, match=why):
            pool.wait(lambda _: "")
    finally:
        pool.close()


def test_threads_and_gpus_are_divided(monkeypatch):
    for name in ("TF_NUM_INTRAOP_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    made = LocalProcesses(threads=3, gpus=("0", "5"))
    assert [made.environment(index)["CUDA_VISIBLE_DEVICES"] for index in range(3)] == ["0", "5", "0"]
    assert made.environment(0)["TF_NUM_INTRAOP_THREADS"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in LocalProcesses(threads=1, gpus=()).environment(0)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    assert made.environment(0)["TF_NUM_INTRAOP_THREADS"] == "7"


def test_tensors_are_mapped_not_copied(tmp_path):
    train = Tensors(inputs={"image": np.arange(192, dtype=np.uint8).reshape(3, 8, 8, 1)}, labels=np.arange(3))
    write(Data(train=train, validation=train.take(slice(0, 1))), tmp_path / "tensors")
    found = mapped(tmp_path / "tensors")
    assert isinstance(found.train.inputs["image"], np.memmap)
    np.testing.assert_array_equal(found.train.inputs["image"], train.inputs["image"])
    np.testing.assert_array_equal(found.validation.labels, [0])
    assert found.joined.rows == 4
    assert data_of(dataclasses.replace(SETUP, tensors_path=str(tmp_path / "tensors"))).train.rows == 3


def test_a_worker_elsewhere_reads_the_dataset(table):
    setup = dataclasses.replace(SETUP, tensors_path="/nowhere", dataset_uri=table.uri)
    assert data_of(setup).train.rows == 240


RUN = """
import sys
from nasflow.core.artifacts import Dataset
from nasflow.core.spec import BudgetSection, SearchSection
from nasflow.core.task import task
from nasflow.search import step
from nasflow.search.spec import SearchSpec

search = SearchSection(strategy="random", workers=2, recycle=4, budget=BudgetSection(trials={trials}, epochs={epochs}))
with task("search", work_dir={work!r}, run_id="r") as current:
    spec = SearchSpec(task="tabular_classification", metric="accuracy", search=search)
    current.done(step.run(spec, dataset=Dataset.read({dataset!r}), work_dir={work!r}, output={work!r} + "/output"))
"""


def start(work, table, *, trials=7, epochs=6):
    code = RUN.format(dataset=table.uri, work=str(work), trials=trials, epochs=epochs)
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, start_new_session=True)


def ledger_of(work):
    paths = list(Path(work).glob("search/*/ledger.jsonl"))
    return Ledger(str(paths[0])) if paths else None


def wait_until(condition, process, seconds=240):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"never happened; exit code {process.poll()}: {process.stderr.read()!r}")


def workers_of(pid):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            command = path.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == pid and b"nasflow.search.worker" in command:
            found.append(int(path.parent.name))
    return found


def trial_in_hand(work):
    """Whether a trial has got through an epoch."""
    return list(Path(work).glob("search/*/trials/*/*/epoch.npz"))


@pytest.mark.slow
def test_a_search_outlives_its_workers_and_itself(table, tmp_path):
    work = tmp_path / "work"
    process = start(work, table, epochs=200)
    wait_until(lambda: trial_in_hand(work), process)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)  # as the system does when memory runs out
    wait_until(lambda: sum(r.deaths for r in ledger_of(work).records) == 1, process)
    wait_until(lambda: any(r.status == "completed" for r in ledger_of(work).records) and trial_in_hand(work), process)
    orphans = workers_of(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in orphans) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in orphans)

    process = start(work, table, epochs=200)
    wait_until(lambda: trial_in_hand(work) and workers_of(process.pid), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75
    assert workers_of(process.pid) == []

    process = start(work, table, epochs=200)
    assert process.wait(400) == 0
    records = ledger_of(work).records
    assert [record.trial_id for record in records] == [f"{number:04d}" for number in range(7)]
    assert {record.status for record in records} == {"completed"}
    assert {record.epochs for record in records} == {200}
    lines = Path(next(iter(work.glob("search/*/ledger.jsonl")))).read_text().splitlines()
    assert sum('"event": "ended"' in line for line in lines) == 7


@pytest.mark.slow
def test_the_points_of_random_search_and_their_scores_do_not_depend_on_the_workers(table, tmp_path):
    found = {}
    for workers in (1, 2):
        search = step.run(
            SearchSpec(
                task="tabular_classification",
                metric="accuracy",
                search=SearchSection(
                    strategy="random", workers=workers, recycle=4, budget=BudgetSection(trials=6, epochs=2)
                ),
            ),
            dataset=table,
            work_dir=str(tmp_path / f"work{workers}"),
            output=str(tmp_path / f"output{workers}"),
        )
        found[workers] = {t["trial_id"]: (t["values"], t["score"]) for t in search.json("trials.json")}
        assert isinstance(Search.read(str(tmp_path / f"output{workers}")), Search)
    assert found[1] == found[2]
