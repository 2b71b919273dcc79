"""The report's figures. matplotlib is imported where it draws."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nasflow.core.artifacts import SPLITS
from nasflow.preprocess.summary import Summary

_COLOURS = ("#2a6f97", "#e09f3e", "#9e2a2b")
_MAX_CLASSES = 30
_MAX_EXAMPLES = 24


def class_balance(classes: Sequence[str], summary: Summary) -> Any:
    """Grouped bars: share of each class in each split; the most frequent classes where there are many."""
    from matplotlib.figure import Figure

    train = summary.classes["train"]
    shown = list(classes)
    if len(classes) > _MAX_CLASSES:
        shown = sorted(classes, key=lambda name: -train.get(name, 0))[:_MAX_CLASSES]
    figure = Figure(figsize=(9, 0.9 + 0.42 * len(shown)))
    axes = figure.subplots()
    places = np.arange(len(shown))
    for number, split in enumerate(SPLITS):
        counts = summary.classes[split]
        total = max(1, sum(counts.values()))
        shares = [100 * counts.get(name, 0) / total for name in shown]
        bars = axes.barh(places + 0.27 * (number - 1), shares, 0.25, color=_COLOURS[number], label=split)
        if number == 0:
            texts = [f" {train.get(name, 0):,}" for name in shown]
            axes.bar_label(bars, texts, fontsize=7, color="#444444")
    axes.set_yticks(places, [name[:40] for name in shown])
    axes.invert_yaxis()
    axes.set_xlabel("% of the split's rows")
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(SPLITS))
    _plain(axes)
    return figure


def examples(summary: Summary) -> Any:
    """A grid of training images with their labels."""
    from matplotlib.figure import Figure

    shown = summary.pictures[:_MAX_EXAMPLES]
    down = -(-len(shown) // 8)
    figure = Figure(figsize=(10, 1.45 * down), layout="constrained")
    grid = figure.subplots(down, 8, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (label, pixels) in zip(grid.flat, shown, strict=False):
        image = np.array(pixels, np.uint8)
        axes.imshow(image[:, :, 0] if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=255)
        axes.set_title(label[:18], fontsize=8)
    return figure


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
