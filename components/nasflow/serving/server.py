"""The model server: ``nasflow serve``, ``python -m nasflow.serving``, and what the deploy step starts.

    GET  /v2/health/live, /v2/health/ready        the process; a model that is loaded
    GET  /v2/models/NAME, /v1/models/NAME         inputs and outputs; readiness
    POST /v1/models/NAME:predict                  {"instances": [{column: value, …}, …]}
    POST /v2/models/NAME/infer                    Open Inference Protocol, JSON or binary tensors
    GET  /metrics                                 Prometheus text, or OpenMetrics where `Accept` asks for it

`nasflow.serving.rows` and `nasflow.serving.tensors` say what requests look like, `nasflow.serving.answer` what comes
back. What cannot be answered gets ``{"error": "row 3: column 'age': expected a number …"}`` and HTTP 422 where a value
does not fit the signature, 400 where it is no request of the protocol, 413 over the limits, 415 where it is compressed,
503 while too many bodies wait (`nasflow.serving.memory`).
"""

import concurrent.futures
import contextlib
import dataclasses
import gc
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
from nasflow.registry._base import Version
from nasflow.registry.open import truth
from nasflow.serving import metrics
from nasflow.serving.batching import Batcher
from nasflow.serving.bundle import Bundle, EngineChoice
from nasflow.serving.follow import Follower
from nasflow.serving.live import Live, Loaded
from nasflow.serving.metrics import App
from nasflow.serving.predictions import Predictions
from nasflow.serving.request_log import LogSettings, RequestLog

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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the model comes from: a bundle, or a registry's alias that is followed."""

    bundle_uri: str = ""
    """Folder or ``gs://`` prefix."""
    digest: str | None = None
    """Refuse to serve a bundle with another digest."""
    version: str = ""
    """The registered version, if it is known."""
    registry_uri: str = ""
    """Instead of `bundle_uri`: a file registry."""
    alias: str = "champion"
    """In the registry."""
    poll_seconds: float = 5.0
    """Between two looks at the alias."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How requests are answered."""

    limits: Limits = Limits()
    engine: EngineChoice = "auto"
    threads: int = 1
    """Of ONNX Runtime, for one request."""
    workers: int = 2
    """Threads that work on long requests side by side."""
    batch_delay_seconds: float = 0.0
    """Micro-batching (`nasflow.serving.batching`): how long a request waits for others while the engine
    is busy; 0: requests are not batched."""
    batch_rows: int = 256
    """Of one micro-batch, at most."""
    drain_seconds: float = 0.0
    """How long requests are still taken after the server was told to stop."""
    log: LogSettings | None = None
    """Where answered requests are noted."""


def serve(
    source: Source,
    name: str,
    host: str = LOOPBACK,
    port: int = DEFAULT_PORT,
    *,
    listener: socket.socket | None = None,
    settings: Settings | None = None,
) -> None:
    """Serves a model until SIGTERM or SIGINT. Call it in a process that does nothing else.

    Args:
        source: which model.
        name: the model's name in the URLs, and in the registry.
        host: address to listen on; only this machine by default. ``0.0.0.0`` in a container.
        port: 0 takes a free one; the log names it.
        listener: a bound socket to use instead of `host` and `port`.
        settings: how.

    Raises:
        UserError: the address is in use or not this machine's; no such model or alias.
        DocumentError: there is no intact bundle.
    """
    started = time.monotonic()
    settings = settings or Settings()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the server stands, Ctrl-C needs no traceback
    with listener or bound(host, port) as listening:  # first of all: an address in use must not cost a start-up
        _quiet_tensorflow()
        with without_keras():
            live, follower = _model(source, name, settings)
        log = RequestLog(settings.log, model=name, version=live.current.version) if settings.log else None
        with _arguments_hidden():
            from nasflow.serving.predictor import Predictor
            from nasflow.serving.rest import Server
        threads = concurrent.futures.ThreadPoolExecutor(settings.workers, thread_name_prefix="predict")
        limits = settings.limits

        def predictions(app: App) -> Predictions:
            batcher = None
            if settings.batch_delay_seconds > 0:
                batcher = Batcher(threads, delay_seconds=settings.batch_delay_seconds, max_rows=settings.batch_rows)
            return Predictions(
                app, name=name, live=live, max_rows=limits.rows, threads=threads, batcher=batcher, log=log
            )

        server = Server(
            listening,
            live,
            max_body_bytes=limits.body_bytes,
            drain_seconds=settings.drain_seconds,
            predictions=predictions,
        )
        address, chosen = listening.getsockname()[:2]
        logger.info(
            "serving %s%s from %s with %s at http://%s:%d after %.1f s",
            name,
            f" version {live.current.version}" if live.current.version else "",
            live.current.bundle.uri,
            live.current.bundle.engine.name,
            f"[{address}]" if ":" in address else address,
            chosen,
            time.monotonic() - started,
            extra={"model": name, "port": chosen},
        )
        if follower is not None:
            follower.start()
        _spare_the_collector()
        try:
            server.start([Predictor(name, live, max_rows=limits.rows, threads=threads)])
        finally:
            if log is not None:
                log.close()
    logger.info("stopped serving %s", name)


def _model(source: Source, name: str, settings: Settings) -> tuple[Live, Follower | None]:
    def ready(uri: str, digest: str | None, version: str) -> Loaded:
        bundle = Bundle.load(uri, digest=digest, engine=settings.engine, threads=settings.threads)
        return Loaded.of(bundle, version)

    if not source.registry_uri:
        live = Live(ready(source.bundle_uri, source.digest, source.version))
        metrics.serves(live.current.version, live.current.bundle.engine.name)
        return live, None

    def load(version: Version) -> Loaded:
        return ready(version.bundle_uri, version.bundle_digest, str(version.version))

    registry = truth(source.registry_uri)
    live = Live(load(registry.get(name, alias=source.alias)))
    metrics.serves(live.current.version, live.current.bundle.engine.name)
    return live, Follower(live, registry, name, source.alias, load, seconds=source.poll_seconds)


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


def _spare_the_collector() -> None:
    """What the start made stays; and a request of many nested lists, which reference counts free, need not set off a
    search for cycles every 700 of them: 256 images as JSON took 280 ms to read, most of it that."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@contextlib.contextmanager
def _arguments_hidden() -> Iterator[None]:
    """The SDK parses ``sys.argv`` when it is imported."""
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        yield
    finally:
        sys.argv = arguments
