"""The pictures of the evaluation's report."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nasflow.core import html
from nasflow.core.metrics import confusion
from nasflow.evaluate import curves
from nasflow.evaluate.residuals import points

Array = NDArray[Any]

_MOST_NAMED_CLASSES = 30
_MOST_COUNTED_CLASSES = 15
_LONGEST_NAME = 18


def confusion_matrix(labels: Array, predictions: Array, classes: Sequence[str]) -> Markup:
    """Share of each true class, and counts where they fit."""
    counts = confusion(labels, predictions)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(9.0, 2.4 + 0.42 * len(classes))
    figure = Figure(figsize=(side + 0.8, side))
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, fraction=0.04, label="share of the true class")
    if len(classes) <= _MOST_NAMED_CLASSES:
        names = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in classes]
        escaped = [name.replace("$", r"\$") for name in names]  # matplotlib would read $…$ as mathematics
        axes.set_xticks(range(len(classes)), escaped, rotation=45, ha="right")
        axes.set_yticks(range(len(classes)), escaped)
    if len(classes) <= _MOST_COUNTED_CLASSES:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "#1c2430"
                axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize="small")
    axes.set(xlabel="predicted", ylabel="true")
    return html.picture(figure, "Rows of the test set by true and predicted class.")


def roc_and_pr(labels: Array, predictions: Array) -> Markup:
    """Both curves, side by side."""
    rates = curves.thresholded(labels, predictions, steps=500)
    if rates is None:
        return html.paragraph("Only one class occurs among the test labels: there is no curve.")
    figure = Figure(figsize=(9, 3.8))
    roc, pr = figure.subplots(1, 2)
    roc.plot([0, 1], [0, 1], color="#b8c0cc", linestyle="--", linewidth=1)
    roc.plot([0, *rates.false_positive_rate, 1], [0, *rates.recall, 1], color="C0")
    roc.set(title="ROC", xlabel="false positive rate", ylabel="recall")
    pr.plot(rates.recall, rates.precision, color="C1")
    pr.set(title="Precision-recall", xlabel="recall", ylabel="precision", ylim=(0, 1.03))
    for axes in (roc, pr):
        axes.grid(alpha=0.3)
    which = "of class 1" if predictions.shape[1] == 2 else "mean over the classes, one against the rest"
    return html.picture(figure, f"At every threshold, {which}.")


def calibration(labels: Array, predictions: Array) -> Markup:
    """How often the predicted class is right, against how sure the model is."""
    found = curves.reliability(labels, predictions)
    figure = Figure(figsize=(4.6, 4.0))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#b8c0cc", linestyle="--", linewidth=1)
    sizes = 20 + 180 * np.asarray(found.rows) / max(found.rows)
    axes.plot(found.confidence, found.accuracy, color="C0", linewidth=1)
    axes.scatter(found.confidence, found.accuracy, s=sizes, color="C0", alpha=0.7)
    axes.set(xlabel="probability of the predicted class", ylabel="share that is right", xlim=(0, 1.03), ylim=(0, 1.03))
    axes.grid(alpha=0.3)
    return html.picture(
        figure,
        f"Reliability in ten bins; a dot's size is its rows. Expected calibration error {found.error:.3f}. "
        "Below the dashed line the model is too sure of itself.",
    )


def residuals(labels: Array, predictions: Array) -> Markup:
    """Predicted against true, and the distribution of the difference."""
    figure = Figure(figsize=(9, 3.8))
    scatter, histogram = figure.subplots(1, 2)
    rows = points(len(labels))
    low, high = min(labels.min(), predictions.min()), max(labels.max(), predictions.max())
    scatter.plot([low, high], [low, high], color="#b8c0cc", linestyle="--", linewidth=1)
    scatter.scatter(labels[rows], predictions[rows], s=8, alpha=0.5)
    scatter.set(title="Predicted against true", xlabel="true", ylabel="predicted")
    histogram.hist(predictions - labels, bins=40, color="C1")
    histogram.axvline(0, color="#5c6675", linestyle="--", linewidth=1)
    histogram.set(title="Residuals", xlabel="predicted − true", ylabel="rows")
    for axes in (scatter, histogram):
        axes.grid(alpha=0.3)
    return html.picture(figure, "In the target's own units.")
