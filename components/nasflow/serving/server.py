"""The model server: ``nasflow serve``, ``python -m nasflow.serving``, and what the deploy step starts.

    GET  /v2/health/live, /v2/health/ready        the process; a model that is loaded
    GET  /v2/models/NAME, /v1/models/NAME         inputs and outputs; readiness
    POST /v1/models/NAME:predict                  {"instances": [{column: value, …}, …]}
    POST /v2/models/NAME/infer                    Open Inference Protocol, JSON or binary tensors
    GET  /metrics                                 Prometheus

`nasflow.serving.rows` and `nasflow.serving.tensors` say what requests look like, `nasflow.serving.answer` what comes
back. A request that cannot be answered gets HTTP 4xx and ``{"error": "row 3: column 'age': expected a number …"}``.
"""

import contextlib
import dataclasses
import importlib.abc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from nasflow.core.errors import UserError
from nasflow.serving.bundle import Bundle

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8080

_MAX_THREADS = 4
_OWNER_POLL_SECONDS = 0.5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may ask for."""

    rows: int = 10_000
    body_bytes: int = 64 * 2**20


def serve(
    bundle_uri: str,
    name: str,
    host: str = LOOPBACK,
    port: int = DEFAULT_PORT,
    *,
    digest: str | None = None,
    listener: socket.socket | None = None,
    limits: Limits | None = None,
) -> None:
    """Serves a bundle until SIGTERM or SIGINT. Call it in a process that does nothing else.

    Args:
        bundle_uri: folder or ``gs://`` prefix.
        name: the model's name in the URLs.
        host: address to listen on; only this machine by default. ``0.0.0.0`` in a container.
        port: 0 takes a free one; the log names it.
        digest: refuse to serve a bundle with another digest.
        listener: a bound socket to use instead of `host` and `port`.
        limits: of one request.

    Raises:
        UserError: the address is in use or not this machine's.
        DocumentError: there is no intact bundle.
    """
    started = time.monotonic()
    limits = limits or Limits()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the server stands, Ctrl-C needs no traceback
    with listener or bound(host, port) as listening:  # first of all: an address in use must not cost a start-up
        _quiet_tensorflow()
        with without_keras():
            bundle = Bundle.load(bundle_uri, digest=digest)
        _warm_up(bundle)
        with _arguments_hidden():
            from nasflow.serving.predictor import Predictor
            from nasflow.serving.rest import Server
        server = Server(listening, max_body_bytes=limits.body_bytes)
        address, chosen = listening.getsockname()[:2]
        logger.info(
            "serving %s from %s at http://%s:%d after %.1f s",
            name,
            bundle.uri,
            f"[{address}]" if ":" in address else address,
            chosen,
            time.monotonic() - started,
            extra={"model": name, "port": chosen},
        )
        server.start([Predictor(name, bundle, max_rows=limits.rows)])
    logger.info("stopped serving %s", name)


def bound(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet, so that clients are refused rather than kept waiting.

    Raises:
        UserError: the address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"serve: cannot use host {host!r}: {error}; name an address of this machine") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        listener.close()
        raise UserError(f"serve: cannot listen on {host}:{port}: {error}; choose another --port") from error
    return listener


def stop_with(owner: int) -> None:
    """Ends this process, as SIGTERM does, once its parent is no longer `owner`: no orphan is left, even by kill -9."""

    def watch() -> None:
        while os.getppid() == owner:
            time.sleep(_OWNER_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="owner-watch", daemon=True).start()


@contextlib.contextmanager
def without_keras() -> Iterator[None]:
    """TensorFlow tries to import Keras for its own users and goes on without: a SavedModel needs none of it, and the
    start is 4 s instead of 9 (measured on 2 cores). Nothing changes where Keras is already imported."""

    class Absent(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, _path: Sequence[str] | None, _target: Any = None) -> None:
            if name.startswith("keras."):
                raise ImportError(f"{name}: the model server runs without Keras")

    finder = Absent()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def _quiet_tensorflow() -> None:
    """Defaults, where the environment does not say otherwise: one server does not take all cores of a node."""
    threads = str(min(_MAX_THREADS, os.cpu_count() or 1))
    for name, value in {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": "2",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }.items():
        os.environ.setdefault(name, value)


def _warm_up(bundle: Bundle) -> None:
    """The first call initialises the graph; better before ready than in the first client's request."""
    from nasflow.data.raw import raw_batch

    if bundle.golden.rows:
        bundle.predict(raw_batch(bundle.golden.rows[:1], bundle.schema))


@contextlib.contextmanager
def _arguments_hidden() -> Iterator[None]:
    """The SDK parses ``sys.argv`` when it is imported."""
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        yield
    finally:
        sys.argv = arguments
