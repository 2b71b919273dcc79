"""An Evaluation as the plain values that Kubeflow Pipelines' Metrics and ClassificationMetrics take. Knows no kfp."""

import math

from nasflow.core.artifacts import Evaluation


def scalar_metrics(evaluation: Evaluation) -> dict[str, float]:
    """Every metric with both ends of its interval, and the rivals' as ``hand_made_accuracy``, ``tree_accuracy``,
    ``champion_accuracy`` …; all finite."""
    found: dict[str, float] = {"test_rows": float(evaluation.test_rows)}
    for metric, estimate in evaluation.test.items():
        found |= {metric: estimate.value, f"{metric}_low": estimate.ci95[0], f"{metric}_high": estimate.ci95[1]}
    rivals = {"hand_made": evaluation.baseline, **evaluation.other_baselines}
    if evaluation.champion is not None:
        rivals["champion"] = evaluation.champion.test
    for name, baseline in rivals.items():
        found |= {f"{name}_{metric}": estimate.value for metric, estimate in baseline.items()}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def confusion_matrix(evaluation: Evaluation) -> tuple[list[str], list[list[int]]] | None:
    """(class names, counts [true][predicted]); None for a regression."""
    if "confusion.json" not in evaluation.files:
        return None
    content = evaluation.json("confusion.json")
    return content["classes"], content["matrix"]


def confidence_metrics(evaluation: Evaluation) -> list[dict[str, float]]:
    """ROC points by descending ``confidenceThreshold``, with ``falsePositiveRate`` and ``recall``: of class 1 for two
    classes, else the mean over classes, one against the rest. Empty for a regression."""
    if "roc.json" not in evaluation.files:
        return []
    points: list[dict[str, float]] = evaluation.json("roc.json")["points"]
    return points
