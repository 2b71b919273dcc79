"""Small inline SVG pictures of columns, a few hundred bytes each: a table of 500 columns stays a light page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from nasflow.core.artifacts import SPLITS

BARS = 24
WIDTH, HEIGHT = 144, 36
KEY = Markup(
    '<p class="key"><i style="background:#2a6f9755"></i>train<i style="background:#e09f3e"></i>validation'
    '<i style="background:#9e2a2b"></i>test</p>'
)


def histogram(values: Mapping[str, NDArray[np.float64]]) -> Markup:
    """Shares by split over 24 equal ranges of the training rows' 0.5 to 99.5 percentiles; what lies outside counts in
    the outermost ranges. Empty where the training rows have no finite value."""
    train = values["train"][np.isfinite(values["train"])]
    if not len(train):
        return Markup("")
    low, high = np.percentile(train, [0.5, 99.5])
    low, high = (low, high) if high > low else (low - 0.5, low + 0.5)
    heights = {}
    for split, column in values.items():
        finite = np.clip(column[np.isfinite(column)], low, high)
        counts, _ = np.histogram(finite, bins=BARS, range=(low, high))
        heights[split] = counts / max(1, len(finite))
    return _svg(heights)


def bars(counts: Mapping[str, Sequence[int]]) -> Markup:
    """Shares by split of the frequent texts, then all others, then missing."""
    return _svg({split: np.asarray(column) / max(1, sum(column)) for split, column in counts.items()})


def badge(text: str, severity: str) -> Markup:
    """A coloured word."""
    return Markup('<span class="badge {}">{}</span>').format(severity, text)


def _svg(heights: Mapping[str, NDArray[Any]]) -> Markup:
    top = max(float(column.max()) for column in heights.values()) or 1.0
    paths = Markup("").join(
        Markup('<path class="{}" d="{}"/>').format(split, _path(heights[split] / top, closed=split == "train"))
        for split in SPLITS
        if split in heights
    )
    return Markup('<svg class="spark" viewBox="0 0 {} {}">{}</svg>').format(WIDTH, HEIGHT, paths)


def _path(shares: NDArray[Any], *, closed: bool) -> str:
    """Steps in whole units: M x y, then H and V."""
    right = np.rint(np.arange(1, len(shares) + 1) * WIDTH / len(shares)).astype(int).tolist()
    down = np.rint((1 - shares) * (HEIGHT - 1)).astype(int).tolist()
    steps = [f"V{y}H{x}" for x, y in zip(right, down, strict=True)]
    return f"M0 {HEIGHT - 1}{''.join(steps)}V{HEIGHT - 1}Z" if closed else f"M0 {down[0]}{''.join(steps)}"
