"""Histograms that outlive their data: what a model was made from, and said, for later comparison."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.data.drift import Bins, bins_of

LABEL, CONFIDENCE, VALUE = "label", "confidence", "value"


def histogram(values: Any) -> dict[str, Any]:
    """Bins of float64 [n] or Arrow strings [n], and how many values each has; JSON-safe. The last bin is for missing
    values.

    >>> histogram(np.array([1.0, 2.0, np.nan]))
    {'edges': [1.0, 2.0], 'texts': None, 'counts': [1, 1, 0, 1]}
    """
    bins = bins_of(values)
    return {
        "edges": list(bins.edges),
        "texts": None if bins.texts is None else list(bins.texts),
        "counts": bins.count(values).tolist(),
    }


def bins_from(content: Mapping[str, Any]) -> Bins:
    """The bins of a `histogram`, to count other values in."""
    return Bins(
        edges=tuple(content["edges"] or ()), texts=None if content["texts"] is None else tuple(content["texts"])
    )


def predicted(predictions: NDArray[Any], classes: Sequence[str] | None) -> dict[str, Any]:
    """The columns that stand for predictions: ``label``, Arrow strings [rows], and ``confidence``, the largest
    probability, float64 [rows]; of a regression ``value``."""
    if classes is None:
        return {VALUE: np.asarray(predictions, np.float64)}
    best = predictions.argmax(1)
    return {
        LABEL: pa.array([classes[place] for place in best], pa.string()),
        CONFIDENCE: np.asarray(predictions.max(1), np.float64),
    }
