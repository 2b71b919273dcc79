"""Ends trials that the others leave behind: the median rule, and a regression on learning curves.

Both compare a running trial with those that have completed with *as many epochs granted*: under a schedule that
anneals, epoch 3 of 5 and epoch 3 of 50 say different things. Presets are never stopped: what a study returns is held
against them. Both see the first training of a trial (seed 0, fold 0), which all trials share.
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np

from nasflow.core.spec import StoppingSection
from nasflow.search.job import Report
from nasflow.search.study import Study

Curve = Sequence[float]
"""Scores after each epoch, more is better."""

_LEAST_CHANCE = 0.05
_RIDGE = 1e-3


class Stopping:
    """Asked after each epoch of each trial."""

    def __init__(self, study: Study, section: StoppingSection) -> None:
        self._study, self._section = study, section
        self._curves: dict[str, list[float]] = {}

    def __call__(self, report: Report) -> str:
        """Why the trial shall end; empty: it goes on."""
        record = self._study.ledger.get(report.trial_id)
        if record is None or record.origin == "preset" or record.inherit is not None:
            return ""
        curve = self._curves.setdefault(report.trial_id, [])
        del curve[report.number - 1 :]  # told again, after a worker that died
        curve.append(-math.inf if report.score is None else self._study.sign * report.score)
        epochs = record.control.get("tuner/epochs") or self._study.epochs
        if report.number >= epochs or len(curve) < report.number:
            return ""
        others = [
            result
            for result in self._study.history
            if result.status == "completed"
            and result.same_as is None
            and (result.granted or self._study.epochs) == epochs
            and len(result.curve) == result.epochs > 0  # from its first epoch on: not one that went on with another
        ]
        if len(others) < self._section.after:
            return ""
        curves = [result.curve for result in others]
        if self._section.median and below_median(curve, curves):
            return "its best score is below the median of the others' running means"
        if self._section.curve:
            # What has been stopped itself is no example of how a curve ends.
            whole = [each for each in curves if len(each) == epochs]
            best = max((each[-1] for each in whole), default=math.inf)
            chance = chance_to_beat(best, curve, whole) if len(whole) >= self._section.after else 1.0
            if chance < _LEAST_CHANCE:
                return f"its chance to beat the best one is {chance:.1%}, by the others' curves"
        return ""


def below_median(curve: Curve, others: Sequence[Curve]) -> bool:
    """Golovin et al. 2017 (Google Vizier), section 3.2.2: whether the best score so far is strictly worse than the
    median of the others' means over their scores up to the same epoch. Others that did not come so far do not count.

    >>> others = [[0.25, 0.5], [0.5, 0.75], [0.125, 0.25]]  # means .375, .625, .1875; their median is .375
    >>> below_median([0.1, 0.375], others), below_median([0.1, 0.37], others)
    (False, True)
    """
    means = [statistics.fmean(other[: len(curve)]) for other in others if len(other) >= len(curve)]
    return bool(means) and max(curve) < statistics.median(means)


def chance_to_beat(best: float, curve: Curve, others: Sequence[Curve]) -> float:
    """The probability that a curve ends above `best`, after Baker et al. 2017 (Accelerating Neural Architecture Search
    using Performance Prediction, sections 3 and 4).

    They regress the last score on the scores so far with a support vector machine; with the handful of finished trials
    that a search has, a ridge regression on the last score and on the slope over the second half is what can be fitted.
    The error is that of leaving each example out, and normal. Two others or fewer: 1, nothing is known.
    """
    place = len(curve)
    if len(others) < 3 or not math.isfinite(curve[-1]):
        return 1.0 if math.isfinite(curve[-1]) else 0.0
    seen = np.array([_features(other[:place]) for other in others])
    ends = np.array([other[-1] for other in others])
    centre, scale = seen.mean(0), np.maximum(seen.std(0), 1e-9)
    x = (seen - centre) / scale
    gram = x.T @ x + _RIDGE * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ (ends - ends.mean()))
    hat = np.einsum("ij,jk,ik->i", x, np.linalg.inv(gram), x) + 1 / len(x)
    left_out = (ends - ends.mean() - x @ weights) / np.maximum(1 - hat, 1e-3)
    error = max(float(np.sqrt(np.mean(left_out**2))), 1e-9)
    expected = float(ends.mean() + ((np.array(_features(curve)) - centre) / scale) @ weights)
    return 0.5 * math.erfc((best - expected) / (error * math.sqrt(2)))


def _features(curve: Curve) -> tuple[float, float]:
    return curve[-1], curve[-1] - curve[len(curve) // 2]
