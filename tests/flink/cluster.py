"""An Apache Flink cluster on this machine, as small as it can be: a JobManager, two TaskManagers and Beam's job server,
each a JVM of its own. The jars are Maven's (`fetch.sh`); Flink's distribution with its scripts is not among them.
"""

import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.workers import free_port, wait_for_port

HERE = Path(__file__).parent
_OPENS = (
    "java.base/java.lang",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.time",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/sun.nio.ch",
)


class Cluster:
    """Started and stopped by `cluster`."""

    def __init__(self, folder: Path, jars: str) -> None:
        self._folder, self._jars = folder, jars
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._rpc, self._rest, self._blob, self._jobs = (free_port() for _ in range(4))
        self._managers = 0

    @property
    def job_endpoint(self) -> str:
        """The address of Beam's job server."""
        return f"127.0.0.1:{self._jobs}"

    def start(self) -> None:
        entry = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        self._java("jobmanager", entry, "512m", *self._flink())
        wait_for_port(self._rest, self._processes["jobmanager"], self.log("jobmanager"))
        for _ in range(2):
            self.add_task_manager()
        self._java(
            "jobserver",
            "org.apache.beam.runners.flink.FlinkJobServerDriver",
            "512m",
            f"--flink-master=127.0.0.1:{self._rest}",
            f"--flink-conf-dir={HERE}/conf",
            "--job-host=127.0.0.1",
            f"--job-port={self._jobs}",
            f"--artifact-port={free_port()}",
            f"--expansion-port={free_port()}",
            f"--artifacts-dir={self._folder}/artifacts",
        )
        wait_for_port(self._jobs, self._processes["jobserver"], self.log("jobserver"))
        self.wait_for_task_managers(2)

    def add_task_manager(self) -> None:
        self._managers += 1
        entry, name = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner", f"taskmanager-{self._managers}"
        self._java(name, entry, "256m", *self._flink(), f"-Dtaskmanager.resource-id={name}")

    def wait_for_task_managers(self, count: int) -> None:
        deadline = time.monotonic() + 90
        while (found := self.ask("overview")["taskmanagers"]) != count:
            assert time.monotonic() < deadline, f"{found} of {count}: {self.log('taskmanager-1').read_text()[-3000:]}"
            time.sleep(0.2)

    def ask(self, path: str) -> dict:
        """Flink's REST interface."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self._rest}/{path}", timeout=30) as answer:
            return json.load(answer)

    def job_states(self) -> list[str]:
        """Of all jobs so far, the oldest first."""
        jobs = sorted(self.ask("jobs/overview")["jobs"], key=lambda job: job["start-time"])
        return [job["state"] for job in jobs]

    def busy_task_manager(self) -> str | None:
        """One that runs tasks of a job now."""
        for manager in self.ask("taskmanagers")["taskmanagers"]:
            if manager["freeSlots"] < manager["slotsNumber"]:
                return manager["id"]
        return None

    def kill(self, name: str) -> None:
        """``kill -9``."""
        self._processes[name].kill()
        self._processes[name].wait()

    def log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def stop(self) -> None:
        for process in reversed(self._processes.values()):
            process.kill()
        for process in self._processes.values():
            process.wait()

    def _flink(self) -> list[str]:
        places = {"jobmanager.rpc.port": self._rpc, "rest.port": self._rest, "blob.server.port": self._blob}
        return ["--configDir", f"{HERE}/conf", *(f"-D{key}={value}" for key, value in places.items())]

    def _java(self, name: str, main: str, heap: str, *arguments: str) -> None:
        opens = [f"--add-opens={package}=ALL-UNNAMED" for package in _OPENS]
        light = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]  # starts sooner; nothing runs for long
        command = ["java", f"-Xmx{heap}", *light, f"-Djava.io.tmpdir={self._folder}", *opens, "-cp", f"{self._jars}/*"]
        with self.log(name).open("wb") as out:
            self._processes[name] = subprocess.Popen([*command, main, *arguments], stdout=out, stderr=out)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A running cluster; its logs are in `folder`."""
    fetched = subprocess.run([HERE / "fetch.sh"], capture_output=True, text=True, check=False)
    assert fetched.returncode == 0, fetched.stderr
    running = Cluster(folder, fetched.stdout.strip())
    try:
        running.start()
        yield running
    finally:
        running.stop()
