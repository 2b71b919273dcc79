"""What fitting a column takes and gives."""

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.data.schema import Decision
from nasflow.data.transforms._base import ColumnTransform
from nasflow.preprocess.inspection import FEATURE, decode_frames
from nasflow.preprocess.planned import PlannedColumn
from nasflow.preprocess.summary import Summary

_ROWS_A_BIN = 16
"""A numeric column has a bin for so many training rows: small tables have coarse ones."""
_LEAST_BINS, _MOST_BINS = 2, 64


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of the training rows."""

    summary: Summary

    @cached_property
    def _sample(self) -> pa.Table | None:
        return decode_frames({k: v for k, v in self.summary.frames.items() if k == "train"}).get("train")

    @property
    def sampled(self) -> str:
        """How to call the rows that `numbers` are of."""
        rows = 0 if self._sample is None else self._sample.num_rows
        return (
            "the training rows" if rows == self.summary.split_rows["train"] else f"a sample of {rows:,} training rows"
        )

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Finite values of a numeric column in a uniform sample of the training rows (all of them, where they are few),
        float64, ascending."""
        if self._sample is None or FEATURE + name not in self._sample.column_names:
            return np.empty(0)
        values = np.asarray(self._sample.column(FEATURE + name).to_numpy(), np.float64)
        return np.sort(values[np.isfinite(values)])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A column's transforms by field of `TransformSpec`, and why they are as they are."""

    transforms: dict[str, ColumnTransform]
    decisions: tuple[Decision, ...]
    missing: bool
    """Whether training rows lack values."""


def scale(column: PlannedColumn, mean: float, std: float) -> float:
    """The unit: std, or 1.0 where all values are alike.

    Raises:
        DataError: the values overflow.
    """
    if not math.isfinite(mean) or not math.isfinite(std):
        raise DataError(
            f"column {column.name!r}: its values are too large to average in float64; rescale them or ignore it"
        )
    return std or 1.0


def edges_of(quantiles: Sequence[float], *, rows: int) -> tuple[float, ...]:
    """Every so-manieth quantile, for a bin a few rows, between `_LEAST_BINS` and `_MOST_BINS`.

    >>> edges_of([1.0, 2.0, 4.0, 8.0, 16.0], rows=32)
    (1.0, 4.0, 16.0)
    >>> edges_of([7.0], rows=32)
    ()
    """
    last = len(quantiles) - 1
    count = min(max(rows // _ROWS_A_BIN, _LEAST_BINS), _MOST_BINS, last)
    return tuple(quantiles[round(place * last / count)] for place in range(count + 1)) if count > 0 else ()


def said(about: str, choice: Any) -> Decision:
    """A decision of the YAML."""
    return Decision(about=about, choice=str(choice), reason="data.columns says so")
