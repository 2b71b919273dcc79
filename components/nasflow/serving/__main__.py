"""``python -m nasflow.serving``: serves a model until SIGTERM. ``--help`` lists the flags.

``--bundle URI --name NAME`` serves a bundle; ``--registry URI --name NAME [--alias champion]`` serves what a registry's
alias points at, and follows it.
"""

import argparse
import logging
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from nasflow.core import log
from nasflow.core.errors import NasflowError, UserError
from nasflow.serving.request_log import LogSettings
from nasflow.serving.server import DEFAULT_PORT, LOOPBACK, Limits, Settings, Source, serve, stop_with

logger = logging.getLogger("nasflow.serving")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    options = _parser().parse_args(arguments)
    log.set_up()
    if options.owner is not None:
        stop_with(options.owner)
    listener = socket.socket(fileno=options.listener_fd) if options.listener_fd is not None else None
    try:
        serve(
            _source(options), options.name, options.host, options.port, listener=listener, settings=_settings(options)
        )
    except NasflowError as error:
        logger.error("%s", error)
        return error.exit_code
    return 0


def _source(options: argparse.Namespace) -> Source:
    if bool(options.bundle) == bool(options.registry):
        raise UserError("serve: give --bundle or --registry, one of them")
    return Source(
        bundle_uri=options.bundle or "",
        digest=options.digest,
        version=options.version,
        registry_uri=options.registry or "",
        alias=options.alias,
        poll_seconds=options.poll_seconds,
    )


def _settings(options: argparse.Namespace) -> Settings:
    log = LogSettings(folder=options.log_requests, share=options.log_share) if options.log_requests else None
    return Settings(
        limits=Limits(rows=options.max_rows, body_bytes=options.max_body_mib * 2**20),
        engine=options.engine,
        threads=options.threads,
        workers=options.workers,
        batch_delay_seconds=options.batch_delay_ms / 1000,
        batch_rows=options.batch_rows,
        drain_seconds=options.drain_seconds,
        log=log,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nasflow.serving", description="Serve a model bundle over HTTP.")
    parser.add_argument("--bundle", help="the bundle's folder or gs:// prefix")
    parser.add_argument("--registry", help="instead: a file registry's folder or gs:// prefix")
    parser.add_argument("--alias", default="champion", help="with --registry; followed (default: %(default)s)")
    parser.add_argument("--poll-seconds", type=float, default=5.0, help="between looks at the alias (%(default)s)")
    parser.add_argument("--name", required=True, help="the model's name in the URLs, and in the registry")
    parser.add_argument("--version", default="", help="with --bundle: the registered version, as answers name it")
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--digest", help="refuse a bundle with another digest")
    parser.add_argument("--max-rows", type=int, default=Limits().rows, help="of one request (default: %(default)s)")
    parser.add_argument("--max-body-mib", type=int, default=64, help="of one request (default: %(default)s)")
    parser.add_argument("--engine", choices=("auto", "onnx", "saved_model"), default="auto", help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime, for one request (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="long requests worked on side by side (%(default)s)")
    parser.add_argument("--batch-delay-ms", type=float, default=0.0, help="batch while busy, so long (%(default)s: no)")
    parser.add_argument("--batch-rows", type=int, default=256, help="of one micro-batch (%(default)s)")
    parser.add_argument("--drain-seconds", type=float, default=0.0, help="answer so long after SIGTERM (%(default)s)")
    parser.add_argument("--log-requests", type=Path, help="folder for the log of requests that nasflow monitor reads")
    parser.add_argument("--log-share", type=float, default=1.0, help="of the requests that are logged (%(default)s)")
    parser.add_argument("--owner", type=int, help="stop when the parent is no longer this process id")
    parser.add_argument("--listener-fd", type=int, help="an inherited bound socket, instead of --host and --port")
    return parser


if __name__ == "__main__":
    sys.exit(main())
