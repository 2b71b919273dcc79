"""TransformSpec: from raw columns to tensors. One versioned spec drives NumPy here and the served graph.

`nasflow.models.served` builds the same arithmetic as a graph; parity tests on generated data, and on golden rows at
every export, hold the two together. The families are in `nasflow.data.transforms`.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

from nasflow.core.storage import sha256
from nasflow.data.tensors import SLOTS, InputSpec, OutputSpec
from nasflow.data.transforms._base import (
    FIRST_ID,
    MISSING_ID,
    SMALLEST_NORMAL,
    UNKNOWN_ID,
    ColumnTransform,
    Frozen,
    Part,
)
from nasflow.data.transforms.categorical import CategoricalTransform
from nasflow.data.transforms.dates import DateTransform
from nasflow.data.transforms.discrete import DiscreteTransform
from nasflow.data.transforms.image import ImageTransform
from nasflow.data.transforms.label import LabelTransform
from nasflow.data.transforms.lists import ListTransform
from nasflow.data.transforms.numeric import LEAST_BIN, NumericTransform
from nasflow.data.transforms.text import TextTransform
from nasflow.data.transforms.vectors import VectorTransform

__all__ = [
    "FIRST_ID",
    "LEAST_BIN",
    "MISSING_ID",
    "SMALLEST_NORMAL",
    "UNKNOWN_ID",
    "CategoricalTransform",
    "DateTransform",
    "DiscreteTransform",
    "ImageTransform",
    "LabelTransform",
    "ListTransform",
    "NumericTransform",
    "TextTransform",
    "TransformSpec",
    "VectorTransform",
]


class TransformSpec(Frozen):
    """Fitted on the training rows only. Order matters: it is the order of the tensors' columns, first by family as
    the fields stand here, then as the columns stand in a field."""

    version: Literal[1, 2, 3] = 3
    """2 added `NumericTransform.edges` and `discrete`, 3 the families and settings that default to none. Documents of
    all versions are read, and mean what they meant."""
    numeric: tuple[NumericTransform, ...] = ()
    discrete: tuple[DiscreteTransform, ...] = ()
    """Numeric columns that are categories, too."""
    categorical: tuple[CategoricalTransform, ...] = ()
    text: tuple[TextTransform, ...] = ()
    dates: tuple[DateTransform, ...] = ()
    lists: tuple[ListTransform, ...] = ()
    vectors: tuple[VectorTransform, ...] = ()
    image: ImageTransform | None = None
    label: LabelTransform
    weight: str | None = None
    """The column that says how much each row counts; shards have it, tensors and the served model do not."""

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON."""
        return sha256(self.model_dump_json().encode())

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, which would also copy what was derived from the old fields."""
        copied = super().model_copy(update=update, deep=deep)
        for derived in ("families", "columns", "filled", "parts", "inputs"):
            vars(copied).pop(derived, None)
        return copied

    @cached_property
    def families(self) -> dict[str, tuple[ColumnTransform, ...]]:
        """Its columns by field; fields without any are left out."""
        found: dict[str, tuple[ColumnTransform, ...]] = {}
        for field in type(self).model_fields:
            value = getattr(self, field)
            columns = value if isinstance(value, tuple) else (value,)
            if columns and isinstance(columns[0], ColumnTransform):
                found[field] = columns
        return found

    @cached_property
    def columns(self) -> tuple[ColumnTransform, ...]:
        """All of them, in order."""
        return tuple(column for columns in self.families.values() for column in columns)

    @cached_property
    def filled(self) -> tuple[tuple[ColumnTransform, tuple[str, ...]], ...]:
        """Each with the names of its parts."""
        return tuple((column, tuple(part.name for part in column.parts)) for column in self.columns)

    @cached_property
    def parts(self) -> dict[str, tuple[Part, ...]]:
        """By tensor, its columns in order; tensors without any are left out."""
        every = [part for column in self.columns for part in column.parts]
        found = {
            tensor: tuple(part for slot in slots for part in every if part.slot == slot)
            for tensor, slots in SLOTS.items()
        }
        texts = {part.slot: (part,) for column in self.text for part in column.parts}
        return {tensor: parts for tensor, parts in found.items() if parts} | texts

    @cached_property
    def inputs(self) -> InputSpec:
        """The shapes of the tensors."""
        image, parts = self.image, self.parts
        edges = tuple(part.edges for part in parts.get("numeric", ()))
        real = any(part.edges for part in parts.get("numeric", ()) if part.slot == "numeric")
        return InputSpec(
            numeric=len(edges),
            edges=edges if real else (),
            plain=len(parts.get("plain", ())),
            vectors=tuple(len(column.mean) for column in self.vectors),
            discrete=tuple(part.ids for part in parts.get("discrete", ())),
            cardinalities=tuple(part.ids for part in parts.get("categorical", ())),
            image=(image.height, image.width, image.channels) if image else None,
            image_mean=image.mean if image else (),
            image_std=image.std if image else (),
            texts=tuple(column.shape for column in self.text),
        )

    @property
    def output(self) -> OutputSpec:
        """What the model predicts."""
        classes = self.label.classes
        return OutputSpec(
            classes=len(classes) if classes is not None else None,
            mean=self.label.mean,
            std=self.label.std,
            weights=self.label.weights,
        )
