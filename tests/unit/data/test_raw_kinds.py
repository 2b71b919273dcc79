"""What clients send for each kind of column, by V1 rows and V2 tensors, and what is refused."""

import json
import types

import numpy as np
import pytest

from nasflow.core.errors import DataError
from nasflow.data.raw import raw_batch
from nasflow.data.schema import LIST_SEPARATOR, Column, Label, Schema
from nasflow.serving.signature import Input, Output, Signature
from nasflow.serving.tensors import raw_from_tensors

KINDS = {"n": "integer", "ok": "boolean", "when": "datetime", "day": "datetime", "tags": "list", "place": "vector"}
SCHEMA = Schema(
    task="tabular_regression",
    columns=tuple(
        Column(
            name=name,
            kind=kind,
            dtype="string",
            missing=True,
            reason="made for a test",
            length=2 if kind == "vector" else None,
            format="%d.%m.%Y" if name == "day" else None,
        )
        for name, kind in KINDS.items()
    ),
    ignored={},
    image=None,
    label=Label(name="y", dtype="double", classes=None),
)
DTYPES = {"n": "float64", "ok": "string", "when": "float64", "day": "float64", "tags": "string", "place": "float64"}
SIGNATURE = Signature(
    task="tabular_regression",
    inputs=tuple(
        Input(column=name, tensor=name, kind=kind, dtype=DTYPES[name], shape=(None, 2) if kind == "vector" else (None,))
        for name, kind in KINDS.items()
    ),
    outputs=(Output(name="prediction", dtype="float32", shape=(None,)),),
    classes=None,
)
ROWS = [
    {"n": 3, "ok": True, "when": "1970-01-02T00:00Z", "day": "02.01.1970", "tags": ["a", "ß", 7], "place": [1, None]},
    {"n": None, "ok": "No", "when": 0.5, "day": "1970-01-02", "tags": [], "place": [2.5, -1]},
    {"n": 2.5, "ok": None, "when": None, "day": "", "tags": None, "place": None},
]  # fmt: skip
EXPECTED = {
    "n": [3.0, np.nan, 2.5],
    "when": [86_400.0, 0.5, np.nan],
    "day": [86_400.0, 86_400.0, np.nan],
    "place": [[1.0, np.nan], [2.5, -1.0], [np.nan, np.nan]],
}


def _check(raw):
    for name, values in EXPECTED.items():
        np.testing.assert_array_equal(raw[name], values)
        assert raw[name].dtype == np.float64
    assert raw["ok"].tolist() == ["true", "false", ""]
    assert raw["tags"].tolist() == [LIST_SEPARATOR.join(["a", "ß", "7"]), "", ""]


def test_rows_of_json() -> None:
    _check(raw_batch(ROWS, SCHEMA))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"when": "yesterday"},
            r"row 2: column 'when': expected a date or time in ISO 8601 such as .*; got 'yesterday'",
        ),
        ({"day": "2/1/70"}, r"column 'day': .*, or in the form %d\.%m\.%Y; got '2/1/70'"),
        ({"when": True}, r"column 'when': expected a date as ISO 8601 text, seconds since 1970, or null; got True"),
        ({"when": "10000-01-01"}, "expected a date or time"),
        ({"tags": "a,b"}, r"column 'tags': expected a list or null, got 'a,b'"),
        ({"tags": [["a"]]}, r"column 'tags': expected text or null, got \['a'\]"),
        ({"place": [1]}, r"column 'place': expected a list of 2 numbers, got 1"),
        ({"place": 1}, r"column 'place': expected a list of 2 numbers or null, got 1"),
        ({"place": ["1", 2]}, r"column 'place': expected a number or null, got '1'"),
        ({"ok": "maybe"}, r"column 'ok': expected true, false or null, got 'maybe'"),
        ({"n": "3"}, r"column 'n': expected a number or null, got '3'"),
    ],
)
def test_values_of_another_kind_are_refused_by_row_and_column(changed, message) -> None:
    with pytest.raises(DataError, match=message):
        raw_batch([ROWS[0], ROWS[1] | changed], SCHEMA)


def _tensor(name, datatype, data, shape=None):
    return types.SimpleNamespace(name=name, datatype=datatype, data=data, shape=shape or [len(data)])


def _tensors(**changed):
    found = {
        "n": _tensor("n", "FP64", [3.0, None, 2.5]),
        "ok": _tensor("ok", "BYTES", ["true", "no", None]),
        "when": _tensor("when", "BYTES", ["1970-01-02T00:00:00Z", "1970-01-01T00:00:00.5", None]),
        "day": _tensor("day", "BYTES", ["02.01.1970", "1970-01-02", ""]),
        "tags": _tensor("tags", "BYTES", [json.dumps(["a", "ß", 7]), "[]", None]),
        "place": _tensor("place", "FP64", [1, None, 2.5, -1, None, None], [3, 2]),
    }
    return list((found | changed).values())


def test_tensors() -> None:
    _check(raw_from_tensors(_tensors(), SIGNATURE, SCHEMA, max_rows=9))
    joined = _tensor("tags", "BYTES", [LIST_SEPARATOR.join(["a", "ß", "7"]), "", ""])  # as the SavedModel takes it
    seconds = _tensor("when", "FP64", [86_400, 0.5, None])
    truths = _tensor("ok", "BOOL", [True, False, True])
    raw = raw_from_tensors(_tensors(tags=joined, when=seconds, ok=truths), SIGNATURE, SCHEMA, max_rows=9)
    assert raw["ok"].tolist() == ["true", "false", "true"]
    _check(raw | {"ok": np.array(["true", "false", ""], object)})


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (_tensor("when", "BYTES", ["1970-01-01", "soon", None]), r"input 'when': row 2: expected a date or time"),
        (_tensor("tags", "BYTES", ["[]", '["a"', "[]"]), r"input 'tags': row 2: "),
        (_tensor("tags", "FP64", [1.0, 2.0, 3.0]), r"column 'tags' is a list; send BYTES"),
        (_tensor("place", "FP64", [1, 2, 3]), r"shape must be \[rows, 2\], got \[3\]"),
        (_tensor("place", "BYTES", ["a", "b", "c"]), r"column 'place' holds numbers; send FP64"),
        (_tensor("ok", "BYTES", ["true", "perhaps", None]), r"input 'ok': row 2: expected true, false or null"),
    ],
)
def test_tensors_of_another_kind_are_refused(tensor, message) -> None:
    with pytest.raises(DataError, match=message):
        raw_from_tensors(_tensors(**{tensor.name: tensor}), SIGNATURE, SCHEMA, max_rows=9)
