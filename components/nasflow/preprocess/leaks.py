"""Features that give the answer away: each one alone predicts the label, out of fold.

For every feature the rows are cut into at most 50 bins (quantiles, or the frequent texts; one more for missing). The
prediction for a row is the distribution of labels (or their mean) in its bin over the *other* folds, so that an
identifier, which has every value once, predicts nothing.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.data.drift import absent

AUC, R2 = 0.995, 0.99
"""A feature that reaches this alone is a leak, or the task is trivial."""
_BINS = 50
_ROWS_A_BIN = 20
_TEXTS = 50
_FOLDS = 5
_LEAST_ROWS = 100
_MAX_CLASSES = 10


def scores(columns: dict[str, Any], labels: Any) -> dict[str, float]:
    """For each column, float64 [n] or Arrow strings [n], what it alone predicts: AUC (mean over the classes of one
    against the rest, the 10 most frequent at most) for Arrow string labels [n]; for float64 targets [n] R² of their
    ranks, which a few huge targets cannot blur.

    Empty where there are fewer than 100 rows or one class.
    """
    if len(labels) < _LEAST_ROWS:
        return {}
    folds = np.arange(len(labels)) % _FOLDS  # the sample is in the order of its ranks, which is random
    if not isinstance(labels, pa.Array):
        targets = mid_ranks(labels)[:, None]
        return {name: r2(targets, out_of_fold(places(values), targets, folds)) for name, values in columns.items()}
    counted = pc.value_counts(labels)
    frequent = sorted(zip(counted.field(1).to_pylist(), counted.field(0).to_pylist(), strict=True), reverse=True)
    classes = pa.array([name for _, name in frequent[:_MAX_CLASSES]], labels.type)
    if len(classes) < 2:
        return {}
    of_class = np.asarray(pc.fill_null(pc.index_in(labels, value_set=classes), -1))
    member = (of_class[:, None] == np.arange(len(classes))).astype(np.float64)
    return {name: auc(member, out_of_fold(places(values), member, folds)) for name, values in columns.items()}


def places(values: Any) -> NDArray[np.int64]:
    """Each row's bin, int64 [n]."""
    if isinstance(values, pa.Array):
        gone = absent(values)
        counted = pc.value_counts(values.filter(pc.invert(gone)))
        frequent = np.argsort(-np.asarray(counted.field(1)), kind="stable")[:_TEXTS]
        found = pc.index_in(values, value_set=counted.field(0).take(pa.array(frequent)))
        known = np.asarray(pc.fill_null(found, _TEXTS), np.int64)
        known[np.asarray(gone)] = _TEXTS + 1
        return known
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(len(values), np.int64)
    bins = min(_BINS, max(2, len(values) // _ROWS_A_BIN))
    edges = np.unique(np.quantile(values[finite], np.arange(1, bins) / bins, method="inverted_cdf"))
    return np.where(finite, np.searchsorted(edges, np.where(finite, values, 0.0), side="left"), _BINS)


def out_of_fold(bins: NDArray[np.int64], answers: NDArray[np.float64], folds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean answer of a row's bin over the other folds, float64 [n, answers]; a bin that they lack gives their mean."""
    found = np.empty_like(answers)
    size = int(bins.max()) + 1
    for fold in range(_FOLDS):
        out = folds == fold
        inside, rest = bins[~out], answers[~out]
        counts = np.bincount(inside, minlength=size).astype(np.float64)
        sums = np.stack([np.bincount(inside, weights=column, minlength=size) for column in rest.T], axis=1)
        mean = rest.mean(axis=0)
        means = (sums + mean) / (counts + 1)[:, None]  # one row of the mean: rare bins say little
        found[out] = means[bins[out]]
    return found


def auc(member: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """Mean over classes of the area under the ROC curve (Mann–Whitney's U by mid-ranks); 0.5 is chance."""
    ranks = np.stack([mid_ranks(column) for column in predicted.T], axis=1)
    yes = member.sum(axis=0)
    no = len(member) - yes
    both = (yes > 0) & (no > 0)
    u = (ranks * member).sum(axis=0) - yes * (yes + 1) / 2
    return float((u[both] / (yes * no)[both]).mean()) if both.any() else 0.5


def mid_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equals share the mean of theirs.

    >>> mid_ranks(np.array([5.0, 1.0, 5.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def r2(targets: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """Share of the targets' variance that is explained; 0 for constant targets."""
    total = float(np.square(targets - targets.mean()).sum())
    return 1 - float(np.square(targets - predicted).sum()) / total if total else 0.0
