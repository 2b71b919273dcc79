"""``python -m nasflow.serving --bundle URI --name NAME``: serves a bundle until SIGTERM. ``--help`` lists the flags."""

import argparse
import logging
import socket
import sys
from collections.abc import Sequence

from nasflow.core import log
from nasflow.core.errors import NasflowError
from nasflow.serving.server import DEFAULT_PORT, LOOPBACK, Limits, serve, stop_with

logger = logging.getLogger("nasflow.serving")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    options = _parser().parse_args(arguments)
    log.set_up()
    if options.owner is not None:
        stop_with(options.owner)
    listener = socket.socket(fileno=options.listener_fd) if options.listener_fd is not None else None
    limits = Limits(rows=options.max_rows, body_bytes=options.max_body_mib * 2**20)
    try:
        serve(
            options.bundle,
            options.name,
            options.host,
            options.port,
            digest=options.digest,
            listener=listener,
            limits=limits,
        )
    except NasflowError as error:
        logger.error("%s", error)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nasflow.serving", description="Serve a model bundle over HTTP.")
    parser.add_argument("--bundle", required=True, help="the bundle's folder or gs:// prefix")
    parser.add_argument("--name", required=True, help="the model's name in the URLs")
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--digest", help="refuse a bundle with another digest")
    parser.add_argument("--max-rows", type=int, default=Limits().rows, help="of one request (default: %(default)s)")
    parser.add_argument("--max-body-mib", type=int, default=64, help="of one request (default: %(default)s)")
    parser.add_argument("--owner", type=int, help="stop when the parent is no longer this process id")
    parser.add_argument("--listener-fd", type=int, help="an inherited bound socket, instead of --host and --port")
    return parser


if __name__ == "__main__":
    sys.exit(main())
