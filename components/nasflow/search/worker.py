"""`python -m nasflow.search.worker --connect ADDRESS --index N`: a process that runs trials for a search.

On one machine the search starts it (`nasflow.search.pool`): its standard input carries the key, and closes when the
search ends, however it ends, so that no worker outlives a search that was killed. In a pod `nasflow.search.pod` does
the same. Anybody else gives the key in ``NASFLOW_WORKER_KEY``; the worker then ends when the connection does.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
from multiprocessing import AuthenticationError
from types import FrameType

from nasflow.core import log
from nasflow.core.errors import EXIT_OK, EXIT_TRY_AGAIN, EXIT_USER, TryAgainError, UserError
from nasflow.search.channel import Channel, dial, parse_address
from nasflow.search.job import Job, Report, Setup, dump, parse

KEY_VARIABLE = "NASFLOW_WORKER_KEY"
BEAT_SECONDS = 5.0
EXIT_ALONE = 69
"""Nobody listens, or this worker was turned away before it had heard anything (EX_UNAVAILABLE)."""

logger = logging.getLogger("nasflow.search.worker")  # `__name__` is `__main__` here


def main() -> int:
    """Returns the exit code: 0 dismissed, 2 it does not fit the search, 69 there is no search, 75 it is gone."""
    arguments = argparse.ArgumentParser(description="Runs trials for a search.")
    arguments.add_argument("--connect", required=True, help="host:port, or the path of a Unix socket")
    arguments.add_argument("--index", type=int, default=0, help="which worker this is")
    arguments.add_argument("--owned", action="store_true", help="the key comes on standard input; end with it")
    given = arguments.parse_args()
    if given.owned:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the search decides what ends
        key = bytes.fromhex(sys.stdin.readline().strip())
        threading.Thread(target=_end_with_stdin, name="owner-watch", daemon=True).start()
    elif KEY_VARIABLE in os.environ:
        key = bytes.fromhex(os.environ[KEY_VARIABLE])
    else:
        logger.error("set %s to the study's key, in hexadecimal digits", KEY_VARIABLE)
        return EXIT_USER
    try:
        channel, setup = _join(given.connect, key, given.index)
    except (AuthenticationError, EOFError, OSError) as error:
        logger.warning("worker %d: no search at %s: %s: %s", given.index, given.connect, type(error).__name__, error)
        return EXIT_ALONE
    try:
        return serve(channel, setup)
    except (EOFError, OSError) as error:
        logger.warning("worker %d: the search is gone: %s", given.index, error)
        return EXIT_TRY_AGAIN
    except UserError as error:
        channel.send("refused", str(error))
        return EXIT_USER
    except TryAgainError as error:
        channel.send("hindered", str(error))
        return EXIT_TRY_AGAIN


def _join(connect: str, key: bytes, index: int) -> tuple[Channel, Setup]:
    channel = dial(parse_address(connect), key)
    channel.send("hello", {"index": index, "pid": os.getpid()})
    kind, content = channel.receive()
    if kind != "setup":
        raise EOFError(f"expected a setup, got {kind}")
    return channel, parse(Setup, content)


def serve(channel: Channel, setup: Setup) -> int:
    """Runs trials until it is dismissed."""
    stop = threading.Event()
    threading.Thread(target=_beat, args=(channel, stop), name="beat", daemon=True).start()
    _say_when_told_to_end(channel)
    try:
        return _serve(channel, setup)
    finally:
        stop.set()


def _serve(channel: Channel, setup: Setup) -> int:
    from nasflow.models.device import set_up
    from nasflow.search.shared import data_of

    set_up()
    from nasflow.search.trial import TrialRunner, quiet_and_frozen

    def decide(report: Report) -> str:
        channel.send("epoch", dump(report))
        kind, why = channel.receive()
        if kind != "go_on":
            raise EOFError(f"expected a decision, got {kind}")
        return str(why)

    runner = TrialRunner(setup, data_of(setup))
    with quiet_and_frozen():
        while True:
            kind, content = channel.receive()
            if kind == "bye":
                return EXIT_OK
            channel.send("ended", dump(runner.run(parse(Job, content), decide)))


def _beat(channel: Channel, stop: threading.Event) -> None:
    while not stop.wait(BEAT_SECONDS):
        try:
            channel.send("beat", {})
        except OSError as error:
            # The main thread may be inside an epoch of hours, or hang: the search has given its trial to another.
            logger.warning("the search is gone: %s", error)
            os._exit(EXIT_TRY_AGAIN)


def _say_when_told_to_end(channel: Channel) -> None:
    """At SIGTERM (a preemption) the search hears of it at once, and that the trial is not to blame."""

    def leave() -> None:
        with contextlib.suppress(OSError):  # gone, too
            channel.send("leaving", "told to end by SIGTERM")
        os._exit(128 + signal.SIGTERM)

    def told(_number: int, _frame: FrameType | None) -> None:
        # In a thread: the main one may hold the channel's lock in the middle of a message.
        threading.Thread(target=leave, name="leave", daemon=True).start()

    signal.signal(signal.SIGTERM, told)


def _end_with_stdin() -> None:
    """The search holds the other end of the pipe: nobody writes to it, it closes when the search is gone."""
    sys.stdin.read()
    os._exit(EXIT_TRY_AGAIN)


if __name__ == "__main__":
    log.set_up()
    sys.exit(main())
