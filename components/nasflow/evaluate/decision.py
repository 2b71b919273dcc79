"""Whether the model may go to production, and why, in sentences that a person can act on."""

import dataclasses
import math

from nasflow.core.artifacts import Decision, Estimate
from nasflow.core.metrics import maximised
from nasflow.core.spec import Metric
from nasflow.evaluate.judgement import Gain

_ROUNDING = 1e-12
"""0.9 − 0.8 is a little less than 0.1: a gain that equals `min_gain` on paper passes."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """The champion: the version in production."""

    version: int
    min_gain: float
    estimate: Estimate | None = None
    """None: the metric has no value."""
    gain: Gain | None = None
    problem: str = ""
    """Why it cannot be compared; empty where it was."""


def decide(
    metric: Metric,
    *,
    min_gain: float,
    rows: int,
    model: Estimate | None,
    baseline: Estimate | None,
    gain: Gain,
    tree: Gain | None = None,
    tfidf: Gain | None = None,
    champion: Rival | None = None,
) -> Decision:
    """Promoted if and only if the gain over the hand-made network is at least `min_gain` (NaN never is) and, where
    there is a champion that can be compared, the gain over it is at least its own.

    Intervals, trees and linear models inform; they do not decide. `model` and `baseline` are None where the metric
    has no value.
    """
    if model is None:
        why = "a prediction is not finite, or only one class occurs"
        return Decision(
            promoted=False, reasons=(f"{metric} has no value on the {rows:,} test rows ({why}): not promoted.",)
        )
    reasons = [f"{metric} is {_estimate(model)} on {rows:,} test rows."]
    if baseline is None or not math.isfinite(gain.value):
        reasons.append(f"The hand-made network has no {metric} to compare with: not promoted.")
        return Decision(promoted=False, reasons=tuple(reasons))
    promoted = gain.value >= min_gain - _ROUNDING
    reasons.append(f"The hand-made network has {_estimate(baseline)}: the model is {_compared(gain)}.")
    reasons.append(_verdict(gain, "evaluate.min_gain", min_gain, promoted=promoted))
    if champion is not None:
        beaten, said = _against_champion(metric, champion)
        promoted = promoted and beaten
        reasons += said
    for who, other in (("a boosted tree ensemble", tree), ("a linear model on TF-IDF", tfidf)):
        if other is not None and math.isfinite(other.value):
            reasons.append(_against(who, metric, other))
    return Decision(promoted=promoted, reasons=tuple(reasons))


def _against_champion(metric: Metric, champion: Rival) -> tuple[bool, list[str]]:
    """(whether it does not stand in the way, sentences)."""
    who = f"The champion, version {champion.version},"
    if champion.problem:
        return True, [f"{who} cannot be compared on these rows: {champion.problem}. It does not decide."]
    if champion.estimate is None or champion.gain is None or not math.isfinite(champion.gain.value):
        return True, [f"{who} has no {metric} on these rows (a prediction is not finite). It does not decide."]
    beaten = champion.gain.value >= champion.min_gain - _ROUNDING
    return beaten, [
        f"{who} has {_estimate(champion.estimate)} on the same rows: the model is {_compared(champion.gain)}.",
        _verdict(champion.gain, "evaluate.min_gain_champion", champion.min_gain, promoted=beaten),
    ]


def _verdict(gain: Gain, key: str, least: float, *, promoted: bool) -> str:
    verdict = "reaches" if promoted else "is below"
    return f"The gain of {gain.value:+.4g} {verdict} {key} = {least:g}: {'promoted' if promoted else 'not promoted'}."


def _against(who: str, metric: Metric, gain: Gain) -> str:
    if gain.value < 0:
        sure = "" if gain.significant else ", though not significantly"
        return (
            f"{who[0].upper()}{who[1:]} is better by {-gain.value:.4g} {metric}{sure} "
            f"(95 % interval of the model's gain {_interval(gain)}): consider it. It does not enter the decision."
        )
    return f"Against {who} the model is {_compared(gain)}. It does not enter the decision."


def _compared(gain: Gain) -> str:
    if gain.value == 0:
        return f"level with it (paired 95 % interval {_interval(gain)})"
    what = "better" if gain.value > 0 else "worse"
    sure = "significant" if gain.significant else "not significant: the interval includes 0"
    return f"{what} by {abs(gain.value):.4g} (paired 95 % interval of the gain {_interval(gain)}; {sure})"


def _interval(gain: Gain) -> str:
    return f"{gain.ci95[0]:+.4g} to {gain.ci95[1]:+.4g}"


def _estimate(estimate: Estimate) -> str:
    return f"{estimate.value:.4g} [{estimate.ci95[0]:.4g}, {estimate.ci95[1]:.4g}]"


def direction(metric: Metric) -> str:
    """For a table's heading.

    >>> direction("rmse")
    'less is better'
    """
    return "more is better" if maximised(metric) else "less is better"
