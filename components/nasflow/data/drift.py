"""Whether two sets of rows are of one distribution: column by column, from samples.

`psi` is the population stability index, Σ (p − q) ln(p / q) over bins: how much. The tests say whether it could be
chance: Kolmogorov–Smirnov for numbers, χ² of homogeneity for text and for missing values. Small samples have a large
index by chance alone (its mean is about (bins − 1)(1/n + 1/m)), therefore a finding needs both.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.data.tail_probabilities import chi_square, kolmogorov

BINS = 10
TOP = 20
MODERATE, LARGE = 0.1, 0.25
"""Index from which a column has drifted, and from which it has drifted much: the bounds in common use."""
SIGNIFICANT = 0.01
"""Of the p-values after Holm's correction for the number of columns."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One column, two samples."""

    column: str | None
    """None: the label."""
    psi: float
    test: str
    """``Kolmogorov–Smirnov`` or ``chi-square``."""
    statistic: float
    p_value: float
    n: int
    """Rows of the first sample."""
    m: int
    """Rows of the second."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """How a column is cut: inner edges for numbers, or the frequent texts."""

    edges: tuple[float, ...] = ()
    texts: tuple[str, ...] | None = None

    def count(self, values: Any) -> NDArray[np.int64]:
        """Rows in each bin: float64 [n] or Arrow strings [n] to int64 [bins]; the last bin is for missing (and not
        finite) values, for texts the one before it for all other texts."""
        if self.texts is not None:
            places = pc.index_in(values, value_set=pa.array(self.texts, pa.string()))
            known = np.asarray(pc.fill_null(places, len(self.texts)), np.int64)
            known[np.asarray(absent(values))] = len(self.texts) + 1
            return np.bincount(known, minlength=len(self.texts) + 2)
        finite = np.isfinite(values)
        counts = np.bincount(np.searchsorted(self.edges, values[finite], side="left"), minlength=len(self.edges) + 1)
        return np.append(counts, len(values) - int(finite.sum()))


def bins_of(values: Any) -> Bins:
    """Deciles of the finite numbers (fewer where values repeat), or the 20 most frequent texts."""
    if isinstance(values, pa.Array):
        counted = pc.value_counts(values.filter(pc.invert(absent(values))))
        pairs = zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)
        return Bins(texts=tuple(text for text, _ in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:TOP]))
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Bins()
    inner = np.quantile(finite, np.arange(1, BINS) / BINS, method="inverted_cdf")
    return Bins(edges=tuple(np.unique(inner).tolist()))


def absent(values: pa.Array) -> pa.Array:
    """Arrow booleans [n]: null or empty text."""
    return pc.fill_null(pc.equal(values, ""), fill_value=True)


def psi(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Population stability index of counts in the same bins. An empty bin counts as half a row, so that the index is
    finite; a bin that is empty in both is left out. 0 where a sample has no rows.

    >>> round(psi(np.array([50, 50]), np.array([25, 75])), 4)  # 0.25 ln 2 + 0.25 ln 1.5
    0.2747
    """
    used = (first + second) > 0
    if not first.sum() or not second.sum():
        return 0.0
    p = np.maximum(first[used], 0.5) / first.sum()
    q = np.maximum(second[used], 0.5) / second.sum()
    return float(((p - q) * np.log(p / q)).sum())


def compare(name: str | None, first: Any, second: Any) -> Drift:
    """Two samples of a column, float64 [n] or Arrow strings [n] each. Bins are those of the first."""
    bins = bins_of(first)
    counts = bins.count(first), bins.count(second)
    if bins.texts is None:
        a, b = first[np.isfinite(first)], second[np.isfinite(second)]
        missing = homogeneity(
            np.array([len(a), len(first) - len(a)]), np.array([len(b), len(second) - len(b)])
        )  # the test of values does not see that more of them are missing
        if len(a) and len(b):
            statistic, p_value = kolmogorov_smirnov(a, b)
            found = ("Kolmogorov–Smirnov", statistic, min(1.0, 2 * min(p_value, missing[1])))  # Bonferroni: two tests
        else:
            found = ("chi-square", *missing)
    else:
        found = ("chi-square", *homogeneity(*counts))
    test, statistic, p_value = found
    return Drift(
        column=name,
        psi=psi(*counts),
        test=test,
        statistic=statistic,
        p_value=float(p_value),
        n=len(first),
        m=len(second),
    )


def kolmogorov_smirnov(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Largest difference of the distribution functions of finite numbers, and its p-value by Kolmogorov's limit
    (conservative for small samples and ties)."""
    a, b = np.sort(first), np.sort(second)
    both = np.concatenate([a, b])
    below = np.searchsorted(a, both, side="right") / len(a) - np.searchsorted(b, both, side="right") / len(b)
    statistic = float(np.abs(below).max())
    return statistic, kolmogorov(statistic * math.sqrt(len(a) * len(b) / (len(a) + len(b))))


def homogeneity(first: NDArray[np.int64], second: NDArray[np.int64]) -> tuple[float, float]:
    """χ² statistic and p-value of counts in the same bins; (0, 1) where fewer than two bins have rows. Bins that
    expect fewer than five rows are joined (Cochran 1954), else the p-value means nothing."""
    table = np.stack([first, second])[:, (first + second) > 0].astype(np.float64)
    rows = table.sum(axis=1)
    if not rows.all():
        return 0.0, 1.0
    rare = table.sum(axis=0) * rows.min() / rows.sum() < 5
    if rare.any():
        table = np.concatenate([table[:, ~rare], table[:, rare].sum(axis=1, keepdims=True)], axis=1)
    if table.shape[1] < 2:
        return 0.0, 1.0
    expected = np.outer(rows, table.sum(axis=0)) / rows.sum()
    statistic = float((np.square(table - expected) / expected).sum())
    return statistic, chi_square(statistic, table.shape[1] - 1)


def drifted(found: Sequence[Drift]) -> list[Drift]:
    """Those with a large enough index that are not chance (Holm 1979, A simple sequentially rejective multiple test
    procedure), the largest index first."""
    kept: list[Drift] = []
    for place, each in enumerate(sorted(found, key=lambda drift: drift.p_value)):
        if each.p_value * (len(found) - place) >= SIGNIFICANT:
            break
        if each.psi >= MODERATE:
            kept.append(each)
    return sorted(kept, key=lambda drift: -drift.psi)
