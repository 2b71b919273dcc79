"""The fast ways in are the slow ones, only faster: rows to columns, columns to tensors."""

import json

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.models import test_served_parity as served_parity
from tests.unit.train import made_data

from nasflow.core.errors import DataError
from nasflow.data.apply import apply
from nasflow.data.raw import raw_batch
from nasflow.data.schema import Column, ImageFormat, Label, Schema
from nasflow.data.transform import CategoricalTransform, LabelTransform, NumericTransform, TransformSpec
from nasflow.data.transforms.text import TextTransform
from nasflow.serving.columns import ColumnReader, may_hold_truths
from nasflow.serving.encoding import Encoder

KINDS = ("numeric", "integer", "boolean", "categorical", "text", "datetime", "list", "vector")
SCHEMA = Schema(
    task="tabular_regression",
    columns=tuple(
        Column(name=kind, kind=kind, dtype="x", missing=True, reason="test", length=2 if kind == "vector" else None)
        for kind in KINDS
    ),
    ignored={"id": "identifier"},
    image=None,
    label=Label(name="y", dtype="double", classes=None),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.sampled_from(["", "true", "No", "größe", "2024-05-17", "7"]),
    st.lists(st.one_of(st.none(), st.floats(), st.booleans(), st.text(max_size=3)), max_size=3),
    st.just({"a": 1}),
)
GOOD = {
    "numeric": st.one_of(st.none(), st.integers(-9, 9), st.floats(allow_nan=False)),
    "integer": st.one_of(st.none(), st.integers(-9, 9)),
    "boolean": st.one_of(st.none(), st.booleans(), st.sampled_from(["yes", "F"])),
    "categorical": st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
    "text": st.one_of(st.none(), st.text(max_size=3)),
    "datetime": st.sampled_from([None, "2024-05-17", "1970-01-01T00:00:01Z"]),
    "list": st.lists(st.text(max_size=3), max_size=3),
    "vector": st.lists(st.one_of(st.none(), st.integers(-9, 9)), min_size=2, max_size=2),
}
ROWS = st.lists(st.fixed_dictionaries(GOOD), min_size=1, max_size=4)


def outcome(read, rows):
    try:
        raw = read(rows)
    except DataError as error:
        return str(error)
    return {name: [repr(value) for value in values.reshape(-1).tolist()] for name, values in raw.items()}


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, name=st.sampled_from([*KINDS, "id", "other", None]), value=VALUES, place=st.integers(0, 3))
def test_rows_are_read_as_raw_batch_reads_them(rows, name, value, place):
    """Good rows; then any value in any column, or a column too many: the same columns, or the same words of refusal."""
    if name is not None:
        rows[place % len(rows)][name] = value
    truths = may_hold_truths(json.dumps(rows).encode())
    quick = lambda r: ColumnReader(SCHEMA).read(r, truths=truths)  # noqa: E731
    fast, slow = (outcome(read, rows) for read in (quick, lambda r: raw_batch(r, SCHEMA)))
    assert fast == slow


def test_a_missing_column_and_rows_that_are_none_are_refused_alike():
    for rows in ([{}], [[1]], [{"numeric": 1}, 7]):
        assert outcome(ColumnReader(SCHEMA).read, rows) == outcome(lambda r: raw_batch(r, SCHEMA), rows)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_read_as_raw_batch_reads_them(channels):
    schema = SCHEMA.model_copy(
        update={
            "columns": (Column(name="i", kind="image", dtype="x", missing=False, reason="test"),),
            "image": ImageFormat(height=2, width=3, channels=channels, encoding="array"),
        }
    )
    good = np.arange(6 * channels).reshape(2, 3, channels).tolist()
    cases = [
        good,
        good[:1],
        [[256] * 3] * 2,
        [[1.5] * 3] * 2,
        [[[-1] * channels] * 3] * 2,
        [[1, 2, 3], [1, 2]],
        "x",
        [7],
    ]
    cases += [np.zeros((2, 3), int).tolist(), [[[True] * channels] * 3] * 2]
    for case in cases:
        rows = [{"i": good}, {"i": case}]
        assert outcome(ColumnReader(schema).read, rows) == outcome(lambda r: raw_batch(r, schema), rows), case


FLOATS = st.one_of(st.floats(), st.integers(-4, 14).map(float), st.just(-0.0), st.just(5e-324))


@settings(max_examples=100, deadline=None)
@given(
    numbers=st.lists(st.tuples(FLOATS, FLOATS, st.sampled_from(["red", "größe", "", "new"])), min_size=1, max_size=6)
)
def test_the_encoder_is_apply(numbers):
    _, transform = made_data.table()
    a, b, text = zip(*numbers, strict=True)
    words = np.empty(len(text), object)
    words[:] = text
    raw = {"capital gain": np.array(a), "1st": np.array(b), "native-country": words}
    expected = apply(transform, raw)
    encoded = Encoder(transform, list(expected))(raw)
    assert {name: values.dtype for name, values in encoded.items()} == {n: v.dtype for n, v in expected.items()}
    for name, values in expected.items():
        np.testing.assert_array_equal(encoded[name], values, err_msg=name)
    assert set(Encoder(transform, ["discrete"])(raw)) == {"discrete"}


@settings(max_examples=40, deadline=None)
@given(rows=served_parity.rows.filter(bool))
def test_the_encoder_is_apply_for_every_family_and_setting(rows):
    """The families of `nasflow.data.transforms` with their settings; texts have tensors of their own."""
    text = TextTransform(name="job", place=0, vocabulary=("cook",), buckets=2, length=3)
    transform = served_parity.SPEC.model_copy(update={"text": (text,)})
    raw = {}
    for (name, kind), values in zip(served_parity.KINDS.items(), zip(*rows, strict=True), strict=True):
        if kind in ("numeric", "integer", "datetime", "vector"):
            raw[name] = np.array(values, np.float64)
        else:
            raw[name] = np.empty(len(values), object)
            raw[name][:] = values
    expected = apply(transform, raw)
    assert "text_0" in expected
    encoded = Encoder(transform, list(expected))(raw)
    assert encoded.keys() == expected.keys()
    for name, values in expected.items():
        assert encoded[name].dtype == values.dtype
        np.testing.assert_array_equal(encoded[name], values, err_msg=name)


def test_a_family_that_the_encoder_does_not_know_is_encoded_by_its_own_arithmetic():
    class Halved(NumericTransform):
        """Not `NumericTransform` itself: perhaps it does something else."""

        def apply(self, values):
            return [np.asarray(values / 2, np.float32)]

    halved = Halved(name="x", mean=0.0, std=1.0, indicator=False)
    transform = TransformSpec.model_construct(
        numeric=(halved, NumericTransform(name="z", mean=1.0, std=2.0, indicator=False)),
        discrete=(),
        categorical=(CategoricalTransform(name="c", vocabulary=("", "a")),),
        image=None,
        label=LabelTransform(name="y", classes=None),
    )
    raw = {"x": np.array([4.0]), "z": np.array([5.0]), "c": np.array([""], object)}
    encoded = Encoder(transform, ["numeric", "categorical"])(raw)
    assert encoded["numeric"].tolist() == [[2.0, 2.0]]  # 4 / 2 and (5 − 1) / 2
    assert encoded["categorical"].tolist() == apply(transform, raw)["categorical"].tolist() == [[0]]


def test_json_numbers_survive():
    """orjson, which the server reads with, gives the doubles that were sent."""
    assert orjson.loads(b"[0.1, 1e308, 18446744073709551615, -0.0]") == [0.1, 1e308, 2**64 - 1, -0.0]
