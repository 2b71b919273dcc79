"""What each column is, decided before the data is read in full: from footers, headers and a sample.

Kinds must be the same in every file. What only the whole training split can tell (a constant column, one without any
value) is decided after the analysis, in `nasflow.preprocess.fit`.
"""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence

import pyarrow as pa

from nasflow.core.artifacts import SPLITS
from nasflow.core.errors import DataError
from nasflow.core.spec import ColumnSection, DataSection, Task
from nasflow.preprocess.agreed import agreed, identifier, notes_on
from nasflow.preprocess.inference import infer
from nasflow.preprocess.plan_checks import check_image_columns, check_label, check_names, check_section, check_style
from nasflow.preprocess.planned import PlannedColumn
from nasflow.preprocess.sources._base import IMAGE, TEXT, ImageSource, Profile, Role, Want
from nasflow.preprocess.sources.find import Sources
from nasflow.preprocess.sources.image_table import ImageTable
from nasflow.preprocess.sources.sample_texts import SampleTexts
from nasflow.preprocess.sources.text_folder import TextFolder
from nasflow.preprocess.sources.text_lines import TextLines
from nasflow.preprocess.split_keys import KeyPlan, suits

FOLDER_IMAGE_SIZE = 64


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
        written = {column.name for column in self.columns if column.kind in ("numeric", "integer")}
        written |= {self.label} if self.task == "tabular_regression" else set()
        written |= {self.weight} if self.weight is not None else set()
        written |= {self.key.name} if self.key is not None and self.key.numeric else set()
        return Want(names=tuple(dict.fromkeys(names)), numbers=numbers, written=frozenset(written))


def make_plan(sources: Sources, data: DataSection, task: Task, *, partial: bool = False) -> Plan:
    """Looks at every file's beginning. `partial`: there are others, where what `data.ignore` names may be.

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
        return _mixed_plan(sources, profiles, data, task, key, partial=partial)
    texts = (TEXT,) if isinstance(sources.train, TextFolder | TextLines | SampleTexts) else ()
    return _table_plan(profiles, data, task, key, csv=sources.train.text, partial=partial, texts=texts)


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
    found = agreed(name, profiles, csv=csv)
    splits = SPLITS if data.test is None else SPLITS[:2]
    return KeyPlan(name=name, by=by, numeric=found.kind in ("numeric", "integer"), splits=splits)


def _mixed_plan(
    sources: Sources, profiles: Sequence[Profile], data: DataSection, task: Task, key: KeyPlan | None, *, partial: bool
) -> Plan:
    """An image beside the columns of its table."""
    without = [_without(profile, str(data.image)) for profile in profiles]
    plan = _table_plan(without, data, task, key, csv=sources.train.text, partial=partial)
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
    check_image_columns(sources[0], profiles, data)
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


def _table_plan(
    profiles: Sequence[Profile],
    data: DataSection,
    task: Task,
    key: KeyPlan | None,
    *,
    csv: bool,
    partial: bool,
    texts: Sequence[str] = (),
) -> Plan:
    """`texts`: columns that the source knows to be texts."""
    first = profiles[0]
    check_label(first, data.label, task, csv=csv)
    for profile in profiles[1:]:
        check_names(first, profile, data)
    check_section(profiles, data, partial=partial)
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
        found = agreed(name, profiles, csv=csv, options=options)
        if found.kind == "categorical" and options.kind is None:
            if csv:
                check_style(name, first)
            found = identifier(name, profiles, csv=csv) or found
        if found.kind is None:
            ignored[name] = found.reason
            continue
        notes.extend(notes_on(name, found.kind, first, csv=csv))
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
