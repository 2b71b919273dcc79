"""What a rollout judges a server by, beside KServe's own metrics on ``/metrics``.

nasflow_requests_total{code}            answered prediction requests, by HTTP status
nasflow_request_seconds                 histogram: from the request's last byte to the answer's; without code 499,
                                        whose clients went away
nasflow_predictions_total{outcome}      predicted rows, by class; of a regression, by its place in the training targets
nasflow_confidence_total{bin}           predicted rows, by the probability of the class that was predicted
nasflow_model_info{version,engine}      1 for the model that answers now
nasflow_reloads_total{result}           models exchanged while serving: done, or refused and the old one kept

Probes (`nasflow.serving.probe`) are requests, but not predictions.
"""

import bisect
import collections
import itertools
import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

from nasflow.serving.bundle import Bundle

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

_PREDICTION = re.compile(r"/v1/models/[^/]+:predict|/v2/models/[^/]+(/versions/[^/]+)?/infer")

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The histogram's edges."""

_INFO = Gauge("nasflow_model_info", "1 for the model that answers now.", ["version", "engine"])
_RELOADS = Counter("nasflow_reloads", "Models exchanged while serving.", ["result"])

GONE = 499
"""The status, as nginx counts it, where the client did not wait."""

_MANY_ROWS = 4096
_MANY_ANSWERS = 256
"""Are counted together: 0.1 ms, in which nobody else is answered; 4,096 would be 1 to 2 ms, once a second."""
MAX_OUTCOMES = 100
"""Classes that are counted one by one; later ones are counted together as `other`."""
_TARGET_EDGES = (-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0)
_TARGET_BINS = (*[f"<{edge:g}std" for edge in _TARGET_EDGES], f">={_TARGET_EDGES[-1]:g}std")
_CONFIDENCE_BINS = tuple(f"{place / 10:.1f}-{(place + 1) / 10:.1f}" for place in range(10))


class Counted:
    """An ASGI application, its predictions counted. A request that ends in an exception counts as code 500."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not _PREDICTION.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        started, begun = time.perf_counter(), False

        async def noted(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                answered(message["status"], time.perf_counter() - started)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            if not begun:
                answered(500, time.perf_counter() - started)
            raise


class Predicted:
    """Counts predicted rows. Answers are kept as they are until somebody looks, or there are many: counting each by
    itself took as long as a small network."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[NDArray[np.float32], Bundle]] = []
        self._rows = 0
        self._outcomes: collections.Counter[str] = collections.Counter()
        self._bins: collections.Counter[str] = collections.Counter()

    def add(self, values: NDArray[np.float32], bundle: Bundle) -> None:
        """Notes an answer: probabilities [rows, classes], or numbers [rows]; not changed afterwards."""
        self._waiting.append((values, bundle))
        self._rows += len(values)
        if self._rows >= _MANY_ROWS or len(self._waiting) >= _MANY_ANSWERS:
            self._count()

    def collect(self) -> Iterator[Metric]:
        """For Prometheus."""
        self._count()
        outcomes = CounterMetricFamily(
            "nasflow_predictions", "Predicted rows, by class or by place in the training targets.", labels=["outcome"]
        )
        bins = CounterMetricFamily(
            "nasflow_confidence", "Predicted rows, by the predicted class's probability.", labels=["bin"]
        )
        for family, counts in ((outcomes, self._outcomes), (bins, self._bins)):
            for name, count in sorted(counts.items()):
                family.add_metric([name], count)
            yield family

    def _count(self) -> None:
        with self._lock:
            waiting, self._waiting, self._rows = self._waiting, [], 0
            for bundle in {id(bundle): bundle for _, bundle in waiting}.values():
                self._add(np.concatenate([values for values, of in waiting if of is bundle]), bundle)

    def _add(self, values: NDArray[np.float32], bundle: Bundle) -> None:
        classes, label = bundle.signature.classes, bundle.transform.label
        if classes is None:
            places = np.searchsorted(_TARGET_EDGES, (values - label.mean) / label.std, side="right")
            self._outcomes.update(_counted(_TARGET_BINS, places))
            return
        names = classes if len(classes) <= MAX_OUTCOMES else (*classes[:MAX_OUTCOMES], "other")
        self._outcomes.update(_counted(names, np.minimum(values.argmax(axis=1), len(names) - 1)))
        self._bins.update(_counted(_CONFIDENCE_BINS, np.minimum((values.max(axis=1) * 10).astype(int), 9)))


class Requests:
    """Counts answered requests. `add` is called on the event loop only, and needs no lock: prometheus_client's own
    counter and histogram took 2.7 µs a request."""

    def __init__(self) -> None:
        self._codes: collections.Counter[int] = collections.Counter()
        self._places = [0] * (len(_SECONDS) + 1)
        self._seconds = 0.0

    def add(self, code: int, seconds: float) -> None:
        """Notes one."""
        self._codes[code] += 1
        if code == GONE:
            return
        self._places[bisect.bisect_left(_SECONDS, seconds)] += 1
        self._seconds += seconds

    def collect(self) -> Iterator[Metric]:
        """For Prometheus."""
        codes = CounterMetricFamily(
            "nasflow_requests", "Answered prediction requests, by HTTP status.", labels=["code"]
        )
        for code, count in sorted(self._codes.copy().items()):
            codes.add_metric([str(code)], count)
        yield codes
        edges = [*map(str, _SECONDS), "+Inf"]
        buckets = list(zip(edges, itertools.accumulate(self._places), strict=True))
        seconds = HistogramMetricFamily(
            "nasflow_request_seconds", "Seconds from a whole prediction request to its answer."
        )
        seconds.add_metric([], buckets, sum_value=self._seconds)
        yield seconds


PREDICTED = Predicted()
"""Of this process; registered with Prometheus."""
REQUESTS = Requests()
"""As above."""
REGISTRY.register(PREDICTED)
REGISTRY.register(REQUESTS)


def answered(code: int, seconds: float) -> None:
    """Counts a prediction request."""
    REQUESTS.add(code, seconds)


def serves(version: str, engine: str) -> None:
    """Notes which model answers from now on."""
    _INFO.clear()
    _INFO.labels(version=version, engine=engine).set(1)


def reloaded(*, done: bool) -> None:
    """Notes that a model was exchanged, or refused."""
    _RELOADS.labels(result="done" if done else "refused").inc()


def _counted(names: Sequence[str], places: NDArray[np.integer]) -> dict[str, int]:
    return {names[place]: count for place, count in enumerate(np.bincount(places).tolist()) if count}
