"""Which candidate is refitted, and with which seed: honest about luck.

A single score on validation rewards lucky seeds. A candidate is judged by the mean over seeds less one standard
deviation (for metrics that are minimised: plus), so that of two equal means the steadier one wins.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

from nasflow.core.errors import NasflowError
from nasflow.core.metrics import better
from nasflow.core.metrics import maximised as is_maximised
from nasflow.core.spec import Metric


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The winner."""

    candidate: int
    """Its place among the candidates."""
    seed: int
    """The place of its best seed."""
    judged: tuple[float, ...]
    """What each candidate was judged by; NaN where a seed failed."""


def judged(metric: Metric, scores: Sequence[float]) -> float:
    """Mean less (minimised: plus) the sample standard deviation, which is 0 for one score; NaN if any score is NaN.

    >>> judged("accuracy", [0.90, 0.94]), judged("rmse", [2.0, 4.0])
    (0.8917157287525381, 4.414213562373095)
    """
    if not scores or not all(math.isfinite(score) for score in scores):
        return math.nan
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    mean = statistics.fmean(scores)
    return mean - spread if is_maximised(metric) else mean + spread


def choose(metric: Metric, scores: Mapping[int, Sequence[float]]) -> Choice:
    """The best candidate and its best seed; ties go to the earlier one, which the search ranked higher.

    `scores`: by the candidate's place, the score of each seed; NaN for a training that failed.

    Raises:
        NasflowError: no candidate got through all its seeds.
    """
    verdicts = [judged(metric, scores[candidate]) for candidate in sorted(scores)]
    winner = _best(metric, verdicts)
    if winner is None:
        raise NasflowError(
            f"train: none of {len(verdicts)} candidates could be trained with all seeds; see the log for each "
            "failure, lower train.seeds, or raise train.candidates to try more of the search's architectures"
        )
    best_seed = _best(metric, scores[winner])
    assert best_seed is not None  # a winner has only finite scores
    return Choice(candidate=winner, seed=best_seed, judged=tuple(verdicts))


def _best(metric: Metric, values: Sequence[float]) -> int | None:
    best: int | None = None
    for place, value in enumerate(values):
        if math.isfinite(value) and (best is None or better(metric, value, values[best])):
            best = place
    return best
