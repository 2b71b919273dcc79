"""Prediction requests, answered before KServe's own routes see them.

KServe 0.21 takes a request through FastAPI, pydantic models of every tensor, its data plane and the model class, which
was measured to cost as much as fifty rows of a small network (``tests/benchmarks/SERVING.md``). Its routes still answer
everything else: health, metadata, metrics, CloudEvents.

Short work is done at once, on the event loop; what takes longer goes to threads, so that health checks are answered
meanwhile. Handing over to a thread and back costs more than a small network's answer.
"""

import asyncio
import concurrent.futures
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from nasflow.core.errors import DataError, NasflowError
from nasflow.serving import answer, metrics, v2
from nasflow.serving.batching import Batcher
from nasflow.serving.columns import may_hold_truths
from nasflow.serving.errors import MalformedError, TooMuchError
from nasflow.serving.live import Live, Loaded
from nasflow.serving.memory import Held, check_read
from nasflow.serving.probe import PROBE
from nasflow.serving.raw_columns import rows_of
from nasflow.serving.request_log import RequestLog
from nasflow.serving.rows import Raw, raw_from_instances
from nasflow.serving.tensors import output_datatypes

logger = logging.getLogger(__name__)

Message = metrics.Message
App = metrics.App
Reply = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers, body."""
Answer = Callable[[bytes, Mapping[bytes, bytes]], Awaitable[Reply]]
"""From a body and the headers."""

CLOUD_EVENT = b"ce-specversion"
"""A header that says so."""

_JSON = (b"content-type", b"application/json")
_BINARY = (b"content-type", b"application/octet-stream")
_LENGTH = v2.HEADER.encode()
_PROBE = PROBE.encode()
_SHORT_BYTES = 128 * 1024
_SHORT_SECONDS = 0.002


class Predictions:
    """An ASGI application in front of another one."""

    def __init__(
        self,
        app: App,
        *,
        name: str,
        live: Live,
        max_rows: int,
        threads: concurrent.futures.Executor,
        batcher: Batcher | None = None,
        log: RequestLog | None = None,
    ) -> None:
        self._app = app
        self._name = name
        self._live = live
        self._max_rows = max_rows
        self._threads = threads
        self._batcher = batcher
        self._log = log
        self._held = Held()
        self._routes = {f"/v1/models/{name}:predict": self._v1, f"/v2/models/{name}/infer": self._v2}

    def route(self, scope: Message) -> Answer | None:
        """What answers this request, if it is a prediction for the model."""
        return self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        answer_it, headers = self.route(scope), dict(scope.get("headers", ()))
        if answer_it is None or CLOUD_EVENT in headers:  # CloudEvents are KServe's to unwrap
            await self._app(scope, receive, send)
        else:
            await self.answer(answer_it, headers, receive, send)

    async def answer(
        self, answer_it: Answer, headers: Mapping[bytes, bytes], receive: Any, send: Any
    ) -> tuple[int, float]:
        """Answers a request by its `route`; returns the HTTP status, 499 where the client went away, and the seconds
        from the body's last byte to then: how long a client takes to send it is not the model's latency."""
        message = await receive()
        if not message.get("more_body", False):  # the usual case: it came in one piece
            if message["type"] != "http.request":
                return metrics.GONE, 0.0
            return await self._sent(answer_it, message.get("body", b""), headers, send)
        parts = [message.get("body", b"")]
        try:
            while message.get("more_body", False):
                message = await receive()
                if message["type"] != "http.request":
                    return metrics.GONE, 0.0
                parts.append(message.get("body", b""))
                self._held.take(len(parts[-1]))
            return await self._sent(answer_it, b"".join(parts), headers, send)
        except TooMuchError as error:
            refused = self._refused(error.status, str(error))

            async def refuse(_body: bytes, _headers: Mapping[bytes, bytes]) -> Reply:
                return refused

            return await self._sent(refuse, b"", {}, send)
        finally:
            self._held.give_back(sum(map(len, parts[1:])))

    async def _sent(
        self, answer_it: Answer, body: bytes, headers: Mapping[bytes, bytes], send: Any
    ) -> tuple[int, float]:
        started = time.perf_counter()
        status, more, data = await self._replied(answer_it, body, headers)
        head = [*more, (b"content-length", b"%d" % len(data))]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": data})
        return status, time.perf_counter() - started

    async def _replied(self, answer_it: Answer, body: bytes, headers: Mapping[bytes, bytes]) -> Reply:
        try:
            encoding = headers.get(b"content-encoding", b"identity")
            if encoding != b"identity":
                return self._refused(415, f"content-encoding {encoding.decode('latin-1')!r}: send the body as it is")
            return await answer_it(body, headers)
        except MalformedError as error:
            return self._refused(400, str(error))
        except TooMuchError as error:
            return self._refused(error.status, str(error))
        except DataError as error:
            return self._refused(422, str(error))
        except NasflowError as error:
            logger.error("answered 500: %s", error)
            return _error(500, str(error))
        except Exception:
            logger.exception("answered 500")
            return _error(500, "internal error; the server's log says more")

    def _refused(self, status: int, reason: str) -> Reply:
        logger.info("answered %d: %s", status, reason, extra={"status": status})
        if self._log is not None:
            self._log.refused(status, reason)
        return _error(status, reason)

    async def _v1(self, body: bytes, headers: Mapping[bytes, bytes]) -> Reply:
        loaded = self._live.current

        def read() -> Raw:
            check_read(body)
            try:
                payload = orjson.loads(body)
            except ValueError as error:
                raise MalformedError(f"the body is not JSON: {error}") from error
            truths, schema = may_hold_truths(body), loaded.bundle.schema
            return raw_from_instances(payload, schema, max_rows=self._max_rows, reader=loaded.rows, truths=truths)

        def write(values: NDArray[np.float32]) -> Reply:
            content = {"predictions": answer.predictions(values, loaded.bundle.signature)}
            return 200, [_JSON], orjson.dumps(content)

        return await self._answered(loaded, body, headers, read, write)

    async def _v2(self, body: bytes, headers: Mapping[bytes, bytes]) -> Reply:
        loaded = self._live.current
        bundle = loaded.bundle
        request: v2.InferRequest | None = None

        def read() -> Raw:
            nonlocal request
            length = headers.get(_LENGTH)
            found = loaded.bodies.read(body, max_rows=self._max_rows) if length is None else None
            if found is not None:
                request, raw = found
                return raw
            check_read(body if length is None or not length.isdigit() else memoryview(body)[: int(length)])
            request = v2.parse(body, length)
            return loaded.tensors.read(request.inputs, max_rows=self._max_rows, truths=request.truths)

        def write(values: NDArray[np.float32]) -> Reply:
            assert request is not None
            data, json_length = v2.respond(
                answer.outputs(values, bundle.signature),
                output_datatypes(bundle.signature),
                request,
                model=self._name,
                version=loaded.version,
                request_id=request.id or f"{random.getrandbits(128):032x}",
            )
            if json_length is None:
                return 200, [_JSON], data
            return 200, [_BINARY, (_LENGTH, b"%d" % json_length)], data

        return await self._answered(loaded, body, headers, read, write)

    async def _answered(
        self,
        loaded: Loaded,
        body: bytes,
        headers: Mapping[bytes, bytes],
        read: Callable[[], Raw],
        write: Callable[[NDArray[np.float32]], Reply],
    ) -> Reply:
        started = time.perf_counter()
        short = len(body) <= _SHORT_BYTES
        raw = read() if short else await self._elsewhere(read)
        rows = rows_of(raw)
        if self._batcher is not None:
            values = await self._batcher.predict(loaded, raw, rows)
        elif short and loaded.seconds(rows) <= _SHORT_SECONDS:
            values = loaded.bundle.predict(raw)
        else:
            values = await self._elsewhere(lambda: loaded.bundle.predict(raw))
        reply = write(values)
        if _PROBE not in headers:
            metrics.PREDICTED.add(values, loaded.bundle)
            if self._log is not None:
                seconds = time.perf_counter() - started
                self._log.answered(raw, values, seconds=seconds, version=loaded.version)
        return reply

    async def _elsewhere(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _error(status: int, reason: str) -> Reply:
    return status, [_JSON], orjson.dumps({"error": reason})
