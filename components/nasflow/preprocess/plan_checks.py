"""Whether the columns that the YAML names are there, can be what it says, and are the same in every file."""

import difflib
from collections.abc import Sequence

import pyarrow.compute as pc

from nasflow.core.errors import DataError
from nasflow.core.spec import DataSection, Task
from nasflow.preprocess import cells
from nasflow.preprocess.findings import yaml_name
from nasflow.preprocess.inference import infer
from nasflow.preprocess.sources._base import ImageSource, Profile
from nasflow.preprocess.sources.csv_numbers import other_style

_NO_LABELS = ("datetime", "list", "vector")
_NEARLY_ALL = 0.99
_ENOUGH = 20
"""Fewer values say nothing about a column."""
_MOST_CLASSES = 0.5
"""Of the rows."""


def check_image_columns(source: ImageSource, profiles: Sequence[Profile], data: DataSection) -> None:
    """What the YAML says of a table's columns, where the data are images.

    Raises:
        DataError: there is no such column, or it would not be looked at.
    """
    if data.columns:
        raise DataError(f"data.columns: {next(iter(data.columns))!r} is for a table; the model sees the image only")
    if data.weight is not None:
        names = profiles[0].schema.names if profiles else []
        if data.weight not in names:
            raise DataError(f"data.weight: {source.form} has no column {data.weight!r}; its columns: {names}")


def check_section(profiles: Sequence[Profile], data: DataSection, *, partial: bool) -> None:
    """The columns that the YAML names; one that is ignored may be in some files only.

    Raises:
        DataError: one is not there.
    """
    first = profiles[0]
    names = first.schema.names
    everywhere = {name for profile in profiles for name in profile.schema.names}
    if not partial and (unknown := [name for name in data.ignore if name not in everywhere]):
        raise DataError(f"data.ignore: {unknown[0]!r} is no column of {first.file}; it has {names}")
    if data.label in data.ignore:
        raise DataError(f"data.ignore: {data.label!r} is the label; take it out of data.ignore")
    for key, named in (
        ("columns", tuple(data.columns)),
        ("text", data.text),
        ("weight", (data.weight,) if data.weight else ()),
    ):
        if unknown := [name for name in named if name not in names]:
            close = difflib.get_close_matches(unknown[0], names, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise DataError(f"data.{key}: {unknown[0]!r} is no column of {first.file}; {hint}It has {names}")


def check_label(first: Profile, label: str, task: Task, *, csv: bool) -> None:
    """Whether the label is there, once, and can be one.

    Raises:
        DataError: it is not.
    """
    names = first.schema.names
    if len(set(names)) < len(names):
        twice = sorted(name for name in names if names.count(name) > 1)[0]
        raise DataError(f"{first.file}: two columns are named {twice!r}; give each its own name")
    if label not in names:
        close = difflib.get_close_matches(label, names, n=1)
        lower = [name for name in names if name.lower() == label.lower()]
        hint = f"did you mean {(lower or close)[0]!r}? Its columns:" if lower or close else "its columns:"
        raise DataError(f"data.label: {first.file} has no column {label!r}; {hint} {', '.join(names)}")
    found = infer(first.sample.column(label), csv=csv)
    if (found.kind is None or found.kind in _NO_LABELS) and first.sample.num_rows:
        raise DataError(f"data.label: column {label!r} of {first.file} cannot be a label: {found.reason}")
    if task != "tabular_regression":
        _check_classes(first, label, csv=csv, numeric=found.kind in ("numeric", "integer"))
    elif found.kind in ("categorical", "boolean"):
        if csv:
            check_style(label, first, least_rows=1)
        example = next((v for v in cells.plain(first.sample.column(label)).to_pylist() if v is not None), None)
        raise DataError(
            f"data.label: task {task} needs a numeric label, but {label!r} of {first.file} holds {example!r}; "
            "write plain numbers (no currency or unit), set task: tabular_classification, or name another column"
        )


def _check_classes(first: Profile, label: str, *, csv: bool, numeric: bool) -> None:
    names = pc.drop_null(cells.class_names(first.sample.column(label), csv=csv))
    different = pc.count_distinct(names).as_py()
    if len(names) >= _ENOUGH and different > _MOST_CLASSES * len(names):
        fix = "set task: tabular_regression, or name another column" if numeric else "name another column"
        example = names[0].as_py()
        raise DataError(
            f"data.label: {label!r} of {first.file} has {different:,} different values such as {example!r:.60} in "
            f"{len(names):,} rows, so that most classes have one row, and there is nothing to learn about them; {fix}"
        )


def check_style(name: str, first: Profile, *, least_rows: int = _ENOUGH) -> None:
    """Whether a column that would be text holds numbers as another country writes them.

    Raises:
        DataError: it does.
    """
    present = pc.drop_null(cells.trimmed(cells.plain(first.sample.column(name))))
    if len(present) < least_rows or (found := other_style(present, _NEARLY_ALL)) is None:
        return
    style, example = found
    said = [f"decimal: {style.decimal!r}"] if style.decimal != "." else []
    said += [f"thousands: {style.thousands!r}"] if style.thousands else []
    fix = f"set data.csv: {{{', '.join(said)}}}".replace("'", '"')
    raise DataError(
        f"column {name!r} of {first.file} holds numbers such as {example!r}; {fix}. If they are none, say "
        f"data.columns: {{{yaml_name(name)}: {{kind: categorical}}}}, or list the column in data.ignore"
    )


def check_names(first: Profile, other: Profile, data: DataSection) -> None:
    """Whether another file has the columns of the first one.

    Raises:
        DataError: it lacks some, or has more.
    """
    expected, found = set(first.schema.names), set(other.schema.names)
    optional = {*data.ignore, *([data.split.key] if not data.split.keep_key else [])}  # a test file needs no key
    lacks = sorted(expected - found - optional)
    extra = sorted(found - expected - optional)
    if lacks or extra:
        what = [f"lacks {', '.join(map(repr, lacks))}"] if lacks else []
        what += [f"also has {', '.join(map(repr, extra))}"] if extra else []
        if data.label in lacks:
            fix = "the label must be in every file"
        else:
            names = ", ".join(yaml_name(name) for name in (*data.ignore, *lacks, *extra))
            fix = f"every file needs the columns that the model sees; add them, or set data.ignore: [{names}]"
        raise DataError(f"{other.file} {' and '.join(what)}, compared with {first.file}; {fix}")
