"""Whether the columns that the YAML names are there, can be what it says, and are the same in every file."""

import difflib
from collections.abc import Sequence

from nasflow.core.errors import DataError
from nasflow.core.spec import DataSection, Task
from nasflow.preprocess import cells
from nasflow.preprocess.inference import infer
from nasflow.preprocess.sources._base import ImageSource, Profile

_NO_LABELS = ("datetime", "list", "vector")


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


def check_section(first: Profile, data: DataSection) -> None:
    """The columns that the YAML names.

    Raises:
        DataError: one is not there.
    """
    names = first.schema.names
    if unknown := [name for name in data.ignore if name not in names]:
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
        hint = f"did you mean {(lower or close)[0]!r}? " if lower or close else ""
        raise DataError(f"data.label: {first.file} has no column {label!r}; {hint}Its columns: {', '.join(names)}")
    found = infer(first.sample.column(label), csv=csv)
    if (found.kind is None or found.kind in _NO_LABELS) and first.sample.num_rows:
        raise DataError(f"data.label: column {label!r} of {first.file} cannot be a label: {found.reason}")
    if task == "tabular_regression" and found.kind in ("categorical", "boolean"):
        example = next((v for v in cells.plain(first.sample.column(label)).to_pylist() if v is not None), None)
        raise DataError(
            f"data.label: task {task} needs a numeric label, but {label!r} of {first.file} holds {example!r}; "
            "set task: tabular_classification, or name another column"
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
        raise DataError(
            f"{other.file} {' and '.join(what)}, compared with {first.file}; every file needs the same columns"
        )
