"""Worker processes: started when there is work for them, replaced when they have run many trials, missed when they die.

Processes are started afresh (not forked: TensorFlow's threads do not survive a fork), with the same Python and module
path. A worker is anything that dials in with the study's key and speaks `nasflow.search.job`; where it comes from is
its `Launcher`'s business: `nasflow.search.launcher` has the one for this machine, `nasflow.search.cluster_workers` the
one for pods.
"""

import contextlib
import dataclasses
import logging
import secrets
import shutil
import signal
import tempfile
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Listener, Pipe, wait
from typing import Any

from nasflow.core.errors import NasflowError, TryAgainError, UserError
from nasflow.search.channel import Address, Channel, greet
from nasflow.search.crew import Lost
from nasflow.search.job import Decide, Job, Outcome, Report, Setup, dump, parse
from nasflow.search.launcher import Handle, Launcher

logger = logging.getLogger(__name__)

LEASE_SECONDS = 120.0
"""A worker that was not heard for so long is dead, whatever its process looks like; it beats every 5 s."""
START_SECONDS = 300.0
"""A worker that has not dialled in for so long never will."""
_POLL_SECONDS = 0.5
_KILL_SECONDS = 10.0
_STARTS_IN_VAIN = 3
_GROWTH_MB = 2000.0
"""A worker that has grown by so much since its first trial is replaced before it has run `recycle` trials."""


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
        start_seconds: float = START_SECONDS,
        bury_seconds: float = _KILL_SECONDS,
    ) -> None:
        """Starts to listen; workers are started with their first trial.

        Args:
            setup: What their trials share.
            launcher: Where they come from.
            size: How many at most.
            recycle: Trials of one worker.
            address: Where they dial in; left out, a Unix socket.
            lease_seconds: See `LEASE_SECONDS`.
            start_seconds: See `START_SECONDS`.
            bury_seconds: How long one that was dismissed may take to end before it is killed; 0: nobody waits.
        """
        self.size = size
        self._setup, self._launcher, self._recycle, self._lease = setup, launcher, recycle, lease_seconds
        self._patience, self._bury_seconds = start_seconds, bury_seconds
        self._folder = tempfile.mkdtemp(prefix="nasflow-")
        self._key = secrets.token_bytes(32)
        self._listener = Listener(address or f"{self._folder}/search", backlog=size + 8)
        self._workers: dict[int, _Worker] = {}
        self._leaving: list[Handle] = []
        self._in_vain = 0
        self._arrivals, self._doorbell = Pipe(duplex=False)
        self._arrived: list[tuple[int, int, Channel]] = []
        self._ringing = threading.Lock()
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
            self._bury(handle)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._greet, args=(connection,), name="worker-greeting", daemon=True).start()

    def _greet(self, connection: Any) -> None:
        try:
            channel, content = greet(connection, self._key)
            self._arrived.append((int(content["index"]), int(content["pid"]), channel))
            with self._ringing:
                self._doorbell.send_bytes(b"!")
        except (AuthenticationError, EOFError, ValueError, KeyError, OSError) as error:
            logger.warning("a worker that dialled in was turned away: %s: %s", type(error).__name__, error)

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

    def _hear(self, worker: _Worker, decide: Decide) -> Outcome | Lost | None:
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
            case "leaving":
                return self._lose(worker, str(content), blameless=True)
            case "refused":
                raise UserError(str(content))
            case "hindered":
                raise TryAgainError(str(content))
        return None  # a beat

    def _missed(self) -> Lost | None:
        """The first worker that is gone without a word."""
        for worker in list(self._workers.values()):
            code, silent = worker.handle.poll(), time.monotonic() - worker.heard
            if code is not None and (worker.channel is None or not worker.channel.connection.poll()):
                lost = self._lose(worker, f"signal {-code}" if code < 0 else f"exit code {code}")
            elif silent > (self._lease if worker.channel is not None else self._patience):
                lost = self._lose(worker, f"not heard for {silent:.0f} s")
            else:
                continue
            if lost is not None:
                return lost
        return None

    def _lose(self, worker: _Worker, how: str, *, blameless: bool = False) -> Lost | None:
        """Buries a worker; None where it had no trial. `blameless`: it was told to end."""
        connected, job = worker.channel is not None, worker.job
        self._dismiss(worker, kill=True)
        code = None if blameless else worker.handle.poll()
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
        return Lost(trial_id=job.trial_id, how=how, blameless=blameless or code == -signal.SIGTERM or not connected)

    def _dismiss(self, worker: _Worker, *, kill: bool = False) -> None:
        """Lets a worker go; or kills it, and waits: nobody may write where its trial's next attempt does."""
        self._workers.pop(worker.index, None)
        if not kill and worker.channel is not None:
            with contextlib.suppress(OSError):
                worker.channel.send("bye", {})
            self._leaving.append(worker.handle)
        else:
            worker.handle.kill()
            self._bury(worker.handle)
        if worker.channel is not None:
            worker.channel.close()

    def _bury(self, handle: Handle) -> None:
        """Waits for the end of a process; kills it where it takes its time."""
        if not self._bury_seconds:
            return
        deadline = time.monotonic() + self._bury_seconds
        while handle.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if handle.poll() is None:
            handle.kill()
