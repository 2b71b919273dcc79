"""Ends trials that the others leave behind: the median rule, and a regression on learning curves.

Both compare a running trial with those that have completed with *as many epochs granted*: under a schedule that
anneals, epoch 3 of 5 and epoch 3 of 50 say different things. Presets are never stopped: what a study returns is held
against them. Both see the first training of a trial (seed 0, fold 0), which all trials share.
"""

import bisect
import collections
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
_WINDOW = 500
"""Curves that the regression learns from."""


class Stopping:
    """Asked after each epoch of each trial."""

    def __init__(self, study: Study, section: StoppingSection) -> None:
        self._study, self._section = study, section
        self._curves: dict[str, list[float]] = {}
        self._read = 0
        self._others: dict[int, _Others] = collections.defaultdict(_Others)

    def __call__(self, report: Report) -> str:
        """Why the trial shall end; empty: it goes on."""
        record = self._study.ledger.get(report.trial_id)
        if record is None or record.origin in ("preset", "look") or record.inherit is not None:
            return ""
        curve = self._curves.setdefault(report.trial_id, [])
        del curve[report.number - 1 :]  # told again, after a worker that died
        curve.append(-math.inf if report.score is None else self._study.sign * report.score)
        epochs = record.control.get("tuner/epochs") or self._study.epochs
        if report.number >= epochs or len(curve) < report.number:
            return ""
        others = self._compared_with(epochs)
        if others.count < self._section.after:
            return ""
        if self._section.median and max(curve) < others.median(len(curve)):
            return "its best score is below the median of the others' running means"
        if self._section.curve and len(others.whole) >= self._section.after:
            chance = chance_to_beat(others.best, curve, list(others.whole))
            if chance < _LEAST_CHANCE:
                return f"its chance to beat the best one is {chance:.1%}, by the others' curves"
        return ""

    def _compared_with(self, epochs: int) -> "_Others":
        """The trials that have completed with so many epochs granted."""
        for result in self._study.history[self._read :]:
            from_the_first = len(result.curve) == result.epochs > 0  # not one that went on with another
            if result.status == "completed" and result.same_as is None and from_the_first:
                granted = result.granted or self._study.epochs
                self._others[granted].add(result.curve, whole=len(result.curve) == granted)
        self._read = len(self._study.history)
        return self._others[epochs]


class _Others:
    """Curves that a trial is compared with, kept up as they come: a question costs the same after 4,000 of them."""

    def __init__(self) -> None:
        self.count = 0
        self.best = -math.inf
        """The best end of a whole curve."""
        self.whole: collections.deque[Curve] = collections.deque(maxlen=_WINDOW)
        """The last ones that came to their end: what has been stopped itself is no example of how a curve ends."""
        self._means: list[list[float]] = []

    def add(self, curve: Curve, *, whole: bool) -> None:
        self.count += 1
        for place, mean in enumerate(running_means(curve)):
            if place == len(self._means):
                self._means.append([])
            bisect.insort(self._means[place], mean)
        if whole:
            self.whole.append(curve)
            self.best = max(self.best, curve[-1])

    def median(self, epoch: int) -> float:
        """Golovin et al. 2017 (Google Vizier), section 3.2.2: the median of the curves' means over their scores up to
        an epoch; minus infinity where none came so far."""
        if epoch > len(self._means):
            return -math.inf
        means = self._means[epoch - 1]
        middle = len(means) // 2
        return means[middle] if len(means) % 2 else (means[middle - 1] + means[middle]) / 2


def below_median(curve: Curve, others: Sequence[Curve]) -> bool:
    """Golovin et al. 2017 (Google Vizier), section 3.2.2: whether the best score so far is strictly worse than the
    median of the others' means over their scores up to the same epoch. Others that did not come so far do not count.
    (A study asks the same of medians that it keeps up.)

    >>> others = [[0.25, 0.5], [0.5, 0.75], [0.125, 0.25]]  # means .375, .625, .1875; their median is .375
    >>> below_median([0.1, 0.375], others), below_median([0.1, 0.37], others)
    (False, True)
    """
    kept = _Others()
    for other in others:
        kept.add(other, whole=False)
    return max(curve) < kept.median(len(curve))


def running_means(curve: Curve) -> list[float]:
    """The mean of the scores up to each epoch.

    >>> running_means([0.25, 0.5, 0.75])
    [0.25, 0.375, 0.5]
    """
    return [statistics.fmean(curve[:epochs]) for epochs in range(1, len(curve) + 1)]


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
