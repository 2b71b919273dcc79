"""How long one answer takes and how big the answering model is: of the export that is served, or the network alone."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nasflow.data.golden import Golden
from nasflow.data.raw import raw_batch
from nasflow.data.schema import Schema
from nasflow.data.tensors import OutputSpec, Tensors
from nasflow.models.predict import logits
from nasflow.models.saved import SavedModel

_WARM_UP, _CALLS, _ROUNDS = 5, 50, 3


def of_export(folder: Path, *, schema: Schema, golden: Golden) -> float:
    """Milliseconds for one raw row through the bundle's SavedModel, on this machine: the lowest of three medians of 50
    calls, after 5 to warm up: another process's moment on the CPU does not count. What HTTP adds is not in it."""
    served = SavedModel(folder)
    rows = [raw_batch([row], schema) for row in golden.rows[:10]]
    return _median(lambda call: served.predict(rows[call % len(rows)]))


def of_network(model: Any, tensors: Tensors, output: OutputSpec) -> float:
    """The same for the network on tensors, in this process: without the transform of raw columns, so a little less."""
    rows = [tensors.take(slice(place, place + 1)) for place in range(min(10, tensors.rows))]
    return _median(lambda call: logits(model, rows[call % len(rows)], output))


def size_mb(folder: Path) -> float:
    """Of the bundle's SavedModel, in 10⁶ bytes."""
    return sum(path.stat().st_size for path in Path(folder, "saved_model").rglob("*") if path.is_file()) / 1e6


def _median(call: Callable[[int], Any]) -> float:
    for number in range(_WARM_UP):
        call(number)
    medians = []
    for _ in range(_ROUNDS):
        seconds = []
        for number in range(_CALLS):
            started = time.perf_counter()
            np.asarray(call(number))
            seconds.append(time.perf_counter() - started)
        medians.append(statistics.median(seconds))
    return 1000 * min(medians)
