"""What the columns are: the typed schema of a Dataset (``schema.json``)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict

from nasflow.core.spec import Kind, Task

__all__ = ["LIST_SEPARATOR", "RAW_OF", "Column", "Decision", "ImageFormat", "Kind", "Label", "RawForm", "Schema"]

RawForm = Literal["number", "text", "vector", "image"]
RAW_OF: Mapping[Kind, RawForm] = MappingProxyType(
    {
        "numeric": "number",
        "integer": "number",
        "boolean": "text",
        "categorical": "text",
        "datetime": "number",
        "list": "text",
        "vector": "vector",
        "text": "text",
        "image": "image",
    }
)
"""How values of a kind are held before the transform, and sent to the SavedModel: ``number`` float64 [n] with NaN for
missing, ``text`` strings [n] with "" for missing, ``vector`` float64 [n, length], ``image`` pixels or encoded files.
Dates are seconds since 1970 (UTC); a list is its elements joined by `LIST_SEPARATOR`."""
MAX_TEXT_BYTES = 1 << 20
"""Of one value; a row with a longer one is a dead letter, a request is refused."""
LIST_SEPARATOR = "\x1f"
"""ASCII's unit separator."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Decision(_Frozen):
    """Something that was chosen for a column."""

    about: str
    """``scaling``, ``imputation``, ``vocabulary``, …"""
    choice: str
    reason: str
    confidence: float = 1.0
    """From 0 to 1; 1 where the data leave no doubt, or the YAML said so."""


class Column(_Frozen):
    """One raw feature column."""

    name: str
    kind: Kind
    dtype: str
    """Arrow type in the source, e.g. ``int64``, ``string``, ``bool``."""
    missing: bool
    """Whether missing values were seen in the training rows."""
    reason: str
    """Why it has this kind."""
    confidence: float = 1.0
    """In its kind, from 0 to 1; 1 where the file's types or the YAML say it."""
    length: int | None = None
    """Numbers in each row, of a vector."""
    format: str | None = None
    """How a date is written, where not in ISO 8601: as `strptime` takes it, or ``unix``, ``unix_ms``."""
    decisions: tuple[Decision, ...] = ()
    """What else was chosen for it, and why."""


class ImageFormat(_Frozen):
    """How images come in, and what they become."""

    height: int
    width: int
    channels: Literal[1, 3]
    encoding: Literal["array", "bytes"]
    """``array``: raw rows are uint8 [height, width, channels]; ``bytes``: raw rows are encoded PNG or JPEG files."""


class Label(_Frozen):
    """The column to predict."""

    name: str
    dtype: str
    classes: tuple[str, ...] | None
    """Class names as text, sorted (numerically where all are numbers); None for regression."""


class Schema(_Frozen):
    """All columns, in the order of the source."""

    task: Task
    columns: tuple[Column, ...]
    ignored: dict[str, str]
    """Columns that the model does not see, each with the reason."""
    image: ImageFormat | None
    """Set where the single feature column is an image."""
    label: Label
    weight: str | None = None
    """The column that says how much each row counts; no feature."""
