"""raw_batch: what clients send, checked against the schema."""

import base64
import math

import numpy as np
import pytest

from nasflow.core.errors import DataError
from nasflow.data.raw import raw_batch
from nasflow.data.schema import Column, ImageFormat, Label, Schema


def _schema(*columns: Column, image: ImageFormat | None = None, ignored: dict[str, str] | None = None) -> Schema:
    task = "image_classification" if image else "tabular_classification"
    label = Label(name="y", dtype="string", classes=("a", "b"))
    return Schema(task=task, columns=columns, ignored=ignored or {}, image=image, label=label)


def _column(name: str, kind: str, dtype: str = "double") -> Column:
    return Column.model_validate({"name": name, "kind": kind, "dtype": dtype, "missing": False, "reason": "test"})


TABLE = _schema(
    _column("age", "numeric"),
    _column("job", "categorical", "string"),
    _column("ok", "categorical", "bool"),
    ignored={"id": "an identifier"},
)
GRAY = _schema(_column("image", "image", "binary"), image=ImageFormat(height=2, width=3, channels=1, encoding="array"))
FILES = _schema(_column("image", "image", "binary"), image=ImageFormat(height=8, width=8, channels=3, encoding="bytes"))


def test_values_become_columns_and_null_becomes_missing() -> None:
    rows = [{"age": 3, "job": "cook", "ok": True, "id": "x1"}, {"age": None, "job": None, "ok": "False"}]
    raw = raw_batch(rows, TABLE)
    assert raw["age"].dtype == np.float64
    assert raw["age"][0] == 3.0
    assert math.isnan(raw["age"][1])
    assert raw["job"].tolist() == ["cook", ""]
    assert raw["ok"].tolist() == ["true", "false"]


def test_whole_numbers_are_decimal_text_in_a_text_column() -> None:
    assert raw_batch([{"age": 1.5, "job": 7, "ok": False}], TABLE)["job"].tolist() == ["7"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"age": "old", "job": "a", "ok": True}, r"row 2: column 'age': expected a number or null, got 'old'"),
        ({"age": True, "job": "a", "ok": True}, r"row 2: column 'age': expected a number"),
        ({"age": 1, "job": 1.5, "ok": True}, r"row 2: column 'job': expected text or null, got 1.5"),
        ({"age": 1, "job": "a"}, r"row 2: column 'ok' is missing"),
        ({"age": 1, "job": "a", "ok": True, "agee": 2}, r"row 2: column 'agee' is unknown"),
        ({"age": 1, "job": "a", "ok": True, "y": "a"}, r"row 2: column 'y' is the label"),
        ([1, 2], r"row 2: expected an object"),
    ],
)
def test_a_bad_row_is_named_by_number_and_column(row: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        raw_batch([{"age": 1, "job": "a", "ok": True}, row], TABLE)  # type: ignore[list-item]


def test_no_rows_is_an_error() -> None:
    with pytest.raises(DataError, match="no rows"):
        raw_batch([], TABLE)


def test_grayscale_arrays_may_lack_the_channel_axis() -> None:
    raw = raw_batch([{"image": [[0, 1, 2], [3, 4, 255]]}, {"image": [[[0], [1], [2]], [[3], [4], [5]]]}], GRAY)
    assert raw["image"].shape == (2, 2, 3, 1)
    assert raw["image"].dtype == np.uint8
    assert raw["image"][0, 1, 2, 0] == 255


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([[0, 1], [2, 3]], r"shape \[2, 3, 1\], got \[2, 2, 1\]"),
        ([[0, 1, 2], [3, 4]], "different lengths"),
        ([[0, 1, 2], [3, 4, 256]], "from 0 to 255"),
        ([[0.5, 1, 2], [3, 4, 5]], "whole numbers"),
    ],
)
def test_wrong_pixels_are_refused(image: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        raw_batch([{"image": image}], GRAY)


def test_encoded_images_come_as_base64() -> None:
    raw = raw_batch([{"image": {"b64": base64.b64encode(b"png").decode()}}], FILES)
    assert raw["image"].tolist() == [b"png"]
    with pytest.raises(DataError, match="not base64"):
        raw_batch([{"image": {"b64": "!"}}], FILES)
    with pytest.raises(DataError, match="b64"):
        raw_batch([{"image": [[1]]}], FILES)
