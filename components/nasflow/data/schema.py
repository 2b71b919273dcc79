"""What the columns are: the typed schema of a Dataset (``schema.json``)."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from nasflow.core.spec import Task

Kind = Literal["numeric", "categorical", "image"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
