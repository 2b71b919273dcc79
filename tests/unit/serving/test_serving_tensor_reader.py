"""V2 inputs read all together are what `raw_from_tensors` reads one after the other; and what the numbers become."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.core.errors import DataError
from nasflow.data.schema import Column, Label, Schema
from nasflow.data.transform import LabelTransform, NumericTransform, TransformSpec
from nasflow.serving.encoding import Encoder
from nasflow.serving.metrics import Requests
from nasflow.serving.raw_columns import RawColumns
from nasflow.serving.signature import Input, Output, Signature
from nasflow.serving.tensor_reader import TensorReader
from nasflow.serving.tensors import column, raw_from_tensors
from nasflow.serving.v2 import WireTensor

KINDS = {"age": "numeric", "n°": "integer", "job": "categorical", "note": "text", "flag": "categorical"}
SCHEMA = Schema(
    task="tabular_regression",
    columns=tuple(
        Column(name=name, kind=kind, dtype="bool" if name == "flag" else "x", missing=True, reason="test")
        for name, kind in KINDS.items()
    ),
    ignored={},
    image=None,
    label=Label(name="y", dtype="double", classes=None),
)
SIGNATURE = Signature(
    task="tabular_regression",
    inputs=tuple(
        Input(
            column=name,
            tensor="n_" if name == "n°" else name,
            kind=kind,
            dtype="float64" if kind in ("numeric", "integer") else "string",
            shape=(None,),
        )
        for name, kind in KINDS.items()
    ),
    outputs=(Output(name="prediction", dtype="float32", shape=(None,)),),
    classes=None,
)
READER = TensorReader(SIGNATURE, SCHEMA)


def tensor(name, values, *, binary, datatype=None):
    """As a client sends a column: JSON, or bytes."""
    number = KINDS[name] in ("numeric", "integer")
    datatype = datatype or ("FP64" if number else "BYTES")
    name = "n_" if name == "n°" else name
    if not binary:
        return WireTensor(name, datatype, [len(values)], values)
    if number:
        blob = np.array(values, np.float64).tobytes()
    else:
        texts = [(value or "").encode() for value in values]
        blob = b"".join(len(each).to_bytes(4, "little") + each for each in texts)
    return WireTensor(name, datatype, [len(values)], None, memoryview(blob))


def outcome(read):
    try:
        raw = read()
    except DataError as error:
        return str(error)
    return {name: (values.dtype, [repr(each) for each in values.tolist()]) for name, values in raw.items()}


NUMBERS = st.one_of(st.none(), st.floats(allow_nan=False), st.integers(-9, 9))
TEXTS = st.one_of(st.none(), st.text(max_size=3), st.sampled_from(["Yes", "a\0\0\0b", "x" * 130]))
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, TEXTS, TEXTS, TEXTS), min_size=1, max_size=3)
F32 = memoryview(np.float32(0.1).tobytes())
AGES = {
    "a truth": ("FP64", [1], [True]),
    "whole numbers with a fraction": ("INT64", [1], [1.5]),
    "whole numbers": ("INT64", [1], [3]),
    "a column of one": ("FP64", [1, 1], [[2.0]]),
    "more values than the shape says": ("FP64", [1], [2.0, 3.0]),
    "cut off": ("FP64", [1], None, memoryview(b"1234567")),
    "single precision": ("FP32", [1], None, F32),
    "a number that is text": ("FP64", [1], ["7"]),
    "an unknown datatype": ("COMPLEX", [1], [1.0]),
}
JOBS = {
    "a text that is a number": ("INT64", [1], [7]),
    "not UTF-8": ("BYTES", [1], None, memoryview(b"\1\0\0\0\xff")),
    "a text in a row of its own": ("BYTES", [1, 1], [["a"]]),
}


def renamed(inputs):
    """By the column's own name, not its keyword."""
    return [WireTensor("n°", t.datatype, t.shape, t.data, t.binary) if t.name == "n_" else t for t in inputs]


CHANGES = {
    "nothing": lambda inputs: inputs,
    "backwards": lambda inputs: inputs[::-1],
    "one missing": lambda inputs: inputs[:-1],
    "one twice": lambda inputs: [*inputs, inputs[0]],
    "unknown": lambda inputs: [*inputs[1:], WireTensor("other", "FP64", [1], [1.0])],
    "renamed": renamed,
    **{name: lambda inputs, to=to: [WireTensor("age", *to), *inputs[1:]] for name, to in AGES.items()},
    **{name: lambda inputs, to=to: [*inputs[:2], WireTensor("job", *to), *inputs[3:]] for name, to in JOBS.items()},
}


@settings(max_examples=120, deadline=None)
@given(rows=ROWS, binary=st.booleans(), truths=st.booleans(), change=st.sampled_from(sorted(CHANGES)))
def test_all_together_is_one_after_the_other(rows, binary, truths, change):
    """The same columns, or the same words of refusal."""
    columns = dict(zip(KINDS, map(list, zip(*rows, strict=True)), strict=True))
    inputs = CHANGES[change]([tensor(name, values, binary=binary) for name, values in columns.items()])
    truths = change == "a truth" or truths  # where there is one, the server says so
    fast = outcome(lambda: READER.read(inputs, max_rows=2, truths=truths))
    assert fast == outcome(lambda: raw_from_tensors(inputs, SIGNATURE, SCHEMA, max_rows=2))


@pytest.mark.parametrize("binary", [True, False])
def test_the_usual_request_is_one_matrix(binary):
    """Else it would be right, and slow."""
    values = {"age": [1.0, 2.0], "n°": [3.0, 4.0], "job": ["a", "b"], "note": ["", "c"], "flag": ["true", "No"]}
    raw = READER.read([tensor(name, each, binary=binary) for name, each in values.items()], max_rows=2)
    assert isinstance(raw, RawColumns)
    assert raw.matrix.tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert raw.numbers == ("age", "n°")
    assert raw["n°"].tolist() == [3.0, 4.0]
    assert raw["job"].tolist() == ["a", "b"]
    assert raw["flag"].tolist() == ["true", "no"]


def test_the_encoder_takes_the_matrix_as_it_takes_columns():
    """(x − 10) / 5 clipped to ±2; a missing number is 0 and flagged."""
    numeric = [
        NumericTransform(name=name, mean=10.0, std=5.0, clip=2.0, indicator=name == "b") for name in ("a", "b", "c")
    ]
    transform = TransformSpec(numeric=tuple(numeric), label=LabelTransform(name="y", classes=None))
    matrix = np.array([[5.0, 10.0, np.inf], [1e308, np.nan, 15.0], [-1e308, 20.0, 10.0]])
    names = ("a", "b", "c")
    together = Encoder(transform, ["numeric"])(RawColumns(matrix, names))["numeric"]
    expected = {
        "numeric/a": [-1.0, 2.0, -2.0],
        "numeric/b": [0.0, 0.0, 2.0],
        "missing/b": [0.0, 1.0, 0.0],
        "numeric/c": [0.0, 1.0, 0.0],
    }
    places = [part.name for part in transform.parts["numeric"]]
    assert together.tolist() == np.array([expected[name] for name in places]).T.tolist()
    apart = Encoder(transform, ["numeric"])(dict(RawColumns(matrix, names)))["numeric"]
    reordered = Encoder(transform, ["numeric"])(RawColumns(matrix[:, ::-1], names[::-1]))["numeric"]
    assert together.tolist() == apart.tolist() == reordered.tolist()


def test_requests_are_counted_by_code_and_by_time():
    requests = Requests()
    for code, seconds in ((200, 0.001), (200, 0.002), (422, 0.3), (200, 11.0)):
        requests.add(code, seconds)
    codes, seconds = requests.collect()
    assert {sample.labels["code"]: sample.value for sample in codes.samples} == {"200": 3, "422": 1}
    found = {(sample.name, sample.labels.get("le")): sample.value for sample in seconds.samples}
    prefix = "nasflow_request_seconds"
    edges = ("0.001", "0.0025", "0.25", "0.5", "10.0", "+Inf")
    assert [found[f"{prefix}_bucket", edge] for edge in edges] == [1, 2, 2, 3, 3, 4]  # an edge belongs to its bucket
    assert found[f"{prefix}_count", None] == 4
    assert found[f"{prefix}_sum", None] == pytest.approx(11.303)


def test_a_list_that_is_nested_too_deep_is_refused():
    entry = Input(column="tags", tensor="tags", kind="list", dtype="string", shape=(None,))
    deep = WireTensor("tags", "BYTES", [1], ["[" * 100_000])
    with pytest.raises(DataError, match="input 'tags': row 1: "):
        column(deep, entry, SCHEMA)
