"""From the analysis to the schema and the TransformSpec; and the checks that only the whole data can answer."""

import math
from collections.abc import Mapping

from nasflow.core.artifacts import SPLITS
from nasflow.core.errors import DataError
from nasflow.core.spec import DataSection
from nasflow.data.schema import Column, ImageFormat, Label, Schema
from nasflow.data.transform import (
    CategoricalTransform,
    DiscreteTransform,
    ImageTransform,
    LabelTransform,
    NumericTransform,
    TransformSpec,
)
from nasflow.preprocess import cells, statistics
from nasflow.preprocess.plan import Plan, PlannedColumn
from nasflow.preprocess.summary import DistinctSummary, Summary

_MAX_FRACTIONAL_CLASSES = 1000
_LEAST_BINS, _MOST_BINS = 2, 64
_ROWS_A_BIN = 16
"""A numeric column has a bin for so many training rows: small tables have coarse ones."""
_ROWS_A_VALUE = 10
"""A numeric column is a category, too, where a value has so many rows on average."""


def fit(plan: Plan, summary: Summary, data: DataSection, *, leaking: Mapping[str, str]) -> tuple[Schema, TransformSpec]:
    """Schema and TransformSpec of the training split. `leaking` columns are ignored, for the reasons it gives.

    Raises:
        DataError: an empty split, fewer than two classes, a label that is no class, or no column to learn from.
    """
    _check_classes(plan, summary)
    classes = known_classes(summary) if summary.classes else None
    if classes is not None and len(classes) < 2:
        found = f"only the class {classes[0]!r}" if classes else "no class"
        raise DataError(f"data.label: {plan.label!r} has {found} in all rows; a classifier needs at least two")
    _check_splits(summary, data)
    columns: list[Column] = []
    ignored = dict(plan.ignored)
    for column in plan.columns:
        reason = _useless(column, summary) or leaking.get(column.name)
        if reason:
            ignored[column.name] = reason
        else:
            columns.append(_column(column, summary))
    if not columns:
        raise DataError(f"{data.train}: no column is left to learn from: {ignored}")
    kept = {column.name for column in columns}
    schema = Schema(
        task=plan.task,
        columns=tuple(columns),
        ignored=ignored,
        image=_image_format(plan),
        label=Label(name=plan.label, dtype=plan.label_dtype, classes=classes),
    )
    target = summary.targets.get("train")
    transform = TransformSpec(
        numeric=tuple(_numeric(name, summary) for name in summary.numeric if name in kept),
        discrete=tuple(
            DiscreteTransform(name=name, values=tuple(found.values))
            for name, found in summary.distinct.items()
            if name in kept and _is_discrete(found, summary.numeric[name].count)
        ),
        categorical=tuple(
            CategoricalTransform(name=name, vocabulary=tuple(text for text, _ in found.top))
            for name, found in summary.categorical.items()
            if name in kept
        ),
        image=_image_transform(plan, summary),
        label=LabelTransform(
            name=plan.label,
            classes=classes,
            mean=target.mean if target else 0.0,
            std=_scale(plan.label, target.mean, target.std) if target else 1.0,
            weights=statistics.class_weights(summary, classes) if classes and data.optimise.class_weights else (),
        ),
    )
    return schema, transform


def known_classes(summary: Summary) -> tuple[str, ...]:
    """Every class of the training source, whichever split its rows fell into."""
    splits = SPLITS[:2] if summary.has_test_file else SPLITS
    return cells.sorted_classes({name for split in splits for name in summary.classes[split]})


def unseen_labels(summary: Summary, classes: tuple[str, ...] | None) -> dict[str, int]:
    """Rows of a separate test file whose label is no class, by label."""
    if classes is None:
        return {}
    return {name: count for name, count in summary.classes["test"].items() if name not in set(classes)}


def _check_classes(plan: Plan, summary: Summary) -> None:
    names = {name for counts in summary.classes.values() for name in counts}
    fractional = [name for name in names if "." in name and _is_number(name)]
    if summary.too_many_classes or len(fractional) > _MAX_FRACTIONAL_CLASSES:
        example = min(fractional or names)
        raise DataError(
            f"data.label: {plan.label!r} has {len(names):,} different values such as {example!r}, too many for "
            "classes; for a number to predict set task: tabular_regression, or name another column"
        )


def _is_number(name: str) -> bool:
    try:
        return math.isfinite(float(name))
    except ValueError:
        return False


def _check_splits(summary: Summary, data: DataSection) -> None:
    usable = sum(summary.split_rows.values())
    if not usable:
        raise DataError(f"{data.train}: no usable row among {summary.rows:,}")
    by_column = data.split.by == "column"
    if data.split.test == 0 and not by_column and summary.split_rows["test"] == 0:
        raise DataError(
            "data.split.test is 0 and data.test names no file: nothing is left to judge the model on; set one"
        )
    for name in SPLITS:
        if summary.split_rows[name] == 0 and by_column:
            raise DataError(
                f"data.split: no usable row has {name!r} in column {data.split.key!r}; {usable:,} rows were split into "
                f"{summary.split_rows}. Each of {', '.join(SPLITS)} needs rows (test may be a file of its own)"
            )
        if summary.split_rows[name] == 0:
            share = "" if name == "train" else f" (data.split.{name} is {getattr(data.split, name):g})"
            fix = f"raise data.split.{name}" if name != "train" else "lower data.split.validation and data.split.test"
            raise DataError(
                f"data.split: no row fell into {name}{share}; {usable:,} rows were split into {summary.split_rows}. "
                f"{fix[0].upper()}{fix[1:]}, add rows, or try another data.split.salt"
            )


def _useless(column: PlannedColumn, summary: Summary) -> str | None:
    if column.kind == "numeric":
        found = summary.numeric[column.name]
        if not found.count:
            return "no finite value in the training rows"
        if found.min == found.max and not found.missing + found.non_finite:
            return f"constant: {found.min:g} in every training row"
    elif column.kind == "categorical":
        texts = summary.categorical[column.name]
        if not texts.count:
            return "no value in any training row"
        if texts.distinct == 1 and not texts.missing:
            return f"constant: {texts.top[0][0]!r:.60} in every training row"
    return None


def _column(column: PlannedColumn, summary: Summary) -> Column:
    missing = 0
    if column.kind == "numeric":
        missing = summary.numeric[column.name].missing
    elif column.kind == "categorical":
        missing = summary.categorical[column.name].missing
    return Column(name=column.name, kind=column.kind, dtype=column.dtype, missing=missing > 0, reason=column.reason)


def _numeric(name: str, summary: Summary) -> NumericTransform:
    found = summary.numeric[name]
    std = _scale(name, found.mean, found.std)
    edges = _edges(summary.distinct[name].quantiles, bins=found.count // _ROWS_A_BIN)
    indicator = found.missing + found.non_finite > 0
    return NumericTransform(name=name, mean=found.mean, std=std, indicator=indicator, edges=edges)


def _edges(quantiles: list[float], *, bins: int) -> tuple[float, ...]:
    """Every so-manieth quantile, for between `_LEAST_BINS` and `_MOST_BINS` bins.

    >>> _edges([1.0, 2.0, 4.0, 8.0, 16.0], bins=2)
    (1.0, 4.0, 16.0)
    >>> _edges([7.0], bins=2)
    ()
    """
    last = len(quantiles) - 1
    count = min(max(bins, _LEAST_BINS), _MOST_BINS, last)
    return tuple(quantiles[round(place * last / count)] for place in range(count + 1)) if count > 0 else ()


def _is_discrete(found: DistinctSummary, rows: int) -> bool:
    """Whether the values are few enough to learn something about each: of two, the number itself says all."""
    return len(found.values) > 2 and rows >= _ROWS_A_VALUE * len(found.values)


def _scale(name: str, mean: float, std: float) -> float:
    if not math.isfinite(mean) or not math.isfinite(std):
        raise DataError(f"column {name!r}: its values are too large to average in float64; rescale them or ignore it")
    return std or 1.0


def _image_format(plan: Plan) -> ImageFormat | None:
    image = plan.image
    if image is None:
        return None
    return ImageFormat.model_validate(
        {
            "height": image.height or image.target_height,
            "width": image.width or image.target_width,
            "channels": image.channels,
            "encoding": image.encoding,
        }
    )


def _image_transform(plan: Plan, summary: Summary) -> ImageTransform | None:
    if plan.image is None or summary.image is None:
        return None
    return ImageTransform(
        name=plan.columns[0].name,
        height=plan.image.target_height,
        width=plan.image.target_width,
        channels=plan.image.channels,
        mean=summary.image.mean,
        std=tuple(std or 1.0 for std in summary.image.std),
    )
