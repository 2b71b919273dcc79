"""The model that a server answers with now, and how long it takes; exchanged as a whole between two requests."""

import dataclasses
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.data.raw import raw_batch
from nasflow.serving.bundle import Bundle
from nasflow.serving.columns import ColumnReader
from nasflow.serving.json_tensors import JsonTensors
from nasflow.serving.tensor_reader import TensorReader

_WARM_ROWS = 32


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A bundle that is ready to answer."""

    bundle: Bundle
    version: str
    """The registered version; empty for a bare bundle."""
    rows: ColumnReader
    """Of V1 requests."""
    tensors: TensorReader
    """Of V2 requests."""
    bodies: JsonTensors
    """Of long V2 requests in JSON."""
    call_seconds: float
    """What a call takes, whatever its rows."""
    row_seconds: float
    """And each row beyond."""

    @classmethod
    def of(cls, bundle: Bundle, version: str = "") -> "Loaded":
        """Warms the bundle up: the first call initialises the graph; better before ready than in a client's request."""
        one, many = 0.0, 0.0
        if rows := bundle.golden.rows[:1]:
            one = _seconds(bundle, raw_batch(rows, bundle.schema))
            many = _seconds(bundle, raw_batch(rows * _WARM_ROWS, bundle.schema))
        return cls(
            bundle=bundle,
            version=version,
            rows=ColumnReader(bundle.schema),
            tensors=TensorReader(bundle.signature, bundle.schema),
            bodies=JsonTensors(bundle.signature, bundle.schema),
            call_seconds=one,
            row_seconds=max(0.0, many - one) / (_WARM_ROWS - 1),
        )

    def seconds(self, rows: int) -> float:
        """About how long a prediction takes."""
        return self.call_seconds + rows * self.row_seconds


class Live:
    """Holds the one that serves. Whoever answers takes `current` once, and keeps it to the end of its request."""

    def __init__(self, loaded: Loaded) -> None:
        self.current = loaded
        self.stopping = False
        """Set when the server was told to stop: it is no longer ready, and answers what still comes."""

    def swap(self, loaded: Loaded) -> None:
        """All later requests are answered by another model; a single assignment, so no request meets half of one."""
        self.current = loaded


def _seconds(bundle: Bundle, raw: dict[str, NDArray[np.generic] | Any]) -> float:
    best = np.inf
    for _ in range(3):
        started = time.perf_counter()
        bundle.predict(raw)
        best = min(best, time.perf_counter() - started)
    return float(best)
