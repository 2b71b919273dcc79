"""Worker processes: started when there is work for them, replaced when they have run many trials, missed when they die.

Processes are started afresh (not forked: TensorFlow's threads do not survive a fork), with the same Python and module
path. A worker is anything that dials in with the study's key and speaks `nasflow.search.job`; where it comes from is
its `Launcher`'s business. A launcher for pods (an Indexed Job whose pods run ``python -m nasflow.search.worker
--connect HOST:PORT --index $JOB_COMPLETION_INDEX``) implements the same two methods, and listens on TCP.
"""

import contextlib
import dataclasses
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from multiprocessing import AuthenticationError
from multiprocessing.connection import Listener, Pipe, wait
from pathlib import Path
from typing import Protocol

from nasflow.core.errors import NasflowError, UserError
from nasflow.search.channel import Address, Channel
from nasflow.search.crew import Lost
from nasflow.search.job import Job, Outcome, Report, Setup, dump, parse
from nasflow.search.trial import Decide

logger = logging.getLogger(__name__)

LEASE_SECONDS = 120.0
"""A worker that was not heard for so long is dead, whatever its process looks like; it beats every 5 s."""
_START_SECONDS = 300.0
_POLL_SECONDS = 0.5
_KILL_SECONDS = 10.0
_STARTS_IN_VAIN = 3
_GROWTH_MB = 2000.0
"""A worker that has grown by so much since its first trial is replaced before it has run `recycle` trials."""


class Handle(Protocol):
    """A worker process, from outside."""

    def poll(self) -> int | None:
        """Its exit code (negative: the signal), or None while it lives. A launcher that cannot know returns None: then
        only the lease tells."""

    def kill(self) -> None:
        """Ends it at once; nothing happens if it has ended."""


class Launcher(Protocol):
    """Where workers come from."""

    def start(self, index: int, address: Address, key: bytes) -> Handle:
        """Makes a worker number `index` dial in there."""


class LocalProcesses:
    """On this machine: CPU threads divided, a GPU each, in turn."""

    def __init__(self, *, threads: int, gpus: Sequence[str]) -> None:
        self._threads, self._gpus = threads, tuple(gpus)

    def start(self, index: int, address: Address, key: bytes) -> Handle:
        """See `Launcher`."""
        where = address if isinstance(address, str) else ":".join(map(str, address))
        command = [sys.executable, "-m", "nasflow.search.worker", "--connect", where, "--index", str(index), "--owned"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=self.environment(index))
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once: `poll` tells
            process.stdin.write(key.hex().encode() + b"\n")
            process.stdin.flush()
        return process

    def environment(self, index: int) -> dict[str, str]:
        """Of worker number `index`. What the user has set stays."""
        threads = str(self._threads)
        defaults = {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": threads, "OMP_NUM_THREADS": threads}
        changes = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        if self._gpus:
            changes["CUDA_VISIBLE_DEVICES"] = self._gpus[index % len(self._gpus)]
        return {**defaults, **os.environ, **changes}


def visible_gpus() -> tuple[str, ...]:
    """What ``CUDA_VISIBLE_DEVICES`` may name here: what it names already, else all that the driver lists."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(each for each in named.split(",") if each not in ("", "-1"))
    try:
        return tuple(str(number) for number, _ in enumerate(sorted(Path("/proc/driver/nvidia/gpus").iterdir())))
    except OSError:
        return ()


@dataclasses.dataclass(slots=True, eq=False)
class _Worker:
    index: int
    handle: Handle
    channel: Channel | None = None
    job: Job | None = None
    done: int = 0
    first_mb: float = 0.0
    heard: float = dataclasses.field(default_factory=time.monotonic)


class Pool:
    """A crew of worker processes."""

    def __init__(
        self,
        setup: Setup,
        launcher: Launcher,
        *,
        size: int,
        recycle: int,
        address: Address | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """Starts to listen; workers are started with their first trial. `address`: left out, a Unix socket."""
        self.size = size
        self._setup, self._launcher, self._recycle, self._lease = setup, launcher, recycle, lease_seconds
        self._folder = tempfile.mkdtemp(prefix="nasflow-")
        self._key = secrets.token_bytes(32)
        self._listener = Listener(address or f"{self._folder}/search", authkey=self._key)
        self._workers: dict[int, _Worker] = {}
        self._leaving: list[Handle] = []
        self._in_vain = 0
        self._arrivals, self._doorbell = Pipe(duplex=False)
        self._arrived: list[tuple[int, int, Channel]] = []
        threading.Thread(target=self._accept, name="worker-door", daemon=True).start()

    def start(self, job: Job) -> None:
        """See `nasflow.search.crew.Crew`."""
        worker = next((w for w in self._workers.values() if w.job is None), None) or self._hire()
        worker.job, worker.heard = job, time.monotonic()
        self._hand_over(worker)

    def wait(self, decide: Decide) -> Outcome | Lost:
        """See `nasflow.search.crew.Crew`."""
        while True:
            if (lost := self._missed()) is not None:
                return lost
            channels = {w.channel.connection: w for w in self._workers.values() if w.channel is not None}
            for ready in wait([*channels, self._arrivals], timeout=_POLL_SECONDS):
                if ready is self._arrivals:
                    self._welcome()
                    continue
                worker = channels[ready]  # type: ignore[index]  # `wait` gives back what it was given
                ended: Outcome | Lost | None
                try:
                    ended = self._hear(worker, decide)
                except (EOFError, OSError, ValueError) as error:
                    ended = self._lose(worker, f"{type(error).__name__} {error}".strip())
                if ended is not None:
                    return ended

    def close(self) -> None:
        """See `nasflow.search.crew.Crew`."""
        with contextlib.suppress(OSError):
            self._listener.close()
        for worker in list(self._workers.values()):
            self._dismiss(worker, kill=worker.job is not None)
        for handle in self._leaving:
            _bury(handle)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        while True:
            try:
                channel = Channel(self._listener.accept())
                kind, content = channel.receive()
                if kind != "hello":
                    raise ValueError(f"expected a hello, got {kind}")
                self._arrived.append((int(content["index"]), int(content["pid"]), channel))
                self._doorbell.send_bytes(b"!")
            except (AuthenticationError, EOFError, ValueError, KeyError, ConnectionError) as error:
                logger.warning("a worker that dialled in was turned away: %s: %s", type(error).__name__, error)
            except OSError:  # closed
                return

    def _welcome(self) -> None:
        self._arrivals.recv_bytes()
        index, pid, channel = self._arrived.pop(0)
        worker = self._workers.get(index)
        expected = getattr(worker.handle, "pid", pid) if worker is not None else None
        if worker is None or worker.channel is not None or pid != expected:  # one that was given up before it arrived
            channel.close()
            return
        worker.channel, worker.heard, self._in_vain = channel, time.monotonic(), 0
        with contextlib.suppress(OSError):  # it is missed at the next look
            channel.send("setup", dump(self._setup))
        self._hand_over(worker)

    def _hire(self) -> _Worker:
        index = next(number for number in range(self.size) if number not in self._workers)
        worker = _Worker(index, self._launcher.start(index, self._listener.address, self._key))
        self._workers[index] = worker
        return worker

    def _hand_over(self, worker: _Worker) -> None:
        if worker.channel is not None and worker.job is not None:
            with contextlib.suppress(OSError):  # it is missed at the next look
                worker.channel.send("job", dump(worker.job))

    def _hear(self, worker: _Worker, decide: Decide) -> Outcome | None:
        assert worker.channel is not None
        kind, content = worker.channel.receive()
        worker.heard = time.monotonic()
        match kind:
            case "epoch":
                worker.channel.send("go_on", decide(parse(Report, content)))
            case "ended":
                outcome = parse(Outcome, content)
                worker.job, worker.done = None, worker.done + 1
                worker.first_mb = worker.first_mb or outcome.memory_mb
                if worker.done >= self._recycle or outcome.memory_mb - worker.first_mb > _GROWTH_MB:
                    logger.debug("worker %d: replaced after %d trials", worker.index, worker.done)
                    self._dismiss(worker)
                return outcome
            case "refused":
                raise UserError(str(content))
        return None  # a beat

    def _missed(self) -> Lost | None:
        """The first worker that is gone without a word."""
        for worker in list(self._workers.values()):
            code, silent = worker.handle.poll(), time.monotonic() - worker.heard
            if code is not None and (worker.channel is None or not worker.channel.connection.poll()):
                lost = self._lose(worker, f"signal {-code}" if code < 0 else f"exit code {code}")
            elif silent > (self._lease if worker.channel is not None else _START_SECONDS):
                lost = self._lose(worker, f"not heard for {silent:.0f} s")
            else:
                continue
            if lost is not None:
                return lost
        return None

    def _lose(self, worker: _Worker, how: str) -> Lost | None:
        """Buries a worker; None where it had no trial."""
        connected, job = worker.channel is not None, worker.job
        self._dismiss(worker, kill=True)
        code = worker.handle.poll()
        if code is not None and code < 0:
            how = f"signal {-code}"
        if not connected:
            self._in_vain += 1
            if self._in_vain >= _STARTS_IN_VAIN:
                raise NasflowError(
                    f"search: {self._in_vain} worker processes in a row ended before they dialled in, the last one "
                    f"with {how}; what they said is above. search.workers: 1 needs no processes"
                )
        if job is None:
            return None
        return Lost(trial_id=job.trial_id, how=how, blameless=code == -signal.SIGTERM or not connected)

    def _dismiss(self, worker: _Worker, *, kill: bool = False) -> None:
        """Lets a worker go; or kills it, and waits: nobody may write where its trial's next attempt does."""
        self._workers.pop(worker.index, None)
        if not kill and worker.channel is not None:
            with contextlib.suppress(OSError):
                worker.channel.send("bye", {})
            self._leaving.append(worker.handle)
        else:
            worker.handle.kill()
            _bury(worker.handle)
        if worker.channel is not None:
            worker.channel.close()


def _bury(handle: Handle) -> None:
    """Waits for the end of a process; kills it where it takes its time."""
    deadline = time.monotonic() + _KILL_SECONDS
    while handle.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    if handle.poll() is None:
        handle.kill()
