import math

import pytest

from nasflow.core.artifacts import Estimate
from nasflow.evaluate.decision import decide
from nasflow.evaluate.judgement import Gain


def _estimate(value):
    return Estimate(value=value, ci95=(value - 0.01, value + 0.01))


def _decide(value=0.91, baseline=0.90, ci95=(-0.002, 0.022), metric="accuracy", min_gain=0.0, **options):
    gain = Gain(value=value - baseline, ci95=ci95)
    return decide(
        metric,
        min_gain=min_gain,
        rows=10_000,
        model=_estimate(value),
        baseline=_estimate(baseline),
        gain=gain,
        **options,
    )


def test_better_but_not_significantly_is_promoted_and_says_so():
    decision = _decide()
    assert decision.promoted
    assert decision.reasons == (
        "accuracy is 0.91 [0.9, 0.92] on 10,000 test rows.",
        (
            "The hand-made network has 0.9 [0.89, 0.91]: the model is better by 0.01 (paired 95 % interval of the gain "
            "-0.002 to +0.022; not significant: the interval includes 0)."
        ),
        "The gain of +0.01 reaches evaluate.min_gain = 0: promoted.",
    )


@pytest.mark.parametrize(
    ("value", "baseline", "min_gain", "promoted"),
    [
        (0.90, 0.90, 0.0, True),  # level is enough
        (0.8999, 0.90, 0.0, False),
        (0.89, 0.90, -0.02, True),  # the user accepts a loss
        (0.9, 0.8, 0.1, True),  # 0.9 − 0.8 is 0.09999999999999998 in binary
        (0.9, 0.8, 0.11, False),
    ],
)
def test_the_gain_decides(value, baseline, min_gain, promoted):
    assert _decide(value, baseline, min_gain=min_gain).promoted is promoted


def test_significance_is_that_of_the_interval():
    assert "; significant)" in _decide(ci95=(0.001, 0.02)).reasons[1]
    assert (
        "worse by 0.01 (paired 95 % interval of the gain -0.02 to -0.001; significant)"
        in (_decide(0.89, 0.90, ci95=(-0.02, -0.001)).reasons[1])
    )
    assert "level with it" in _decide(0.9, 0.9).reasons[1]


def test_better_trees_are_said_and_do_not_decide():
    decision = _decide(tree=Gain(value=-0.0145, ci95=(-0.02, -0.009)))
    assert decision.promoted
    assert decision.reasons[-1] == (
        "A boosted tree ensemble is better by 0.0145 accuracy (95 % interval of the model's gain -0.02 to -0.009): "
        "consider it. It does not enter the decision."
    )
    assert "though not significantly" in _decide(tree=Gain(value=-0.001, ci95=(-0.02, 0.018))).reasons[-1]
    assert "better by 0.01" in _decide(tree=Gain(value=0.01, ci95=(0.001, 0.02))).reasons[-1]


def test_no_value_is_never_promoted():
    nothing = Gain(value=math.nan, ci95=(math.nan, math.nan))
    assert not nothing.significant
    without_model = decide("auc", min_gain=-9.0, rows=5, model=None, baseline=_estimate(0.5), gain=nothing)
    assert not without_model.promoted
    assert "auc has no value on the 5 test rows" in without_model.reasons[0]
    without_baseline = decide("auc", min_gain=-9.0, rows=5, model=_estimate(0.9), baseline=None, gain=nothing)
    assert not without_baseline.promoted
    assert "no auc to compare with" in without_baseline.reasons[-1]
