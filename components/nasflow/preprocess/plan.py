"""What each column is, decided before the data is read in full: from footers, headers and a sample.

Kinds must be the same in every file. What only the whole training split can tell (a constant column, one without any
value) is decided after the analysis, in `nasflow.preprocess.fit`.
"""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nasflow.core.artifacts import SPLITS
from nasflow.core.errors import DataError
from nasflow.core.spec import ColumnSection, DataSection, Task
from nasflow.data.schema import Kind
from nasflow.preprocess import cells
from nasflow.preprocess.inference import NOTHING, Found, infer, odd_one
from nasflow.preprocess.planned import PlannedColumn
from nasflow.preprocess.prose import phrases
from nasflow.preprocess.sources._base import IMAGE, SAMPLE_ROWS, TEXT, ImageSource, Profile, Role, Want
from nasflow.preprocess.sources.find import Sources
from nasflow.preprocess.sources.image_table import ImageTable
from nasflow.preprocess.sources.sample_texts import SampleTexts
from nasflow.preprocess.sources.text_folder import TextFolder
from nasflow.preprocess.sources.text_lines import TextLines
from nasflow.preprocess.split_keys import KeyPlan, suits

FOLDER_IMAGE_SIZE = 64
_MOSTLY_NUMERIC = 0.5
_NO_LABELS = ("datetime", "list", "vector")
_ENOUGH = 20
"""Fewer rows say nothing about identifiers."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """How images come in (`encoding`, own size) and the size that they get."""

    encoding: str
    height: int | None
    width: int | None
    channels: int
    target_height: int
    target_width: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that cleaning a batch needs to know."""

    task: Task
    label: str
    label_dtype: str
    columns: tuple[PlannedColumn, ...]
    ignored: dict[str, str]
    notes: tuple[str, ...]
    """Findings of the inference, for the report."""
    csv: bool
    image: ImagePlan | None
    label_map: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Class names to read as others."""
    key: KeyPlan | None = None
    """The column that the split goes by."""
    weight: str | None = None
    """The column of the rows' weights."""

    def want(self, role: Role) -> Want:
        """The columns that `nasflow.preprocess.clean` looks at; a test file need not have the split's key."""
        names = [column.name for column in self.columns] + [self.label]
        names += [self.key.name] if self.key is not None and role == "train" else []
        names += [self.weight] if self.weight is not None else []
        numbers = frozenset(
            column.name
            for column in self.columns
            if column.kind == "numeric" or (column.kind == "integer" and not column.given)  # a dead letter quotes 1.50
        )
        return Want(names=tuple(dict.fromkeys(names)), numbers=numbers)


def make_plan(sources: Sources, data: DataSection, task: Task) -> Plan:
    """Looks at every file's beginning.

    Raises:
        DataError: no label column, files that disagree, no usable column.
    """
    if task == "image_classification":
        return _image_plan(sources.images(), data, task)
    if sources.test is not None and sources.test.text != sources.train.text:
        raise DataError(
            f"data.test is {sources.test.form} but data.train is {sources.train.form}; give both in the same form, so "
            "that values are read alike"
        )
    found = [list(source.profiles()) for source in sources.tables()]
    profiles = [profile for of_source in found for profile in of_source]
    profiles.sort(key=lambda profile: profile.sample.num_rows == 0)  # stable: files with a sample first
    key = _key_plan(found[0], data, csv=sources.train.text)
    if isinstance(sources.train, ImageTable):
        return _mixed_plan(sources, profiles, data, task, key)
    texts = (TEXT,) if isinstance(sources.train, TextFolder | TextLines | SampleTexts) else ()
    return _table_plan(profiles, data, task, key, csv=sources.train.text, texts=texts)


def _key_plan(profiles: Sequence[Profile], data: DataSection, *, csv: bool) -> KeyPlan | None:
    """How the split's key is read; only the training source needs the column.

    Raises:
        DataError: a file has no such column, or one of a type that cannot be a key.
    """
    name, by = data.split.key, data.split.by
    if name is None or by == "hash" or by == "stratified":  # noqa: PLR1714  # the form that mypy narrows
        return None
    for profile in profiles:
        if name not in profile.schema.names:
            close = difflib.get_close_matches(name, profile.schema.names, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            columns = ", ".join(profile.schema.names)
            raise DataError(f"data.split.key: {profile.file} has no column {name!r}; {hint}Its columns: {columns}")
        dtype = profile.schema.field(name).type
        if not suits(dtype, by) and not pa.types.is_null(dtype):
            wanted = {"group": "text or numbers", "time": "numbers or dates", "column": "text"}[by]
            raise DataError(
                f"data.split.key: column {name!r} of {profile.file} holds {dtype}, but by: {by} needs {wanted}"
            )
    found = _agreed(name, profiles, csv=csv)
    splits = SPLITS if data.test is None else SPLITS[:2]
    return KeyPlan(name=name, by=by, numeric=found.kind in ("numeric", "integer"), splits=splits)


def _mixed_plan(
    sources: Sources, profiles: Sequence[Profile], data: DataSection, task: Task, key: KeyPlan | None
) -> Plan:
    """An image beside the columns of its table."""
    without = [_without(profile, str(data.image)) for profile in profiles]
    plan = _table_plan(without, data, task, key, csv=sources.train.text)
    image = PlannedColumn(
        name=IMAGE, kind="image", dtype="binary", reason=f"data.image names the column {data.image!r}"
    )
    return dataclasses.replace(plan, columns=(image, *plan.columns), image=_image_form(sources.images(), data))


def _without(profile: Profile, column: str) -> Profile:
    names = [name for name in profile.schema.names if name != column]
    sample = profile.sample.select(names)
    return dataclasses.replace(profile, schema=sample.schema, sample=sample)


def _image_form(sources: Sequence[ImageSource], data: DataSection) -> ImagePlan:
    """How images come in, and their size.

    Raises:
        DataError: training and test images differ.
    """
    shapes = [source.shape() for source in sources]
    first = shapes[0]
    if len({source.text for source in sources}) > 1:
        raise DataError("data.test: of training and test images, one is listed in CSV and the other not; use one form")
    if len({shape.encoding for shape in shapes}) > 1:
        raise DataError("data.test: of training and test images, one set is arrays and the other files; use one form")
    if first.encoding == "array" and len(set(shapes)) > 1:
        sizes = " and ".join(f"{s.height}×{s.width}×{s.channels}" for s in shapes)
        raise DataError(f"data.test: training and test images differ in shape: {sizes}; they must be equal")
    size = data.image_size
    return ImagePlan(
        encoding=first.encoding,
        height=first.height,
        width=first.width,
        channels=max(shape.channels for shape in shapes),
        target_height=size or first.height or FOLDER_IMAGE_SIZE,
        target_width=size or first.width or FOLDER_IMAGE_SIZE,
    )


def _image_plan(sources: Sequence[ImageSource], data: DataSection, task: Task) -> Plan:
    table = sources[0] if isinstance(sources[0], ImageTable) else None
    profiles = list(table.profiles()) if table else []
    if data.split.key is not None and table is None:
        raise DataError(f"data.split.key: {sources[0].form} has no columns to split by; use by: hash or stratified")
    _check_image_columns(sources[0], profiles, data)
    image = _image_form(sources, data)
    return Plan(
        task=task,
        label=data.label,
        label_dtype="string",
        columns=(PlannedColumn(name=IMAGE, kind="image", dtype="binary", reason=f"the images of {sources[0].form}"),),
        ignored={
            name: "the model sees the image only"
            for name in (profiles[0].schema.names if profiles else ())
            if table and name not in (table.column, table.label, data.weight)
        },
        weight=data.weight,
        notes=(),
        csv=sources[0].text,
        key=_key_plan(profiles, data, csv=sources[0].text) if table else None,
        image=image,
        label_map=data.label_map,
    )


def _check_image_columns(source: ImageSource, profiles: Sequence[Profile], data: DataSection) -> None:
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


def _table_plan(
    profiles: Sequence[Profile],
    data: DataSection,
    task: Task,
    key: KeyPlan | None,
    *,
    csv: bool,
    texts: Sequence[str] = (),
) -> Plan:
    """`texts`: columns that the source knows to be texts."""
    first = profiles[0]
    _check_label(first, data.label, task, csv=csv)
    for profile in profiles[1:]:
        _check_names(first, profile, data)
    _check_section(first, data)
    read_as_text = {*data.text, *texts}
    columns: list[PlannedColumn] = []
    ignored: dict[str, str] = {}
    notes: list[str] = []
    for name in first.schema.names:
        if name == data.label:
            continue
        if reason := _left_out(name, data, key):
            ignored[name] = reason
            continue
        options = data.columns.get(name, ColumnSection())
        if name in read_as_text and options.kind is None:
            options = options.model_copy(update={"kind": "text"})
        found = _agreed(name, profiles, csv=csv, options=options)
        if found.kind == "categorical" and options.kind is None:
            found = _identifier(name, profiles, csv=csv) or found
        if found.kind is None:
            ignored[name] = found.reason
            continue
        notes.extend(_notes(name, found.kind, first, csv=csv))
        about = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
        columns.append(PlannedColumn(name=name, given=options.kind is not None, options=options, **about))
    if not columns:
        raise DataError(f"{first.file}: no column is left to learn from: {ignored}")
    if task == "text_classification" and not any(column.kind == "text" for column in columns):
        shown = {column.name: column.kind for column in columns} | ignored
        raise DataError(
            f"{first.file}: task text_classification needs a column of texts, but none looks like one: {shown}; name "
            "it in data.text, or set task: tabular_classification"
        )
    label_dtype = infer(first.sample.column(data.label), csv=csv).dtype
    return Plan(
        task=task,
        label=data.label,
        label_dtype=label_dtype,
        weight=data.weight,
        columns=tuple(columns),
        ignored=ignored,
        notes=tuple(notes),
        csv=csv,
        image=None,
        label_map=data.label_map,
        key=key,
    )


def _check_section(first: Profile, data: DataSection) -> None:
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


def _left_out(name: str, data: DataSection, key: KeyPlan | None) -> str | None:
    """Why a column is no feature, whatever it holds."""
    if name in data.ignore:
        return "listed in data.ignore"
    if name == data.weight:
        return "it says how much each row counts (data.weight)"
    if key is not None and name == key.name and not data.split.keep_key:
        reason = f"the split goes by it (data.split.by: {key.by})"
        return reason + "; data.split.keep_key: true makes it a feature, too" * (key.by != "column")
    return None


def _check_label(first: Profile, label: str, task: Task, *, csv: bool) -> None:
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


def _check_names(first: Profile, other: Profile, data: DataSection) -> None:
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


def _agreed(name: str, profiles: Sequence[Profile], *, csv: bool, options: ColumnSection | None = None) -> Found:
    """What the column is in all files; a file without any value in it agrees with every kind, and whole numbers with
    numbers.

    Raises:
        DataError: two files disagree, or they do not bear what the YAML says.
    """
    known: tuple[str, Found] | None = None
    for profile in profiles:
        if name not in profile.schema.names:
            continue
        try:
            found = infer(profile.sample.column(name), csv=csv, options=options)
        except DataError as error:
            raise DataError(f"data.columns: column {name!r} of {profile.file}: {error}") from error
        if found.dtype == "null":
            continue
        known = (profile.file, found) if known is None else (known[0], _both(name, known, (profile.file, found)))
    return NOTHING if known is None else known[1]


def _both(name: str, known: tuple[str, Found], other: tuple[str, Found]) -> Found:
    first, second = known[1], other[1]
    least = min(first.confidence, second.confidence)
    if first.kind == second.kind:
        if (first.length, first.format) != (second.length, second.format):
            shown = [f"{f.format or f.length or 'ISO 8601'}" for f in (first, second)]
            raise DataError(
                f"column {name!r} is {first.kind} in {known[0]} ({shown[0]}) and in {other[0]} ({shown[1]}); make the "
                f"files agree, or say its {'format' if first.kind == 'datetime' else 'kind'} in data.columns.{name}"
            )
        return dataclasses.replace(first, confidence=least)
    if {first.kind, second.kind} == {"categorical", "text"}:
        return dataclasses.replace(first if first.kind == "text" else second, confidence=least)
    if {first.kind, second.kind} == {"integer", "numeric"}:
        return dataclasses.replace(first if first.kind == "numeric" else second, confidence=least)
    raise DataError(
        f"column {name!r} is {first.kind or first.reason} in {known[0]} but {second.kind or second.dtype} in "
        f"{other[0]}; make the files agree, say its kind in data.columns, or list the column in data.ignore"
    )


def _identifier(name: str, profiles: Sequence[Profile], *, csv: bool) -> Found | None:
    """Why a text column only names rows, or that it holds short sentences; None where neither is so. Read from the
    first file's sample, so that the answer, and with it the split, does not wait for a whole pass."""
    values = cells.text(profiles[0].sample.column(name), csv=csv)
    rows = len(values)
    if rows < _ENOUGH or values.null_count or pc.count_distinct(values).as_py() < rows:
        return None
    if (read := phrases(values)) is not None:
        return Found(kind="text", dtype="string", reason=read[1], confidence=read[0])
    where = f"the first {rows:,} rows" if rows >= SAMPLE_ROWS or len(profiles) > 1 else f"all {rows:,} rows"
    return Found(kind=None, dtype="string", reason=f"an identifier: text that is different in {where}")


def _notes(name: str, kind: Kind, profile: Profile, *, csv: bool) -> list[str]:
    values = cells.plain(profile.sample.column(name))
    if kind in ("numeric", "integer") and len(values) >= _ENOUGH and not pa.types.is_temporal(values.type):
        found, _ = cells.numbers(values)
        steps = np.diff(found)
        if len(steps) and (np.all(steps == 1) or np.all(steps == -1)):
            return [f"{name!r} counts the rows: it may be an identifier; if so, list it in data.ignore"]
    if kind == "categorical" and csv and (odd := odd_one(values, _MOSTLY_NUMERIC)):
        return [f"{name!r} is treated as text, although {odd[0]:.1%} of its values are numbers: e.g. {odd[1]!r:.60}"]
    return []
