"""What ``residuals.json`` holds: how far a regression is off, and where."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MOST_POINTS = 2000


def residuals(labels: Array, predictions: Array) -> dict[str, Any]:
    """Quantiles of prediction − label, and at most 2,000 evenly spaced rows as points, in the target's units."""
    off = predictions - labels
    rows = points(len(labels))
    levels = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
    finite = off[np.isfinite(off)]
    quantiles = np.quantile(finite, levels).tolist() if len(finite) else [None] * len(levels)
    return {
        "rows": len(labels),
        "quantiles": dict(zip(map(str, levels), quantiles, strict=True)),
        "labels": _numbers(labels[rows]),
        "predictions": _numbers(predictions[rows]),
    }


def points(rows: int) -> NDArray[np.int64]:
    """Indices of at most `MOST_POINTS` rows, evenly spaced."""
    return np.unique(np.linspace(0, rows - 1, min(rows, MOST_POINTS)).astype(np.int64))


def _numbers(values: Array) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]  # NaN has no JSON
