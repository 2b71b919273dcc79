"""How long a trial will take, from what can be counted of its architecture, calibrated by the trials that have ended.

Milliseconds to train on one example ≈ a · multiply-adds + b · activations + c · parameters / batch + d. The first
coefficients are those measured on one CPU thread with small networks (research/auto.md, question 4: within 12 % there);
every machine has others, so finished trials correct them: with few of them all coefficients by one factor, then by
least squares on relative errors, with the corrected first guess as one more observation of each coefficient. Wall-clock
per worker, so it holds for the number of workers that the trials were measured with.
"""

import dataclasses
import statistics
from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from nasflow.search.record import Record

_PRIOR = np.array([0.021, 0.0061, 7.7, 0.01])
"""Milliseconds per million multiply-adds, thousand activations, million parameters / batch, example."""
_PRIOR_START = 1.5
"""Seconds for building and tracing."""
_FITTED = 6
"""Finished trials from which on the coefficients are fitted one by one."""
_TRUST = 0.3
"""Weight of the first guess against one finished trial."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """A calibrated model."""

    coefficients: tuple[float, float, float, float]
    start_seconds: float
    """Of a trial, whatever its size: building, tracing."""
    trials: int
    """That it was calibrated by."""
    error: float | None
    """Median relative error on those; None without any."""

    def seconds(self, costs: Mapping[str, float], *, epochs: int, rows: int) -> float:
        """Wall-clock of one training; a trial of seeds and folds has several."""
        per_example = float(_features(costs) @ np.array(self.coefficients))
        return self.start_seconds + per_example * rows * epochs / 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """What a trial that has completed says of its cost."""

    features: NDArray[np.float64]
    epoch_seconds: float
    start_seconds: float


def observed(record: Record) -> Observed | None:
    """None: it did not complete, or says nothing of it."""
    if record.status != "completed" or not record.costs or not record.history:
        return None
    epoch = _epoch_seconds(record)
    start = record.seconds / max(1, len(record.runs)) - epoch * len(record.history)
    return Observed(_features(record.costs), epoch, start)


def calibrate(records: Iterable[Record], *, rows: int) -> CostModel:
    """By the completed trials among `records`; `rows`: that one training's epoch shows."""
    return fitted([seen for record in records if (seen := observed(record)) is not None], rows=rows)


def fitted(seen: Collection[Observed], *, rows: int) -> CostModel:
    """By what is known of some trials."""
    if not seen:
        return CostModel(coefficients=_tuple(_PRIOR), start_seconds=_PRIOR_START, trials=0, error=None)
    x = np.array([each.features for each in seen])
    y = np.maximum(np.array([each.epoch_seconds for each in seen]) * 1000 / rows, 1e-9)
    coefficients = _PRIOR * float(np.median(y / (x @ _PRIOR)))
    if len(seen) >= _FITTED:
        from scipy.optimize import nnls

        scaled, prior = x * coefficients / y[:, None], _TRUST * np.eye(len(_PRIOR))
        factors, _ = nnls(np.vstack([scaled, prior]), np.concatenate([np.ones(len(seen)), np.full(len(prior), _TRUST)]))
        coefficients = coefficients * factors
    error = float(np.median(np.abs(x @ coefficients / y - 1)))
    start = max(0.0, float(np.median([each.start_seconds for each in seen])))
    return CostModel(coefficients=_tuple(coefficients), start_seconds=start, trials=len(seen), error=error)


def _features(costs: Mapping[str, float]) -> NDArray[np.float64]:
    parameters = costs["parameters"] / 1e6 / max(1.0, costs.get("batch", 64.0))
    return np.array([costs["flops"] / 2e6, costs["activations"] / 1e3, parameters, 1.0])


def _epoch_seconds(record: Record) -> float:
    """Of one epoch; the first one pays for tracing and is left out where there are others."""
    each = [float(entry["seconds"]) for entry in record.history]
    return statistics.median(each[1:] or each)


def _tuple(values: NDArray[np.float64]) -> tuple[float, float, float, float]:
    a, b, c, d = (float(value) for value in values)
    return a, b, c, d
