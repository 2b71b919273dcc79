"""`python -m nasflow.search.worker --connect ADDRESS --index N`: a process that runs trials for a search.

On one machine the search starts it (`nasflow.search.pool`): its standard input carries the key, and closes when the
search ends, however it ends, so that no worker outlives a search that was killed. Elsewhere (a pod of an Indexed Job)
whoever starts it gives the same arguments and the key in ``NASFLOW_WORKER_KEY``; it then ends when the connection does.
"""

import argparse
import logging
import os
import signal
import sys
import threading

from nasflow.core import log
from nasflow.core.errors import EXIT_OK, EXIT_TRY_AGAIN, EXIT_USER, UserError
from nasflow.search.channel import Channel, dial, parse_address
from nasflow.search.job import Job, Report, Setup, dump, parse

KEY_VARIABLE = "NASFLOW_WORKER_KEY"
BEAT_SECONDS = 5.0

logger = logging.getLogger("nasflow.search.worker")  # `__name__` is `__main__` here


def main() -> int:
    """Returns the exit code: 0 dismissed, 2 the search and this worker do not fit, 75 the search is gone."""
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
    channel = dial(parse_address(given.connect), key)
    try:
        return serve(channel, given.index)
    except (EOFError, OSError) as error:
        logger.warning("worker %d: the search is gone: %s", given.index, error)
        return EXIT_TRY_AGAIN
    except UserError as error:
        channel.send("refused", str(error))
        return EXIT_USER


def serve(channel: Channel, index: int) -> int:
    """Runs trials until it is dismissed."""
    channel.send("hello", {"index": index, "pid": os.getpid()})
    kind, content = channel.receive()
    if kind != "setup":
        raise EOFError(f"expected a setup, got {kind}")
    setup = parse(Setup, content)
    stop = threading.Event()
    threading.Thread(target=_beat, args=(channel, stop), name="beat", daemon=True).start()
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
        except OSError:  # the main thread finds out by itself
            return


def _end_with_stdin() -> None:
    """The search holds the other end of the pipe: nobody writes to it, it closes when the search is gone."""
    sys.stdin.read()
    os._exit(EXIT_TRY_AGAIN)


if __name__ == "__main__":
    log.set_up()
    sys.exit(main())
