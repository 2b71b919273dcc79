"""What a rollout judges a server by, beside KServe's own metrics on ``/metrics``.

nasflow_requests_total{code}            answered prediction requests, by HTTP status
nasflow_request_seconds                 histogram: from the request's head to the answer's
"""

import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import Counter, Histogram

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

_PREDICTION = re.compile(r"/v1/models/[^/]+:predict|/v2/models/[^/]+(/versions/[^/]+)?/infer")

_REQUESTS = Counter("nasflow_requests", "Answered prediction requests, by HTTP status.", ["code"])
_SECONDS = Histogram(
    "nasflow_request_seconds",
    "Seconds from a prediction request to the beginning of its answer.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


class Counted:
    """An ASGI application, its predictions counted. A request that ends in an exception counts as code 500."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not _PREDICTION.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        started, answered = time.perf_counter(), False

        async def noted(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                _note(message["status"], started)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            if not answered:
                _note(500, started)
            raise


def _note(code: int, started: float) -> None:
    _REQUESTS.labels(code=str(code)).inc()
    _SECONDS.observe(time.perf_counter() - started)
