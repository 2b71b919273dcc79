"""`data`: where the data is, what is predicted, how rows are split, which remedies are on."""

import codecs
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from nasflow.core.sections._base import Fraction, Section
from nasflow.core.sections.columns import ColumnSection


def parse_class_names(value: Any) -> Any:
    """YAML reads `1` and `true` as number and boolean, but classes are named by text.

    >>> parse_class_names({"<=50K.": "<=50K", 1: True})
    {'<=50K.': '<=50K', '1': 'true'}
    """
    if not isinstance(value, dict):
        return value

    def name(part: Any) -> Any:
        return str(part).lower() if isinstance(part, bool) else str(part) if isinstance(part, int | float) else part

    return {name(old): name(new) for old, new in value.items()}


def parse_names(value: Any) -> Any:
    """One name, or several.

    >>> parse_names("title"), parse_names(["title", "body"])
    (('title',), ['title', 'body'])
    """
    return (value,) if isinstance(value, str) else value


class SplitSection(Section):
    """How rows are split."""

    validation: Fraction = 0.1
    """Fraction of the training rows that compares candidates."""
    test: Fraction = 0.1
    """Fraction held out for the one evaluation at the end; unused where `data.test` names a file."""
    by: Literal["hash", "group", "time", "stratified", "column"] = "hash"
    """`hash`: of the row's content, so that exact duplicates never fall into two splits. `group`: rows with the same
    `key` stay together. `time`: the newest rows by `key` are test, those before them validation. `stratified`: every
    class has its share in each split, rare ones at least one row. `column`: `key` says train, validation or test."""
    key: str | None = None
    """The column that `group`, `time` and `column` go by. The model does not see it (see `keep_key`). Times are
    numbers or ISO 8601 dates."""
    keep_key: bool = False
    """Whether the key of `group` or `time` is a feature, too."""
    salt: str = ""
    """Change it to get another split of the same data."""

    @model_validator(mode="after")
    def _key_fits(self) -> Self:
        keyed = self.by in ("group", "time", "column")
        if keyed and self.key is None:
            raise ValueError(f"by: {self.by} needs a column to go by; name it in key")
        if not keyed and self.key is not None:
            raise ValueError(f"key: {self.key!r} is not used by {self.by}; remove it, or set by: group, time or column")
        if self.keep_key and self.by not in ("group", "time"):
            raise ValueError(f"keep_key: only the key of group or time can be a feature, got by: {self.by}")
        return self

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> Self:
        if self.validation <= 0:
            raise ValueError(f"validation must be > 0, got {self.validation}: the search compares candidates on it")
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test must be < 1, got {self.validation} + {self.test}")
        return self


class CsvSection(Section):
    """How CSV files are written. What stays the same for most files is found by itself."""

    encoding: str = "utf-8"
    """Python's name of the encoding: `utf-8` (with or without a byte-order mark), `latin-1`, `cp1252`, `utf-16`, …"""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """The character between two values; left out, the most frequent of `,` `;` tab `|` in the first line."""
    header: bool = True
    """Whether the first line names the columns; if not, name them in `columns`."""
    columns: tuple[str, ...] = ()
    """Names of all columns, in their order; where the files have a header, in place of the header's names."""
    comment: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Lines that begin with this character are no rows."""
    decimal: Literal[".", ","] = "."
    """What stands before the fraction of a number."""
    thousands: Annotated[str, Field(pattern=r"^[^0-9eE+-]$")] | None = None
    """The character between groups of three digits: with `","`, `1,234` is the number 1234. Groups of other lengths are
    no numbers."""

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        try:
            codecs.lookup(self.encoding).incrementaldecoder  # noqa: B018  # the look-up is the check
            "".encode(self.encoding)
        except (LookupError, AttributeError) as error:
            raise ValueError(f"encoding: no text encoding {self.encoding!r}; utf-8, latin-1, cp1252, …") from error
        if not self.header and not self.columns:
            raise ValueError("header: false leaves the columns without names; list them in columns")
        if twice := sorted({name for name in self.columns if self.columns.count(name) > 1}):
            raise ValueError(f"columns: {twice[0]!r} is named more than once; give each column its own name")
        if self.decimal == self.thousands:
            raise ValueError(f"thousands: must differ from decimal, got {self.decimal!r} for both")
        for key in ("delimiter", "comment"):
            if (value := getattr(self, key)) is not None and (value in '"\r\n' or not value.isascii()):
                raise ValueError(f"{key}: must be one ASCII character, no quotation mark or line break; got {value!r}")
        return self


_DROPS = ("drop_duplicates", "drop_near_duplicates", "drop_conflicting_labels", "drop_suspect_labels")


class OptimiseSection(Section):
    """Remedies for what preprocess finds in the data. All are off by default, and none touches a test row: a model of
    the optimised data and one of the original are judged on the same rows. Dropped rows are dead letters with the
    reason; they do not count towards `max_bad_fraction`."""

    drop_duplicates: bool = False
    """Drops training and validation rows that equal an earlier one in features and label, or whose features are in
    `data.test`."""
    drop_near_duplicates: bool = False
    """Drops training and validation rows that nearly repeat an earlier row that stays, or a test row. Texts: at least
    0.8 of their word triples are common, as MinHash estimates it. Images: at most 2 of the 64 bits of their difference
    hashes differ, and their 72 grey levels by 4 of 255 in the mean, whatever the brightness. Rows with both: both.
    Other columns are not compared."""
    drop_conflicting_labels: bool = False
    """Drops training and validation rows whose features occur more often with another class; where two classes are
    equally frequent, all of them. Not for regression."""
    drop_leaks: bool = False
    """Hides feature columns from the model that predict the label alone (cross-validated AUC >= 0.995, R2 >= 0.99)."""
    drop_identifiers: bool = False
    """Hides columns from the model that number or name the rows: nearly all texts differ, or whole numbers count the
    rows. Text that differs in every row is hidden in any case."""
    class_weights: bool = False
    """Weights the training loss of a row by rows / (classes * rows of its class). Not for regression."""
    find_suspect_labels: bool = False
    """Looks for labels that are probably wrong (confident learning) among a sample of the training rows; takes seconds
    to a minute more. Nothing is dropped."""
    drop_suspect_labels: bool = False
    """Drops training and validation rows whose label is probably wrong, by confident learning: models that have not
    seen the row are sure of another class. Only rows of a sample of 20,000 are looked at, in classes of which it has 10
    or more; the report says how many were not. Not for regression."""
    suspect_probability: Annotated[float, Field(ge=0.5, le=1.0)] = 0.9
    """`drop_suspect_labels`: the least probability of the other class."""
    suspect_share: Annotated[float, Field(gt=0.0, le=0.5)] = 0.05
    """`drop_suspect_labels`: of no class is more than this share of its sampled rows dropped, the clearest first."""

    @property
    def remedies(self) -> tuple[str, ...]:
        """Those that are on and change what a model learns from."""
        names = (*_DROPS, "drop_leaks", "drop_identifiers", "class_weights")
        return tuple(name for name in names if getattr(self, name))

    @property
    def drops_rows(self) -> bool:
        """Whether rows are left out."""
        return any(getattr(self, name) for name in _DROPS)


class DataSection(Section):
    """Where the data is, and what is to be predicted."""

    train: str = Field(min_length=1)
    """Parquet, CSV, JSON lines, Arrow IPC or TFRecord (one file, a folder or a glob), `.npz`, an IDX images file, a
    folder of one folder of images or of texts a class, `.txt` with a text a line (`__label__CLASS text` as fastText has
    it, or `CLASS<TAB>text`), or `sample:NAME` (digits, breast_cancer, wine, iris, diabetes, docstrings). Local or
    `gs://`."""
    test: str | None = None
    """A separate test set of the same form; left out, `split.test` of the rows are held out."""
    label: str = Field(min_length=1)
    """The column to predict. Image folders: any name, the folder names are the labels; IDX: any name; `.npz`: the
    array's name; samples: `target`."""
    image: str | None = None
    """The column of image paths (absolute, `gs://`, or relative to the table's folder) or of encoded image files, where
    images are listed in a table. With image_classification the model sees the image alone, with the other tasks the
    other columns, too."""
    text: Annotated[tuple[str, ...], BeforeValidator(parse_names)] = ()
    """Columns that are texts to be read word by word (`kind: text`); left out, they are found by their length."""
    label_map: Annotated[dict[str, str], BeforeValidator(parse_class_names)] = Field(default={})
    """Class names to read as others, e.g. `{"<=50K.": "<=50K"}` where one file writes them differently."""
    csv: CsvSection = CsvSection()
    """How CSV files are written: encoding, delimiter, header, comment lines."""
    ignore: tuple[str, ...] = ()
    """Columns that the model must not see (identifiers, leaks)."""
    columns: dict[str, ColumnSection] = Field(default={})
    """What is known better about single columns of a table than could be found out: `{zip: {kind: categorical},
    visited: {format: "%d/%m/%Y"}, price: {scaling: log, impute: median}}`."""
    weight: str | None = None
    """A column of numbers >= 0 that say how much each row counts, in training and in every metric. It is no feature. A
    row whose weight is missing, negative or not finite is a dead letter."""
    split: SplitSection = SplitSection()
    """How the training rows are divided into train, validation and test."""
    max_bad_fraction: Annotated[float, Field(ge=0.0, le=1.0)] = 0.001
    """The run stops when more than this fraction of the rows cannot be used. Unusable rows go to the dead letters."""
    image_size: Annotated[int, Field(ge=4, le=1024)] | None = None
    """Height and width that images are resized to; left out, folders use 64 and arrays keep their own size."""
    optimise: OptimiseSection = OptimiseSection()
    """Remedies for duplicates, conflicting labels, leaks and unbalanced classes."""
    compare_with: str | None = None
    """An earlier Dataset document (folder or `gs://` prefix): the report says what has drifted since."""

    @model_validator(mode="after")
    def _columns_are_features(self) -> Self:
        for key, name in (("label", self.label), ("weight", self.weight)):
            if name in self.columns:
                raise ValueError(f"columns: {name!r} is data.{key}, no feature; take it out of columns")
            if name in self.ignore and key == "weight":
                raise ValueError(f"weight: {name!r} is listed in ignore; take it out of one of them")
        for name in self.text:
            if name in (self.label, self.weight, self.image) or name in self.ignore:
                raise ValueError(f"text: {name!r} is the label, the weight, the image or ignored; take it out of text")
            if (kind := self.columns[name].kind if name in self.columns else None) not in (None, "text"):
                raise ValueError(f"text: {name!r} is {kind} in columns; take it out of one of them")
        if self.weight == self.label:
            raise ValueError(f"weight: {self.weight!r} is the label; name another column")
        if both := sorted(set(self.columns) & set(self.ignore)):
            raise ValueError(f"columns: {both[0]!r} is listed in ignore; take it out of one of them")
        return self
