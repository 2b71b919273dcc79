"""Vectors: the mean and the unit of each place."""

from nasflow.data.schema import Decision
from nasflow.data.transforms.vectors import VectorTransform
from nasflow.preprocess.fitting._base import Facts, Fitted, scale
from nasflow.preprocess.planned import PlannedColumn


def fit_vectors(column: PlannedColumn, facts: Facts) -> Fitted:
    """Z-scores."""
    found = facts.summary.vectors[column.name]
    std = tuple(scale(column, mean, std) for mean, std in zip(found.mean, found.std, strict=True))
    indicator = column.options.indicator if column.options.indicator is not None else found.incomplete > 0
    transform = VectorTransform(name=column.name, mean=tuple(found.mean), std=std, indicator=indicator)
    reason = f"each of the {len(std)} places by itself"
    decision = Decision(about="scaling", choice="zscore", reason=reason)
    return Fitted(transforms={"vectors": transform}, decisions=(decision,), missing=found.incomplete > 0)
