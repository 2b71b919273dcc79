"""Beam's external worker pool as a process of its own, as it stands beside a Flink TaskManager."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_SLOWLY = """
import time
from nasflow.preprocess.progress import Part

done = Part.done

def slowly(*args, **kwargs):
    done(*args, **kwargs)
    time.sleep(0.25)

Part.done = slowly
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.1)


@contextlib.contextmanager
def worker_pool(folder: Path, *, slow: bool = False, path: str | None = None) -> Iterator[tuple[int, int]]:
    """(port, pid). The pool starts its workers with the bare `python` of `path`; `slow`: they pause after each part."""
    env = {**os.environ, "PATH": path or f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    if slow:
        (folder / "slow").mkdir(parents=True, exist_ok=True)
        (folder / "slow" / "sitecustomize.py").write_text(_SLOWLY)
        env["PYTHONPATH"] = str(folder / "slow")
    port, log = free_port(), folder / "pool.log"
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    with log.open("wb") as out:
        pool = subprocess.Popen(command, stdout=out, stderr=out, env=env)
    try:
        wait_for_port(port, pool, log)
        yield port, pool.pid
    finally:
        workers = children(pool.pid)
        pool.kill()
        pool.wait()
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in tasks for child in path.read_text().split()]


def table_files(folder: Path, *, files: int, rows: int = 2000) -> str:
    """Parquet files of numbers, texts and labels; returns the glob."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(files):
        table = {"a": rng.normal(size=rows), "b": rng.choice(["x", "y", "z"], rows), "y": rng.choice(["u", "v"], rows)}
        pq.write_table(pa.table(table), folder / f"part-{number:02d}.parquet")
    return str(folder / "*.parquet")


def dataset_of(work: Path) -> Mapping[str, bytes]:
    """Every shard below a work dir, by its path in the dataset."""
    (place,) = (work / "preprocess").glob("*/manifest.json")
    shards = (place.parent / "data").rglob("part-*")
    return {str(path.relative_to(place.parent)): path.read_bytes() for path in shards}
