"""Test rows that are kept as a client would send them, with what is known of their labels."""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.data.dates import iso_text
from nasflow.data.schema import LIST_SEPARATOR, Kind
from nasflow.preprocess.clean import CleanRows
from nasflow.preprocess.sources._base import IMAGE

_MAX_GOLDEN_BYTES = 1 << 20


def golden(
    rows: CleanRows, chosen: NDArray[np.int64], kinds: Mapping[str, Kind], wanted: Sequence[int]
) -> list[tuple[dict[str, Any] | None, Any]]:
    """(values by column, label) of the `wanted` ones of the `chosen` rows; no values where an image is too big."""
    return [_golden_row(rows, int(chosen[row]), kinds) for row in wanted]


def _golden_row(rows: CleanRows, row: int, kinds: Mapping[str, Kind]) -> tuple[dict[str, Any] | None, Any]:
    label = rows.labels[row]
    answer = label if isinstance(label, str) else float(label)
    values = {name: _json_safe(column[row], kinds.get(name)) for name, column in rows.raw.items()}
    encoded = values.get(IMAGE)
    too_big = isinstance(encoded, dict) and len(encoded["b64"]) > _MAX_GOLDEN_BYTES
    return None if too_big else values, answer


def listed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Images as nested lists: of the rows that are kept in the end, because a list takes a hundred times the memory."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in row.items()}


def _json_safe(value: Any, kind: Kind | None) -> Any:
    """As a client would send it, but for images."""
    if value is None or isinstance(value, str):
        if kind == "list":
            return value.split(LIST_SEPARATOR) if value else []
        return value
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if kind == "vector":
        return [element if math.isfinite(element) else None for element in value.tolist()]
    if isinstance(value, np.ndarray):
        return value.copy()  # an image; see `listed`
    if kind == "datetime":
        return iso_text(float(value))
    return float(value) if math.isfinite(value) else None
