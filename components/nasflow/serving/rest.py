"""KServe's model server with what it has hard-coded made safe. Imported by the server only (kserve takes seconds).

kserve 0.21 always listens on 0.0.0.0 and opens a gRPC port, lets any client unload the model, logs a traceback for
every bad request, and has no limit on a body's size; the connections of its uvicorn have none on headers and time
(`nasflow.serving.connection`).
"""

import asyncio
import functools
import logging
import signal
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from kserve import ModelServer
from kserve.constants.constants import FASTAPI_APP_IMPORT_STRING
from kserve.errors import (
    InferenceError,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    ServerNotLive,
    ServerNotReady,
    UnsupportedProtocol,
)
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer
from uvicorn.importer import import_from_string

from nasflow.serving import metrics
from nasflow.serving.connection import Connection, sweep
from nasflow.serving.live import Live
from nasflow.serving.metrics import Counted
from nasflow.serving.predictions import CLOUD_EVENT, Predictions

logger = logging.getLogger(__name__)

_STATUS: dict[type[Exception], int] = {
    InvalidInput: 400,
    ModelNotFound: 404,
    InferenceError: 500,
    NotImplementedError: 501,
    UnsupportedProtocol: 501,
    ModelNotReady: 503,
    ServerNotLive: 503,
    ServerNotReady: 503,
}

_GRACE_SECONDS = 10
_LAST = (b"connection", b"close")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Server(ModelServer):
    """Serves one model over HTTP on a socket that the caller has bound."""

    def __init__(
        self,
        listener: socket.socket,
        live: Live,
        *,
        max_body_bytes: int,
        drain_seconds: float,
        predictions: Callable[[App], Predictions],
    ) -> None:
        super().__init__(enable_grpc=False, enable_latency_logging=False, workers=1, grace_period=_GRACE_SECONDS)
        self._listener = listener
        self._live = live
        self._max_body_bytes = max_body_bytes
        self._drain_seconds = drain_seconds
        self._predictions = predictions
        self.dataplane = _CheckedDataPlane(model_registry=self.registered_models)
        self.dataplane.served = live
        self.model_repository_extension = _FixedModels(model_registry=self.registered_models)

    def start(self, models: list[Any]) -> None:
        """Serves until SIGTERM or SIGINT, then drains.

        Told to stop, the server is at once no longer ready, and goes on answering for the drain's seconds: load
        balancers need some to notice. Each answer then ends its connection, because whoever keeps one notices nothing
        and would send the next request into its end. Then it takes no more, and finishes the requests in hand.
        """
        self._register_and_check_atleast_one_model_is_ready(models)
        rest = _Rest(
            FASTAPI_APP_IMPORT_STRING,
            self.dataplane,
            self.model_repository_extension,
            self._listener.getsockname()[1],
            grace_period=_GRACE_SECONDS,
        )
        rest.listener, rest.max_body_bytes, rest.predictions = self._listener, self._max_body_bytes, self._predictions
        rest.live, rest.drain_seconds = self._live, self._drain_seconds
        # uvicorn takes both signals only while it serves, and raises them again, once it has stopped, for the handler
        # that was there before. This one is it: too early it means "do not start", too late it changes nothing.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: rest.stop())
        # A line for each request costs ten times a small network's answer; the metrics and the request log say more.
        access = logging.getLogger("uvicorn.access")
        access.handlers, access.propagate = [], False
        with asyncio.Runner(loop_factory=rest.config.get_loop_factory()) as runner:  # uvloop where it is installed
            runner.run(rest.start())


class _Rest(RESTServer):
    listener: socket.socket
    max_body_bytes: int
    predictions: Callable[[App], Predictions]
    live: Live
    drain_seconds: float

    def stop(self) -> None:
        self._server.should_exit = True

    async def start(self) -> None:
        self.create_application()
        self.config.app = self._wrapped(import_from_string(self.config.app))
        self.config.proxy_headers = False  # nobody here looks at a client's address
        self.config.http = Connection
        if self.drain_seconds > 0:
            self._server.handle_exit = self._drain
        sweeping = asyncio.create_task(sweep(self._server.server_state.connections))
        try:
            await self._server.serve(sockets=[self.listener])
        finally:
            sweeping.cancel()

    def _drain(self, number: int, frame: Any) -> None:
        """In place of uvicorn's signal handler while it serves; a second signal ends the drain."""
        again, self.live.stopping = self.live.stopping, True
        finish = functools.partial(type(self._server).handle_exit, self._server, number, frame)
        if again:
            finish()
        else:
            # Every second uvicorn makes the first list anew, of the second one.
            self._server.server_state.default_headers = [*self._server.server_state.default_headers, _LAST]
            self.config.encoded_headers.append(_LAST)
            logger.info("told to stop: not ready from now on, stopping in %g s", self.drain_seconds)
            loop = asyncio.get_running_loop()
            loop.call_soon_threadsafe(loop.call_later, self.drain_seconds, finish)  # wakes the loop up, too

    def _add_exception_handlers(self, app: Any) -> None:
        # Not kserve's own: those log a traceback for every unknown model and bad request.
        for kind, status in _STATUS.items():
            app.add_exception_handler(kind, _answer(status))
        app.add_exception_handler(Exception, _defect)

    def _add_middlewares(self, app: Any) -> None:
        pass  # kserve's own adds a log line a request; ours is around the whole application

    def _wrapped(self, app: App) -> App:
        """Plain predictions skip the layers, each of which costs as much as a small network's row."""
        predictions = self.predictions(app)
        most = self.max_body_bytes
        others = Counted(_BodyLimit(predictions, self.max_body_bytes))  # counts what the limit refuses, too

        async def front(scope: Message, receive: Receive, send: Send) -> None:
            answer_it = predictions.route(scope)
            if answer_it is None:
                await others(scope, receive, send)
                return
            headers = dict(scope["headers"])
            # The body is announced and not too big (uvicorn lets nobody send more than was announced): the usual case.
            announced = headers.get(b"content-length", b"")
            if not announced.isdigit() or int(announced) > most or CLOUD_EVENT in headers:
                await others(scope, receive, send)
                return
            metrics.answered(*await predictions.answer(answer_it, headers, receive, send))

        return front


class _CheckedDataPlane(DataPlane):
    served: Live

    async def ready(self) -> bool:
        """Until the server is told to stop; kserve's own says yes always."""
        return not self.served.stopping

    def decode(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().decode(*args, **kwargs)
        except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
            if isinstance(error, InvalidInput):
                raise
            raise InvalidInput(f"the request cannot be read: {error}") from error


class _FixedModels(ModelRepositoryExtension):
    async def load(self, model_name: str) -> None:
        raise NotImplementedError(f"this server serves one model and does not load others, got {model_name!r}")

    async def unload(self, model_name: str) -> None:
        raise NotImplementedError(f"this server serves one model and does not unload it, got {model_name!r}")


class _TooBigError(Exception):
    """More of a body came than the server takes."""


class _BodyLimit:
    """Answers 413 to a body over the limit, announced or not.

    What is still on its way is read and thrown away first, as much again as the limit at most: most clients send all of
    a body before they read, and would see a broken connection in place of the reason.
    """

    def __init__(self, app: App, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._max_bytes:
            await self._throw_away(receive)
            await JSONResponse({"error": self._reason(int(announced))}, status_code=413)(scope, receive, send)
            return
        received, started = 0, False

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                if message.get("more_body", False):
                    await self._throw_away(receive)
                raise _TooBigError
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, limited, noted)
        except _TooBigError:
            if not started:
                await JSONResponse({"error": self._reason(received)}, status_code=413)(scope, receive, send)

    async def _throw_away(self, receive: Receive) -> None:
        read = 0
        while read <= self._max_bytes:
            message = await receive()
            read += len(message.get("body", b""))
            if not message.get("more_body", False):  # the last of it, or the client has gone
                return

    def _reason(self, size: int) -> str:
        return f"the body has {size} bytes or more, the server takes {self._max_bytes}; send the rows in parts"


def _answer(status: int) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def answer(_request: Request, error: Exception) -> JSONResponse:
        logger.info("answered %d: %s", status, error, extra={"status": status})
        return JSONResponse({"error": str(error)}, status_code=status)

    return answer


async def _defect(_request: Request, _error: Exception) -> JSONResponse:
    # uvicorn logs the traceback; the client gets none of it
    return JSONResponse({"error": "internal error; the server's log says more"}, status_code=500)
