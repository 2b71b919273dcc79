"""Every family of transforms, in NumPy and in the served graph: the same tensors for whatever rows come."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from nasflow.data.apply import apply
from nasflow.data.schema import LIST_SEPARATOR, Column, Label, Schema
from nasflow.data.transform import (
    CategoricalTransform,
    DateTransform,
    LabelTransform,
    ListTransform,
    NumericTransform,
    TransformSpec,
    VectorTransform,
)
from nasflow.data.transforms.dates import CYCLES, DateNumber
from nasflow.data.transforms.hashing import PRIME, hash_texts

KINDS = {
    "z": "numeric",
    "bounded": "numeric",
    "robust": "numeric",
    "range": "integer",
    "log": "numeric",
    "uniform": "numeric",
    "normal": "numeric",
    "when": "datetime",
    "day": "datetime",
    "job": "categorical",
    "hashed": "categorical",
    "flag": "boolean",
    "tags": "list",
    "codes": "list",
    "place": "vector",
}
NUMBERS = tuple(name for name, kind in KINDS.items() if kind in ("numeric", "integer"))
KNOTS = (-1e150, -3.0, 0.0, 2.0**-1000, 0.5, 1e6, 1e150)
SPEC = TransformSpec(
    numeric=(
        NumericTransform(name="z", mean=1.5, std=0.3, indicator=True),
        NumericTransform(name="bounded", mean=0.0, std=2.0, low=-1.0, high=5.0, fill=4.0, indicator=False),
        NumericTransform(name="robust", scaling="robust", mean=-2.0, std=7e-9, clip=3.0, fill=-2.0, indicator=True),
        NumericTransform(name="range", scaling="minmax", mean=-1e6, std=2e6, fill=0.0, indicator=False),
        NumericTransform(name="log", scaling="log", mean=2.0, std=1.7, fill=12.0, indicator=False),
        NumericTransform(
            name="uniform", scaling="quantile_uniform", mean=0.0, std=1.0, fill=1.0, indicator=True,
            knots=KNOTS, targets=(0.01, 0.2, 0.4, 0.45, 0.6, 0.9, 0.99),
        ),
        NumericTransform(
            name="normal", scaling="quantile_normal", mean=0.0, std=1.0, indicator=False,
            knots=(0.0, 1.0), targets=(-2.5, 2.5),
        ),
    ),
    categorical=(
        CategoricalTransform(name="job", vocabulary=("cook", "größe", "x\x00y")),
        CategoricalTransform(name="hashed", vocabulary=("cook",), oov_buckets=7),
        CategoricalTransform(name="flag", vocabulary=("true", "false")),
    ),
    dates=(
        DateTransform(
            name="when",
            numbers=(
                DateNumber(part="elapsed_days", mean=19_000.0, std=300.0),
                DateNumber(part="year", mean=2021.0, std=2.5),
            ),
            ids=("month", "day", "weekday", "hour", "day_of_year"),
            cyclical=tuple(CYCLES),
            weekend=True,
            indicator=True,
        ),
        DateTransform(name="day", ids=("weekday",), indicator=False),
    ),
    lists=(
        ListTransform(name="tags", vocabulary=("a", "größe", "Ω🙂")),
        ListTransform(name="codes", vocabulary=("1", "2"), oov_buckets=3),
    ),
    vectors=(VectorTransform(name="place", mean=(0.0, 1e5), std=(1.0, 1e-3), indicator=True),),
    label=LabelTransform(name="y", classes=("no", "yes")),
)  # fmt: skip
SCHEMA = Schema(
    task="tabular_classification",
    columns=tuple(
        Column(name=name, kind=kind, dtype="double", missing=True, reason="", length=2 if kind == "vector" else None)
        for name, kind in KINDS.items()
    ),
    ignored={},
    image=None,
    label=Label(name="y", dtype="string", classes=("no", "yes")),
)

ODD = (np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -5e-324, 2.0**-1022, 1.7976931348623157e308, -1e300, 1e-310)
numbers = st.one_of(st.floats(), st.sampled_from([*ODD, *KNOTS]), st.floats(-100, 100))
seconds = st.one_of(numbers, st.floats(-6.3e10, 2.6e11), st.integers(-(10**11), 10**11).map(float))
words = st.sampled_from(["", "cook", "größe", "Ω🙂", "x\x00y", "true", "1", "2", "a", "ﬀ" * 500])
texts = st.one_of(words, st.text(max_size=12))
lists = st.lists(texts.map(lambda text: text.replace(LIST_SEPARATOR, " ")), max_size=5).map(LIST_SEPARATOR.join)
VALUES = {
    "numeric": numbers,
    "integer": numbers,
    "datetime": seconds,
    "list": lists,
    "vector": st.tuples(numbers, numbers),
}
rows = st.lists(st.tuples(*(VALUES.get(kind, texts) for kind in KINDS.values())), max_size=9)


@pytest.fixture(scope="module")
def served():
    import tensorflow as tf

    from nasflow.models.served_graph import ServedGraph, raw_specs

    graph = ServedGraph(None, schema=SCHEMA, transform=SPEC)
    specs = raw_specs(SCHEMA)
    function = tf.function(graph.tensors, autograph=False).get_concrete_function(
        {
            name: tf.TensorSpec(spec.shape, spec.dtype, name=f"raw_{place}")
            for place, (name, spec) in enumerate(specs.items())
        }
    )

    def run(raw):
        tensors = {
            name: tf.constant(raw[name].tolist(), spec.dtype, shape=raw[name].shape) for name, spec in specs.items()
        }
        return {name: value.numpy() for name, value in function(tensors).items()}

    run.graph = graph  # keeps the tables alive
    return run


def _raw(made):
    raw = {}
    for place, (name, kind) in enumerate(KINDS.items()):
        column = [row[place] for row in made]
        if kind in ("numeric", "integer", "datetime", "vector"):
            raw[name] = np.array(column, np.float64).reshape((-1, 2) if kind == "vector" else -1)
        else:
            raw[name] = np.empty(len(made), object)
            raw[name][:] = column
    return raw


# Rows are small as they are; to shrink them further took minutes.
@settings(deadline=None, max_examples=150, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(made=rows)
def test_numpy_and_the_graph_agree_on_every_row(served, made) -> None:
    raw = _raw(made)
    expected, found = apply(SPEC, raw), served(raw)
    assert set(found) == set(expected)
    for tensor, values in expected.items():
        assert values.dtype == found[tensor].dtype
        assert values.shape == found[tensor].shape
        assert np.isfinite(values).all()
        # The logarithm may differ in the last bit, and a subnormal number be 0; all else is the same.
        np.testing.assert_allclose(found[tensor], values, rtol=3e-7, atol=1e-37)
    assert found["numeric"].shape[1] == SPEC.inputs.numeric == 7 + 2 + 3 + 2  # two of dates; flags: z … when, place
    assert found["plain"].shape[1] == SPEC.inputs.plain == 2 * 5 + 1 + 4 + 5 + 2


def test_no_rows(served) -> None:
    found = served(_raw([]))
    assert {name: values.shape for name, values in found.items()} == {
        "numeric": (0, 14), "plain": (0, 22), "categorical": (0, 9)
    }  # fmt: skip


def test_scalings_by_hand() -> None:
    def of(name, *values):
        spec = TransformSpec(numeric=tuple(column for column in SPEC.numeric if column.name == name), label=SPEC.label)
        return apply(spec, {name: np.array(values)})["numeric"].tolist()

    assert of("bounded", 9.0, -9.0, np.nan) == [[2.5], [-0.5], [2.0]]  # 5 / 2, −1 / 2, the fill 4 / 2
    assert of("range", -1e6, 1e6, np.inf) == [[0.0], [1.0], [0.5]]
    assert of("normal", 0.75, -9.0, 9.0, np.nan) == [[1.25], [-2.5], [2.5], [0.0]]  # −2.5 + .75 · 5
    log = of("log", np.expm1(3.7), -np.expm1(1.4), np.nan)
    assert log == pytest.approx(np.array([[1.0], [-2.0], [(np.log(13) - 2) / 1.7]]))
    uniform = of("uniform", 0.25, 1e300)
    assert uniform == pytest.approx(np.array([[0.525, 0.0], [0.99, 0.0]]))  # between .45 and .6, half way


@given(moment=st.datetimes())
def test_parts_of_dates_are_those_of_pythons_calendar(moment: dt.datetime) -> None:
    from nasflow.data.transforms.dates import date_parts

    seconds = (moment - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1) / 1e6
    found = {part: values[0] for part, values in date_parts(np.array([np.floor(seconds)])).items()}
    known = moment.timetuple()
    assert found["elapsed_days"] == np.floor(seconds) / 86_400
    assert [found[part] for part in ("year", "month", "day", "weekday", "hour", "day_of_year")] == [
        known.tm_year, known.tm_mon, known.tm_mday, known.tm_wday, known.tm_hour, known.tm_yday
    ]  # fmt: skip
    assert found["is_weekend"] == (known.tm_wday >= 5)


@given(text=st.text(max_size=40) | st.text(min_size=1, max_size=3).map(lambda part: part * 400))
def test_the_hash_is_its_definition(text: str) -> None:
    import pyarrow as pa

    data = text.encode()
    base = 1_103_515_245
    value = sum(byte * pow(base, place + 1, PRIME) for place, byte in enumerate(data[:1024])) + len(data) * base
    sliced = pa.array(["before", text, None])[1:]  # an offset in Arrow's buffers
    assert hash_texts(sliced).tolist() == [value % PRIME, 0]


def test_the_hash_is_fixed_for_ever_and_spreads() -> None:
    import pyarrow as pa

    assert hash_texts(pa.array(["", "a", "größe", "x\x00y", "a" * 2000])).tolist() == [
        0, 770311660, 653911136, 1483412876, 414705458
    ]  # fmt: skip
    counts = np.bincount(hash_texts(pa.array([f"user-{n:06d}" for n in range(64_000)])) % 64, minlength=64)
    # 1000 each but for chance: χ² of 63 degrees of freedom has a mean of 63 and a standard deviation of 11
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 63 + 5 * 11
