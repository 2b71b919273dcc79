"""Numeric columns: scaling, bounds, imputation, bins, and whether they are categories as well."""

import dataclasses
import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.core.spec import Scaling
from nasflow.data.schema import Decision
from nasflow.data.transforms._base import SMALLEST_NORMAL, ColumnTransform
from nasflow.data.transforms.discrete import DiscreteTransform
from nasflow.data.transforms.numeric import NumericTransform
from nasflow.preprocess.fitting._base import Facts, Fitted, edges_of, said, scale
from nasflow.preprocess.planned import PlannedColumn
from nasflow.preprocess.summary import MOST_DISCRETE, DistinctSummary, NumericSummary

_HEAVY, _LEAST_HEAVY = 20.0, 8.0
"""A value so many standard deviations from the mean: z-scores would press nearly all others together. (A normal
distribution has none beyond 6 in a billion rows, an exponential one of a million rows few beyond 16.) None of n values
can be further than √n, so that of few rows half of that is far enough, but never less than the second."""
_LIGHT = 8.0
"""Logarithms must come so near."""
_MOST_KNOTS = 257
_IQR_OF_NORMAL = 1.349
_ROWS_A_VALUE = 10
"""A numeric column is a category, too, where a value has so many rows on average."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Values:
    """A column's values as the transform sees them: bounded."""

    mean: float
    std: float
    low: float
    high: float
    sample: NDArray[np.float64]
    """Ascending."""


def fit_numbers(column: PlannedColumn, facts: Facts) -> Fitted:
    """Raises:
    DataError: values overflow, or there are too many to be categories as the YAML asks.
    """
    found, distinct = facts.summary.numeric[column.name], facts.summary.distinct[column.name]
    values = _values(column, found, facts)
    scaling, heavy = _scaling(column, values, found.count)
    imputed = _imputed(column, values, heavy=heavy, facts=facts)
    absent = found.missing + found.non_finite
    indicator = column.options.indicator if column.options.indicator is not None else absent > 0
    low, high = column.options.clip or (None, None)
    fill = float(imputed.choice) if column.options.impute == "constant" else _fill(imputed.choice, values)
    transform = NumericTransform(
        name=column.name,
        scaling=_scaling_of(scaling),
        indicator=indicator,
        low=low,
        high=high,
        # The mean of z-scores is 0, which is what stands for a missing value without a fill.
        fill=None if scaling.choice == "zscore" and imputed.choice == "mean" else fill,
        edges=edges_of(distinct.quantiles, rows=found.count),
        **_parameters(column, scaling.choice, values, facts),
    )
    transforms: dict[str, ColumnTransform] = {"numeric": transform}
    decisions = [scaling]
    if low is not None:
        decisions.append(said("clip", [low, high]))
    if absent or column.options.impute:
        decisions.append(imputed)
    if column.options.indicator is not None:
        decisions.append(said("indicator", indicator))
    as_category = _discrete(column, distinct, found.count)
    if as_category is not None:
        transforms["discrete"] = DiscreteTransform(name=column.name, values=tuple(distinct.values))
        decisions.append(as_category)
    return Fitted(transforms=transforms, decisions=tuple(decisions), missing=found.missing > 0)


def _values(column: PlannedColumn, found: NumericSummary, facts: Facts) -> _Values:
    sample = facts.numbers(column.name)
    low, high = found.min or 0.0, found.max or 0.0
    if column.options.clip is None or not len(sample):
        return _Values(found.mean, found.std, low, high, sample)
    low, high = (float(bound) for bound in np.clip([low, high], *column.options.clip))
    sample = np.clip(sample, *column.options.clip)
    return _Values(float(sample.mean()), float(sample.std()), low, high, sample)


def _scaling_of(decision: Decision) -> Scaling:
    found: Scaling = decision.choice  # type: ignore[assignment]  # a choice is text; these are all of `Scaling`
    return found


def _scaling(column: PlannedColumn, values: _Values, rows: int) -> tuple[Decision, bool]:
    """What it is, and whether the tails are heavy."""
    far = _far(values.low, values.high, values.mean, values.std)
    limit = min(_HEAVY, max(_LEAST_HEAVY, math.sqrt(rows) / 2))
    heavy = far > limit and len(values.sample) > 0
    if column.options.scaling is not None:
        return said("scaling", column.options.scaling), heavy
    if not heavy:
        reason = f"no value is further than {far:.1f} standard deviations from the mean"
        sure = 1.0 if far <= limit / 2 else 0.7
        return Decision(about="scaling", choice="zscore", reason=reason, confidence=sure), False
    logs = _signed_log(values.sample)
    least, most = _signed_log(np.array([values.low, values.high])).tolist()
    log_far = _far(least, most, float(logs.mean()), float(logs.std()))
    reason = f"values are up to {far:.0f} standard deviations from the mean"
    if log_far <= _LIGHT:
        reason += f", their logarithms up to {log_far:.1f}"
        return Decision(about="scaling", choice="log", reason=reason, confidence=0.9), True
    reason += f", even their logarithms up to {log_far:.0f}" if np.isfinite(log_far) else ""
    return Decision(about="scaling", choice="quantile_normal", reason=reason, confidence=0.8), True


def _far(low: float, high: float, mean: float, std: float) -> float:
    """Standard deviations from the mean to the value that is furthest; infinite for a sample without any spread."""
    reach = max(abs(low - mean), abs(high - mean))
    return reach / std if std > 0 else (0.0 if reach == 0 else float("inf"))


def _signed_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sign(values) * np.log1p(np.abs(values))


def _imputed(column: PlannedColumn, values: _Values, *, heavy: bool, facts: Facts) -> Decision:
    if column.options.impute == "constant":
        return said("imputation", column.options.fill)
    if column.options.impute is not None:
        return said("imputation", column.options.impute)
    if heavy and len(values.sample):
        reason = f"the mean would be moved by a few large values; of {facts.sampled}"
        return Decision(about="imputation", choice="median", reason=reason)
    return Decision(about="imputation", choice="mean", reason="the mean of the training rows")


def _fill(choice: str, values: _Values) -> float:
    return float(np.median(values.sample)) if choice == "median" and len(values.sample) else values.mean


def _parameters(column: PlannedColumn, scaling: str, values: _Values, facts: Facts) -> dict[str, object]:
    sample = values.sample
    mean, std = values.mean, scale(column, values.mean, values.std)
    if scaling == "robust" and len(sample):
        first, median, third = np.quantile(sample, [0.25, 0.5, 0.75]).tolist()
        return {"mean": median, "std": (third - first) / _IQR_OF_NORMAL or std}
    if scaling == "minmax":
        return {"mean": values.low, "std": scale(column, mean, values.high - values.low)}
    if scaling == "log":
        logs = _signed_log(sample if len(sample) else np.array([values.low, values.high]))
        return {"mean": float(logs.mean()), "std": float(logs.std()) or 1.0}
    if scaling in ("quantile_uniform", "quantile_normal"):
        rows = facts.summary.numeric[column.name].count
        knots, ranks = quantile_knots(sample, values.low, values.high, rows=rows)
        normal = NormalDist().inv_cdf
        targets = [normal(rank) for rank in ranks] if scaling == "quantile_normal" else ranks
        return {"mean": mean, "std": std, "knots": tuple(knots), "targets": tuple(targets)}
    return {"mean": mean, "std": std}


def quantile_knots(
    sample: NDArray[np.float64], low: float, high: float, *, rows: int
) -> tuple[list[float], list[float]]:
    """At most `_MOST_KNOTS` distinct values, ascending, with their mid-ranks in (0, 1); the ends are the smallest and
    the largest of all `rows` values. At least two.

    >>> quantile_knots(np.array([1.0, 1.0, 2.0, 4.0]), 1.0, 8.0, rows=5)
    ([1.0, 2.0, 4.0, 8.0], [0.25, 0.625, 0.875, 0.9])
    """
    values, counts = np.unique(sample, return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2) / max(1, len(sample))
    if len(values) > _MOST_KNOTS:
        wanted = np.linspace(ranks[0], ranks[-1], _MOST_KNOTS)
        places = np.unique(np.searchsorted(ranks, wanted))
        values, ranks = values[places], ranks[places]
    edge = 0.5 / max(1, rows)
    if not len(values) or low < values[0]:
        values, ranks = np.append(low, values), np.append(min(edge, ranks[0] if len(ranks) else edge), ranks)
    if high > values[-1]:
        values, ranks = np.append(values, high), np.append(ranks, max(1 - edge, ranks[-1]))
    if len(values) == 1:
        values, ranks = np.append(values, values[0] + max(1.0, abs(values[0]))), np.append(ranks, ranks[0])
    apart = np.concatenate([[True], np.diff(values) > 2 * SMALLEST_NORMAL])  # else a share would be 0 / 0 on a GPU
    return values[apart].tolist(), ranks[apart].tolist()


def _discrete(column: PlannedColumn, found: DistinctSummary, rows: int) -> Decision | None:
    """Whether the values are few enough to learn something about each: of two, the number itself says all.

    Raises:
        DataError: the YAML wants it, but there are too many.
    """
    wanted, different = column.options.discrete, f"{found.distinct:,} different values"
    if wanted is False:
        return None
    if wanted and not found.values:
        raise DataError(
            f"data.columns.{column.name}.discrete: the training rows have {different}, at most {MOST_DISCRETE} can be "
            "categories; say kind: categorical to hash them"
        )
    if wanted:
        return said("discrete", "a category, too")
    if len(found.values) > 2 and rows >= _ROWS_A_VALUE * len(found.values):
        reason = f"{different} in {rows:,} rows; the search tries with and without"
        return Decision(about="discrete", choice="a category, too", reason=reason, confidence=0.5)
    return None
