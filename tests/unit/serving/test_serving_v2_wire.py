"""The Open Inference Protocol's bytes, both ways."""

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasflow.serving import v2
from nasflow.serving.errors import MalformedError

DTYPES = {"FP64": np.float64, "FP32": np.float32, "INT64": np.int64, "UINT8": np.uint8, "INT8": np.int8, "BOOL": bool}


def request(tensors, **more):
    """[(name, datatype, array)] as a binary request: body, length of its JSON."""
    blobs, entries = [], []
    for name, datatype, values in tensors:
        if datatype == "BYTES":
            blob = b"".join(len(each).to_bytes(4, "little") + each for each in values.reshape(-1))
        else:
            blob = values.tobytes()
        blobs.append(blob)
        parameters = {"binary_data_size": len(blob)}
        entries.append({"name": name, "datatype": datatype, "shape": list(values.shape), "parameters": parameters})
    head = orjson.dumps({"inputs": entries, **more})
    return head + b"".join(blobs), b"%d" % len(head)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from([*DTYPES, "BYTES"]),
    shape=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_binary_tensors_come_back_as_they_were_sent(kind, shape, seed):
    rng = np.random.default_rng(seed)
    if kind == "BYTES":
        values = np.empty(shape, object)
        values.reshape(-1)[:] = [rng.bytes(int(rng.integers(0, 300))) for _ in range(values.size)]
    else:
        values = rng.integers(0, 2 if kind == "BOOL" else 100, shape).astype(DTYPES[kind])
    other = np.array([1.5], np.float32)
    body, length = request([("x", kind, values), ("y", "FP32", other)])
    first, second = v2.parse(body, length).inputs
    assert first.as_numpy().tolist() == values.tolist()
    assert first.as_numpy().shape == tuple(shape)
    assert second.as_numpy().tolist() == [1.5]


def test_a_response_has_what_was_asked_for_as_it_was_asked_for():
    values = {"probabilities": np.array([[0.25, 0.75]], np.float32), "label": np.array(["größe"], object)}
    kinds = {"probabilities": "FP32", "label": "BYTES"}
    asked = [{"name": "label", "parameters": {"binary_data": True}}, {"name": "probabilities"}]
    body, length = request([], outputs=asked, id="7")
    made, size = v2.respond(values, kinds, v2.parse(body, length), model="m", version="3", request_id="7")
    content = orjson.loads(made[:size])
    assert (content["model_name"], content["model_version"], content["id"]) == ("m", "3", "7")
    assert content["outputs"] == [
        {"name": "label", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 11}},
        {"name": "probabilities", "shape": [1, 2], "datatype": "FP32", "data": [0.25, 0.75]},
    ]
    assert made[size:] == b"\x07\x00\x00\x00" + "größe".encode()


@pytest.mark.parametrize(
    ("cut", "message"),
    [(-1, "binary_data_size is 8, 7 bytes are left"), (None, "1 bytes follow the tensors")],
)
def test_a_body_of_another_length_is_malformed(cut, message):
    body, length = request([("x", "FP64", np.array([1.0]))])
    body = body[:cut] if cut else body + b"\0"
    with pytest.raises(MalformedError, match=message):
        v2.parse(body, length)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"\1\0\0", "a value's length is cut off at byte 0"),
        (b"\5\0\0\0abc", "a value of 5 bytes begins at byte 4 of 7"),
        (b"\1\0\0\0a\1\0\0\0b", "2 values, the shape needs 1"),
    ],
)
def test_damaged_texts_are_named(blob, message):
    tensor = v2.WireTensor(name="x", datatype="BYTES", shape=[1], binary=memoryview(blob))
    with pytest.raises(ValueError, match=message):
        tensor.as_numpy()


@given(
    texts=st.lists(st.text(max_size=4) | st.text("ab", min_size=126, max_size=130), max_size=4), cut=st.integers(0, 3)
)
def test_short_texts_are_what_the_slow_way_reads_or_nothing(texts, cut):
    encoded = [text.encode() for text in texts]
    data = b"".join(len(each).to_bytes(4, "little") + each for each in encoded)
    found = v2.short_texts(memoryview(data))
    plain = all(each.isascii() and len(each) < 128 for each in encoded)
    assert found == (texts if plain else None)
    if cut and data:
        short = data[:-cut]
        tensor = v2.WireTensor(name="x", datatype="BYTES", shape=[len(texts)], binary=memoryview(short))
        read = v2.short_texts(memoryview(short))
        try:
            slow = [each.decode() for each in tensor.as_numpy().tolist()]
        except ValueError:
            slow = None  # cut off, or another number than the shape says
        assert read is None or len(read) != len(texts) or read == slow


@pytest.mark.parametrize("length", [b"-1", b"x", b"99999"])
def test_a_wrong_header_is_named(length):
    with pytest.raises(MalformedError, match="inference-header-content-length: must be 0 to"):
        v2.parse(b"{}", length)


def test_a_shape_costs_nothing_that_the_data_does_not_have():
    """An array of ten trillion places of nothing takes hours to give back."""
    tensor = v2.WireTensor("x", "BYTES", [10**13], None, memoryview(b"\1\0\0\0a"))
    with pytest.raises(ValueError, match="1 values, the shape needs 10000000000000"):
        tensor.as_numpy()
