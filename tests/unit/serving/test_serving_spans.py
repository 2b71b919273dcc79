"""Requests of many rows, read where they are: the columns and the ids that they have when read one value at a time."""

import json
import struct

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.serving.test_serving_tensor_reader import CHANGES, KINDS, SCHEMA, SIGNATURE, outcome, tensor

from nasflow.core.errors import NasflowError
from nasflow.data.schema import MAX_TEXT_BYTES
from nasflow.data.transform import CategoricalTransform, LabelTransform, TransformSpec
from nasflow.serving import v2
from nasflow.serving.columns import ColumnReader
from nasflow.serving.encoding import Encoder
from nasflow.serving.errors import MalformedError
from nasflow.serving.json_tensors import JsonTensors
from nasflow.serving.raw_columns import RawColumns
from nasflow.serving.spans import Spans, brackets, prefixed, quoted
from nasflow.serving.tensor_reader import TensorReader
from nasflow.serving.vocabularies import Vocabularies

# Without the column whose texts are "true" and "false": such requests are read another way.
COLUMNS = [name for name in KINDS if name != "flag"]
SCHEMA = SCHEMA.model_copy(update={"columns": tuple(each for each in SCHEMA.columns if each.name != "flag")})
SIGNATURE = SIGNATURE.model_copy(update={"inputs": tuple(each for each in SIGNATURE.inputs if each.column != "flag")})
SLOW = TensorReader(SIGNATURE, SCHEMA)
ROWS_OF = ColumnReader(SCHEMA)
FAST = JsonTensors(SIGNATURE, SCHEMA, least_bytes=0)  # as of many rows
FEW = JsonTensors(SIGNATURE, SCHEMA)

PLAIN = st.text(st.characters(exclude_characters='"\\[', exclude_categories=["Cs", "Cc"]), max_size=20)
WORDS = st.sampled_from(["", "a", "value-1", "value-12", "größe", "x" * 15, "x" * 16, "x" * 17, "x" * 63, "x" * 64])


def blob(texts):
    encoded = [text.encode() for text in texts]
    return memoryview(b"".join(struct.pack("<I", len(each)) + each for each in encoded))


def columns_of(texts):
    return st.integers(1, 5).flatmap(
        lambda rows: st.lists(st.lists(texts, min_size=rows, max_size=rows), min_size=1, max_size=3)
    )


@settings(max_examples=100, deadline=None)
@given(columns=columns_of(PLAIN | WORDS), dumps=st.sampled_from([orjson.dumps, lambda c: json.dumps(c).encode()]))
def test_texts_of_json_are_found_where_they_are(columns, dumps):
    body = dumps({"numbers": [1, 2], "texts": columns, "more": "texts"})
    places = brackets(body)
    found = quoted(body, places, len(columns[0]), len(columns))
    if b"\\" in body:
        assert found is None
    else:
        assert [found.texts(place).tolist() for place in range(len(columns))] == columns
        assert found.only([0]).texts(0).tolist() == columns[0]


@pytest.mark.parametrize(
    "arrays",
    [
        ['["a",null]'],
        ['["a",1]', '["b","c"]'],
        ['[null,"a"]'],
        ['["a",["b"]]'],
        ['["a\\n","b"]'],
        ['["a",  "b"]'],
        ['["a","b"]', '["c",7]'],
        ['["a",{"b":1}]'],
        ['["a",{"b":"c"}]'],
    ],
)
def test_what_is_not_all_texts_is_not_read_as_texts(arrays):
    """Of two rows each."""
    body = ("{" + ",".join(f'"{place}":{each}' for place, each in enumerate(arrays)) + ',"x":"y"}').encode()
    assert orjson.loads(body)
    assert quoted(body, brackets(body), 2, len(arrays)) is None


@settings(max_examples=150, deadline=None)
@given(columns=columns_of(PLAIN | WORDS | st.sampled_from(["", "", "a\0", "\0\0\0", "x" * 127, "x" * 128, "x" * 255])))
def test_binary_texts_are_found_where_they_are(columns):
    """Empty ones, too, which look like more lengths than there are."""
    found = prefixed([blob(texts) for texts in columns], len(columns[0]))
    usual = all(text.isascii() and "\0" not in text and len(text) < 128 for texts in columns for text in texts)
    assert found is not None or not usual
    if found is not None:
        assert [found.texts(place).tolist() for place in range(len(columns))] == columns


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=24) | st.lists(st.sampled_from([0, 0, 0, 1, 2, 97]), max_size=24).map(bytes))
def test_binary_texts_are_those_that_are_read_one_by_one_or_none(data):
    for rows in range(1, 5):
        found = prefixed([memoryview(data)], rows)
        if found is not None:
            texts = v2.WireTensor("x", "BYTES", [rows], None, memoryview(data)).as_numpy()
            assert [each.encode() for each in found.texts(0).tolist()] == texts.tolist()


@settings(max_examples=60, deadline=None)
@given(
    columns=columns_of(PLAIN | WORDS),
    vocabularies=st.lists(st.sets(PLAIN | WORDS.filter(lambda word: len(word) < 64)), min_size=3, max_size=3),
)
def test_vocabularies_are_dicts(columns, vocabularies):
    ids = [{word: place for place, word in enumerate(words, 2)} | {"": 0} for words in vocabularies]
    ids = [words for words, _ in zip(ids, columns, strict=False)]
    found = Vocabularies(ids, unknown=1).ids(_spans(columns))
    assert found.dtype == np.int32
    assert found.tolist() == [[words.get(text, 1) for text in texts] for words, texts in zip(ids, columns, strict=True)]


def test_a_vocabulary_of_many_alike_words_has_a_table():
    words = {f"value-{place}": place + 2 for place in range(255)} | {"": 0}
    assert Vocabularies.fits(words)
    spans = _spans([["value-254", "value-255", "", "value-0"]])
    assert Vocabularies([words], unknown=1).ids(spans).tolist() == [[256, 1, 0, 2]]
    assert not Vocabularies.fits(words | {"one": 1})
    assert not Vocabularies.fits({"x" * 64: 2})
    assert not Vocabularies.fits({"x\0": 2})  # which a key takes for x


def _spans(columns):
    data = "".join(text for texts in columns for text in texts).encode() + b" " * 64
    lengths = np.array([[len(text.encode()) for text in texts] for texts in columns])
    starts = (np.cumsum(lengths) - lengths.reshape(-1)).reshape(lengths.shape)
    return Spans(data, starts, lengths)


def test_the_encoder_takes_spans_as_it_takes_columns():
    """In whatever order they came, and with a column that the network does not look at."""
    vocabularies = {"a": ("x", "größe"), "b": ("y",)}
    columns = [CategoricalTransform(name=name, vocabulary=words) for name, words in vocabularies.items()]
    transform = TransformSpec(categorical=tuple(columns), label=LabelTransform(name="y", classes=None))
    spans = _spans([["", "y", "x"], ["n", "n", "n"], ["größe", "z", "x"]])
    raw = RawColumns(np.empty((3, 0)), (), spans=spans, texts=("b", "c", "a"))
    encoded = Encoder(transform, ["categorical"])(raw)["categorical"]
    assert encoded.tolist() == [[3, 0], [1, 2], [2, 1]]
    assert encoded.tolist() == Encoder(transform, ["categorical"])(dict(raw))["categorical"].tolist()
    assert raw.keys() == {"a", "b", "c"}


def test_the_encoder_tells_words_apart_that_end_with_a_nul():
    column = CategoricalTransform(name="a", vocabulary=("x", "x\0"))
    transform = TransformSpec(categorical=(column,), label=LabelTransform(name="y", classes=None))
    raw = RawColumns(np.empty((2, 0)), (), spans=_spans([["x", "y"]]), texts=("a",))
    assert Encoder(transform, ["categorical"])(raw)["categorical"].tolist() == [[2], [1]]


# ---- whole bodies ----------------------------------------------------------------------------------------------------
def slowly(body):
    """What the request is without the fast way, or why it is refused."""
    try:
        request = v2.parse(body, None)
    except MalformedError as error:
        return str(error)
    return (request.id, request.outputs, request.binary), outcome(
        lambda: SLOW.read(request.inputs, max_rows=3, truths=request.truths)
    )


def quickly(body, reader=FAST):
    try:
        found = reader.read(body, max_rows=3)
    except NasflowError as error:
        return str(error)
    if found is None:
        return None
    request, raw = found
    return (request.id, request.outputs, request.binary), outcome(lambda: raw)


def written(inputs, dumps=orjson.dumps, **more):
    entries = [
        {"name": each.name, "datatype": each.datatype, "shape": each.shape, "data": each.data} for each in inputs
    ]
    return dumps({"id": "7", "inputs": entries, **more})


NUMBERS = st.one_of(st.none(), st.floats(), st.integers(-(2**63), 2**64 - 1), st.just(-0.0))
TEXTS = st.one_of(st.none(), PLAIN, WORDS, st.sampled_from(["[", "]", ",", '"', "\\", "a[b", "true", "\x00"]))
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, TEXTS, TEXTS), min_size=1, max_size=4)
IN_JSON = [name for name in CHANGES if name not in ("cut off", "single precision", "not UTF-8")]


@settings(max_examples=150, deadline=None)
@given(
    rows=ROWS,
    change=st.sampled_from(IN_JSON),
    spaced=st.booleans(),
    more=st.sampled_from(
        [{}, {"outputs": [{"name": "x"}]}, {"outputs": 7}, {"parameters": {"binary_data_output": True}}, {"z": [1]}]
    ),
)
def test_a_body_is_read_as_it_is_read_slowly(rows, change, spaced, more):
    """The same request and columns, or the same words of refusal; or it is left to the slow way."""
    columns = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    inputs = CHANGES[change]([tensor(name, values, binary=False) for name, values in columns.items()])
    body = written(inputs, (lambda content: json.dumps(content).encode()) if spaced else orjson.dumps, **more)
    for reader in (FAST, FEW):
        fast = quickly(body, reader)
        assert fast is None or fast == slowly(body)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_spoilt_body_is_read_as_it_is_read_slowly(data):
    """Any byte exchanged, left out or put in."""
    values = {"age": [1, 2.5], "n°": [-0.0, 1e3], "job": ["a", ""], "note": ["größe", "b c"]}
    body = written([tensor(name, each, binary=False) for name, each in values.items()], outputs=[{"name": "x"}])
    assert quickly(body) == quickly(body, FEW) == slowly(body)
    place = data.draw(st.integers(0, len(body)))
    put = data.draw(st.sampled_from([bytes([byte]) for byte in b'",:[]{}\\0-.e1 \n\0\xff'] + [b"null", b"true", b""]))
    spoilt = body[:place] + put + body[place + data.draw(st.integers(0, 1)) :]
    for reader in (FAST, FEW):
        fast = quickly(spoilt, reader)
        assert fast is None or fast == slowly(spoilt)


@pytest.mark.parametrize("keys", ["id", "inputs"])
def test_a_key_that_is_there_twice_is_left_to_the_slow_way(keys):
    """JSON's last one counts; simdjson finds the first."""
    usual = written([tensor(name, [1.0] if KINDS[name] == "numeric" else ["a"], binary=False) for name in ("age",)])
    assert FAST.read(usual[:-1] + b',"%b":[]}' % keys.encode(), max_rows=3) is None


@pytest.mark.parametrize("dumps", [orjson.dumps, lambda content: json.dumps(content, ensure_ascii=False).encode()])
def test_the_usual_body_is_read_fast(dumps):
    """Else it would be right, and slow. Nulls among the numbers are usual."""
    values = {"age": [1.0, None], "n°": [3, 4], "job": ["a", "größe"], "note": ["", "c"]}
    body = written([tensor(name, each, binary=False) for name, each in values.items()], dumps)
    _, raw = FAST.read(body, max_rows=2)
    assert raw.spans is not None
    assert repr(raw.matrix.tolist()) == "[[1.0, 3.0], [nan, 4.0]]"
    assert raw["job"].tolist() == ["a", "größe"]
    _, few = FEW.read(body, max_rows=2)
    assert repr(few.matrix.tolist()) == "[[1.0, 3.0], [nan, 4.0]]"
    assert few.words == {"job": ["a", "größe"], "note": ["", "c"]}
    assert FAST.read(body, max_rows=1) is FEW.read(body, max_rows=1) is None


def test_other_arrays_of_texts_are_no_columns():
    """With a blank behind its bracket the column's own one is not seen."""
    body = written([tensor(name, [1.0, 2.0] if KINDS[name] in ("numeric", "integer") else ["a", "b"], binary=False)
                    for name in COLUMNS])  # fmt: skip
    body = body.replace(b'["a","b"]', b'[ "a","b"]')
    body = body[:-1] + b',"tags":["c","d"],"more":["e","f"]}'
    fast = quickly(body)
    assert fast is None or fast == slowly(body)


def test_long_texts_are_refused_by_every_way():
    """As preprocess refuses them; a category may be as long."""
    values = {"age": [1.0], "n°": [3], "job": ["x" * (MAX_TEXT_BYTES + 1)], "note": ["y" * (MAX_TEXT_BYTES + 1)]}
    for name, said in (("note", "text of 1,048,577 bytes"), ("", None)):
        given = {key: ["z"] if key == "note" != name else each for key, each in values.items()}
        inputs = [tensor(key, each, binary=False) for key, each in given.items()]
        body = written(inputs)
        for reader in (FAST, FEW):
            fast = quickly(body, reader)
            assert fast is None or fast == slowly(body)
        rows = [{key: each[0] for key, each in given.items()}]
        for read in (lambda inputs=inputs: SLOW.read(inputs, max_rows=3), lambda rows=rows: ROWS_OF.read(rows)):
            found = outcome(read)
            assert said in found if said else found["job"][1] == [repr(values["job"][0])]


def test_columns_that_are_no_numbers_and_texts_are_left_to_the_slow_way():
    """Dates, which have to be understood."""
    inputs = [each.model_copy(update={"kind": "datetime"}) for each in SIGNATURE.inputs if each.column == "note"]
    reader = JsonTensors(SIGNATURE.model_copy(update={"inputs": tuple(inputs)}), SCHEMA, least_bytes=0)
    assert reader.read(written([tensor("note", ["2024-05-17"], binary=False)]), max_rows=2) is None


def test_long_binary_texts_are_looked_up_where_they_are():
    values = {"age": [1.0] * 256, "n°": [3.0] * 256, "job": ["a"] * 256, "note": ["", "c"] * 128}
    inputs = [tensor(name, each, binary=True) for name, each in values.items()]
    raw = SLOW.read(inputs, max_rows=256)
    assert raw.spans is not None
    assert raw["note"].tolist() == values["note"]
