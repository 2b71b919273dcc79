"""From the analysis to the schema and the TransformSpec; and the checks that only the whole data can answer."""

import math
from collections.abc import Mapping
from typing import Any

from nasflow.core.artifacts import SPLITS
from nasflow.core.errors import DataError
from nasflow.core.spec import DataSection
from nasflow.data.dates import iso_text
from nasflow.data.schema import Column, ImageFormat, Label, Schema
from nasflow.data.transform import ImageTransform, LabelTransform, TransformSpec
from nasflow.preprocess import cells, data_findings
from nasflow.preprocess.fitting._base import Facts, Fitted
from nasflow.preprocess.fitting.families import FITTERS
from nasflow.preprocess.plan import Plan
from nasflow.preprocess.planned import PlannedColumn
from nasflow.preprocess.sources._base import IMAGE
from nasflow.preprocess.summary import NumericSummary, Summary

_MAX_FRACTIONAL_CLASSES = 1000


def fit(plan: Plan, summary: Summary, data: DataSection, *, hidden: Mapping[str, str]) -> tuple[Schema, TransformSpec]:
    """Schema and TransformSpec of the training split. `hidden` columns are ignored, for the reasons it gives.

    Raises:
        DataError: an empty split, fewer than two classes, a label that is no class, or no column to learn from.
    """
    _check_classes(plan, summary)
    classes = known_classes(summary) if summary.classes else None
    if classes is not None and len(classes) < 2:
        found = f"only the class {classes[0]!r}" if classes else "no class"
        raise DataError(f"data.label: {plan.label!r} has {found} in all rows; a classifier needs at least two")
    _check_splits(summary, data)
    _check_weights(plan, summary)
    facts = Facts(summary)
    columns: list[Column] = []
    ignored = dict(plan.ignored)
    families: dict[str, list[Any]] = {}
    for column in plan.columns:
        reason = _useless(column, summary) or hidden.get(column.name)
        if reason:
            ignored[column.name] = reason
            continue
        fitter = FITTERS.get(column.kind)  # none for images, whose transform is not a table's
        fitted = fitter(column, facts) if fitter else Fitted(transforms={}, decisions=(), missing=False)
        columns.append(_column(column, fitted))
        for field, made in fitted.transforms.items():
            families.setdefault(field, []).append(made)
    texts = enumerate(families.get("text", []))
    families["text"] = [made.model_copy(update={"place": place}) for place, made in texts]
    if not columns:
        raise DataError(f"{data.train}: no column is left to learn from: {ignored}")
    schema = Schema(
        task=plan.task,
        columns=tuple(columns),
        ignored=ignored,
        image=_image_format(plan),
        label=Label(name=plan.label, dtype=plan.label_dtype, classes=classes),
        weight=plan.weight,
    )
    target = summary.targets.get("train")
    transform = TransformSpec(
        **{field: tuple(found) for field, found in families.items()},
        image=_image_transform(plan, summary),
        label=LabelTransform(
            name=plan.label,
            classes=classes,
            mean=target.mean if target else 0.0,
            std=_scale(plan.label, target.mean, target.std) if target else 1.0,
            weights=data_findings.class_weights(summary, classes) if classes and data.optimise.class_weights else (),
        ),
        weight=plan.weight,
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


def _check_weights(plan: Plan, summary: Summary) -> None:
    for split, found in summary.weights.items():
        if summary.split_rows[split] and not found.max:
            raise DataError(f"data.weight: {plan.weight!r} is 0 in every {split} row; nothing would count")


def _useless(column: PlannedColumn, summary: Summary) -> str | None:
    name = column.name
    if name in summary.numeric:
        return _useless_numbers(column, summary.numeric[name])
    if name in summary.categorical:
        texts = summary.categorical[name]
        if not texts.count:
            return "no value in any training row"
        if texts.distinct == 1 and not texts.missing:
            return f"constant: {texts.top[0][0]!r:.60} in every training row"
    elif name in summary.texts:
        if not summary.texts[name]["train"].tokens:
            return "no word in any training row"
    elif name in summary.lists:
        if not summary.lists[name].elements.count:
            return "no element in any training row"
    elif name in summary.vectors:
        places = summary.vectors[name]
        if not any(places.count):
            return "no finite number in the training rows"
        if not any(places.std) and not places.incomplete:
            return "constant: the same numbers in every training row"
    return None


def _useless_numbers(column: PlannedColumn, found: NumericSummary) -> str | None:
    if not found.count:
        return "no finite value in the training rows"
    if found.min is not None and found.min == found.max and not found.missing + found.non_finite:
        shown = iso_text(found.min) if column.kind == "datetime" else f"{found.min:g}"
        return f"constant: {shown} in every training row"
    return None


def _column(column: PlannedColumn, fitted: Fitted) -> Column:
    return Column(
        name=column.name,
        kind=column.kind,
        dtype=column.dtype,
        missing=fitted.missing,
        reason=column.reason,
        confidence=column.confidence,
        length=column.length,
        format=column.format,
        decisions=fitted.decisions,
    )


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
        name=IMAGE,
        height=plan.image.target_height,
        width=plan.image.target_width,
        channels=plan.image.channels,
        mean=summary.image.mean,
        std=tuple(std or 1.0 for std in summary.image.std),
    )
