"""The report of an evaluation."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from nasflow.core import html
from nasflow.core.artifacts import Estimate, Evaluation, Model
from nasflow.evaluate import pictures
from nasflow.evaluate.baselines import BATCH
from nasflow.evaluate.decision import direction
from nasflow.evaluate.judgement import Gain
from nasflow.evaluate.slices import Slice

_MOST_SLICES = 10
_NAMES = {
    "hand_made": "hand-made network",
    "tree": "boosted trees",
    "tfidf_linear": "TF-IDF + linear model",
    "champion": "champion",
    "original": "same network, original data",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All that the report shows."""

    evaluation: Evaluation
    model: Model
    labels: NDArray[Any]
    predictions: NDArray[Any]
    classes: Sequence[str] | None
    gains: Mapping[str, Gain]
    """By rival: the paired gain in the objective."""
    slices: Sequence[Slice] = ()
    """Parts of the test rows, the weakest first."""
    effort: str
    """How the hand-made network was trained."""


def report(verdict: Verdict) -> bytes:
    """A self-contained page."""
    evaluation = verdict.evaluation
    promoted = evaluation.decision.promoted
    objective = evaluation.test.get(evaluation.objective)
    facts = {
        f"{evaluation.objective} on test": objective.value if objective else None,
        "hand-made network": getattr(evaluation.baseline.get(evaluation.objective), "value", None),
        **_champion_fact(evaluation),
        "test rows": evaluation.test_rows,
        "parameters": verdict.model.parameters,
        "decision": "promoted" if promoted else "not promoted",
    }
    sections = [
        ("Result", html.facts(facts)),
        ("Decision", Markup("").join(html.paragraph(reason) for reason in evaluation.decision.reasons)),
        ("Metrics with 95 % intervals", _metrics(evaluation) + html.paragraph(_trained(verdict))),
        (f"Gain in {evaluation.objective}, on the same rows", _gains(verdict)),
    ]
    if verdict.slices:
        shown = [(part.what, part.rows, f"{part.value:.4g}") for part in verdict.slices[:_MOST_SLICES]]
        body = html.table(["rows with", "rows", evaluation.objective], shown)
        sections.append((f"Where {evaluation.objective} is weakest", body))
    if np.isfinite(verdict.predictions).all():
        sections += _pictures(verdict)
    lead = "The held-out test set, used once. Intervals: bootstrap over the test rows."
    return html.page("Evaluation", lead, sections)


def _metrics(evaluation: Evaluation) -> Markup:
    columns = {"model": evaluation.test, "hand_made": evaluation.baseline, **evaluation.other_baselines}
    if evaluation.champion is not None and evaluation.champion.test:
        columns["champion"] = evaluation.champion.test
    if evaluation.original is not None and evaluation.original.test:
        columns["original"] = evaluation.original.test
    metrics = list(dict.fromkeys(metric for column in columns.values() for metric in column))
    rows = [
        [f"{metric} ({direction(metric)})", *(_cell(c.get(metric)) for c in columns.values())] for metric in metrics
    ]
    return html.table(["metric", *(_NAMES.get(name, name) for name in columns)], rows)


def _trained(verdict: Verdict) -> str:
    return f"The hand-made network was trained with Adam on batches of {BATCH}: {verdict.effort}."


def _champion_fact(evaluation: Evaluation) -> dict[str, float | None]:
    champion = evaluation.champion
    if champion is None or evaluation.objective not in champion.test:
        return {}
    return {f"champion, version {champion.version}": champion.test[evaluation.objective].value}


def _cell(estimate: Estimate | None) -> str | None:
    if estimate is None:
        return None
    return f"{estimate.value:.4g}  [{estimate.ci95[0]:.4g}, {estimate.ci95[1]:.4g}]"


def _gains(verdict: Verdict) -> Markup:
    gains = dict(verdict.gains)
    champion = verdict.evaluation.champion
    if champion is not None and champion.gain is not None:
        gains["champion"] = Gain(value=champion.gain.value, ci95=champion.gain.ci95)
    original = verdict.evaluation.original
    if original is not None and original.gain is not None:
        gains["original"] = Gain(value=original.gain.value, ci95=original.gain.ci95)
    rows = [
        [
            _NAMES.get(name, name),
            f"{gain.value:+.4g}",
            f"{gain.ci95[0]:+.4g} to {gain.ci95[1]:+.4g}",
            "significant" if gain.significant else "not significant",
        ]
        for name, gain in gains.items()
    ]
    return html.table(["the model against", "gain", "95 % interval, paired", ""], rows)


def _pictures(verdict: Verdict) -> list[tuple[str, Markup]]:
    if verdict.classes is None:
        return [("Residuals", pictures.residuals(verdict.labels, verdict.predictions))]
    return [
        ("Confusion", pictures.confusion_matrix(verdict.labels, verdict.predictions, verdict.classes)),
        ("ROC and precision-recall", pictures.roc_and_pr(verdict.labels, verdict.predictions)),
        ("Calibration", pictures.calibration(verdict.labels, verdict.predictions)),
    ]
