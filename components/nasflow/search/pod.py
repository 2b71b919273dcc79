"""`python -m nasflow.search.pod --meeting URI --index N`: what runs in a worker's pod.

It starts `nasflow.search.worker` processes, one after the other: a new one when the last one was dismissed (its memory
is TensorFlow's then, not ours), lost its search or was killed by the system. A search that was started again elsewhere
is found by its new meeting. Neither costs a new pod, nor the node that it waited for.

SIGTERM (a preemption) is passed on to the worker, which tells the search. The pod ends by itself when the search has
withdrawn the meeting, or could not be reached for ten minutes: nothing is left behind by a search that was killed.
"""

import argparse
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

from nasflow.core import log
from nasflow.core.errors import EXIT_OK, EXIT_USER
from nasflow.search.channel import parse_address
from nasflow.search.launcher import LocalProcesses
from nasflow.search.meeting import find
from nasflow.search.worker import EXIT_ALONE

ALONE_SECONDS = 600.0
_PAUSE_SECONDS = 2.0
_FAREWELL_SECONDS = 5.0

logger = logging.getLogger("nasflow.search.pod")  # `__name__` is `__main__` here


def main() -> int:
    """Returns the exit code: 0 the search is over, 2 it and this image do not fit, 143 told to end."""
    arguments = argparse.ArgumentParser(description="Runs workers for a search on another machine.")
    arguments.add_argument("--meeting", required=True, help="URI of the object that says where the search is")
    arguments.add_argument("--index", type=int, required=True, help="which worker this is")
    arguments.add_argument("--threads", type=int, default=0, help="CPU threads; 0: as many as this pod has")
    given = arguments.parse_args()
    from nasflow.models.device import available_cpus

    return Pod(given.meeting, given.index, LocalProcesses(threads=given.threads or available_cpus(), gpus=())).run()


class Pod:
    """One worker at a time."""

    def __init__(
        self,
        meeting_uri: str,
        index: int,
        processes: LocalProcesses,
        *,
        alone_seconds: float = ALONE_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._meeting_uri, self._index, self._processes = meeting_uri, index, processes
        self._alone_seconds, self._sleep = alone_seconds, sleep
        self._worker: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Until the search is over, or cannot be reached for too long.

        Raises:
            SystemExit: 143, told to end.
        """
        signal.signal(signal.SIGTERM, _told_to_end)
        try:
            return self._run()
        finally:
            self._end_worker()

    def _run(self) -> int:
        reached = time.monotonic()
        while time.monotonic() - reached < self._alone_seconds:
            meeting = find(self._meeting_uri)
            if meeting is None:
                logger.info("worker %d: the search is over", self._index)
                return EXIT_OK
            self._worker = self._processes.start(self._index, parse_address(meeting.connect), meeting.key)
            code = self._worker.wait()
            if code == EXIT_USER:
                return EXIT_USER  # the search has heard why
            if code != EXIT_ALONE:
                reached = time.monotonic()
            if code != EXIT_OK:
                logger.warning("worker %d: its process ended with exit code %d; another one follows", self._index, code)
                self._sleep(_PAUSE_SECONDS)
        logger.warning("worker %d: no search for %.0f s", self._index, self._alone_seconds)
        return EXIT_OK  # another pod in its place would find no more

    def _end_worker(self) -> None:
        if self._worker is None or self._worker.poll() is not None:
            return
        self._worker.send_signal(signal.SIGTERM)  # it tells the search
        try:
            self._worker.wait(_FAREWELL_SECONDS)
        except subprocess.TimeoutExpired:
            self._worker.kill()


def _told_to_end(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    log.set_up()
    sys.exit(main())
