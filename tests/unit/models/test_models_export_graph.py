"""The transform in the served graph against the transform in NumPy: the same tensors for whatever rows come."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nasflow.data.apply import apply
from nasflow.data.schema import Column, ImageFormat, Label, Schema
from nasflow.data.transform import (
    CategoricalTransform,
    DiscreteTransform,
    ImageTransform,
    LabelTransform,
    NumericTransform,
    TransformSpec,
)
from nasflow.models.tensor_names import tensor_names

# Neighbours in float64, far nearer than float32 tells apart; the smallest normal number; the largest.
KNOWN = (-1e308, -1e6, 0.0, 2.0**-1022, 0.1, float(np.nextafter(0.1, 1)), 2.0**53, 2.0**53 + 2, 1.7976931348623157e308)
WORDS = ("blue", "", "größe", "a b", "Ω🙂", "NaN", "x\x00y")


def _column(name, kind):
    return Column(name=name, kind=kind, dtype="double", missing=False, reason="made for a test")


TABLE = Schema(
    task="tabular_classification",
    columns=(_column("capital gain", "numeric"), _column("1st", "numeric"), _column("", "categorical")),
    ignored={},
    image=None,
    label=Label(name="y", dtype="string", classes=("no", "yes")),
)
TRANSFORM = TransformSpec(
    numeric=(
        NumericTransform(name="capital gain", mean=1.5, std=0.3, indicator=True),
        NumericTransform(name="1st", mean=-1e6, std=3e4, clip=2.0, indicator=False),
    ),
    discrete=(
        DiscreteTransform(name="1st", values=KNOWN),
        DiscreteTransform(name="capital gain", values=(0.0,)),
    ),
    categorical=(CategoricalTransform(name="", vocabulary=("blue", "größe", "a b", "x\x00y")),),
    label=LabelTransform(name="y", classes=("no", "yes")),
)


def _graph(schema, transform):
    from nasflow.models.served_graph import ServedGraph

    return ServedGraph(None, schema=schema, transform=transform)


def _image(height, width, channels, encoding):
    schema = Schema(
        task="image_classification",
        columns=(_column("image", "image"),),
        ignored={},
        image=ImageFormat(height=height, width=width, channels=channels, encoding=encoding),
        label=Label(name="y", dtype="string", classes=("no", "yes")),
    )
    spec = ImageTransform(
        name="image", height=height, width=width, channels=channels, mean=(0.0,) * channels, std=(1.0,) * channels
    )
    return schema, TransformSpec(image=spec, label=LabelTransform(name="y", classes=("no", "yes")))


@pytest.fixture(scope="module")
def tensors():
    """The graph's transform of TABLE, compiled once."""
    import tensorflow as tf

    graph = _graph(TABLE, TRANSFORM)
    function = tf.function(
        lambda a, b, c: graph.tensors({"capital gain": a, "1st": b, "": c}),
        input_signature=[tf.TensorSpec([None], tf.float64)] * 2 + [tf.TensorSpec([None], tf.string)],
    )

    def run(raw):
        texts = tf.constant(raw[""], tf.string, shape=[len(raw[""])])
        return {name: value.numpy() for name, value in function(raw["capital gain"], raw["1st"], texts).items()}

    run.graph = graph  # keeps the tables alive
    return run


def _raw(rows):
    text = np.empty(len(rows), object)
    text[:] = [row[2] for row in rows]
    return {
        "capital gain": np.array([row[0] for row in rows], np.float64),
        "1st": np.array([row[1] for row in rows], np.float64),
        "": text,
    }


def test_the_graph_by_hand(tensors):
    found = tensors(_raw([(1.8, -970_000.0, "blue"), (np.nan, np.inf, ""), (1e308, -1e308, "never seen")]))
    # (1.8 − 1.5) / 0.3 = 1; (−970k + 1M) / 30k = 1. Missing: 0 and the indicator. Huge: the clips, 10 and 2.
    np.testing.assert_allclose(found["numeric"], [[1, 1, 0], [0, 0, 1], [10, -2, 0]], rtol=1e-6)
    assert found["categorical"].tolist() == [[2], [0], [1]]
    assert found["discrete"].tolist() == [[1, 1], [0, 0], [2, 1]]  # −1e308 is the first of KNOWN; inf counts as missing


def test_a_known_value_is_found_exactly(tensors):
    known = np.array(KNOWN)
    wanted = np.concatenate([known, np.nextafter(known[1:-1], 0), [-0.0, 5e-324, -5e-324, 0.1 + 1e-18]])
    found = tensors(_raw([(0.0, value, "") for value in wanted]))["discrete"]
    # By hand: each at its place + 2. Its neighbour towards 0 is none of them, but for 0.0 itself, 2⁻¹⁰²² (a subnormal
    # one: 0.0), and the two whose neighbours are the value before.
    places = [*range(2, 11), 1, 4, 4, 1, 6, 1, 8, 4, 4, 4, 6]
    assert found[:, 0].tolist() == places
    assert (found[:, 1] == 2).all()


numbers = st.one_of(
    st.floats(width=64, allow_nan=True, allow_infinity=True),
    st.floats(-3, 3),
    st.sampled_from([-1e6, 1e308, 5e-324]),
    st.sampled_from([sign * value for value in KNOWN for sign in (1, -1)]),
)
texts = st.one_of(st.sampled_from(WORDS), st.text(st.characters(exclude_categories=["Cs"]), max_size=8))


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(numbers, numbers, texts), min_size=1, max_size=9))
def test_graph_and_numpy_agree_on_any_row(tensors, rows):
    raw = _raw(rows)
    expected, found = apply(TRANSFORM, raw), tensors(raw)
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


def test_an_empty_batch(tensors):
    found = tensors(_raw([]))
    assert found["numeric"].shape == (0, 3)
    assert found["categorical"].shape == (0, 1)
    assert found["discrete"].shape == (0, 2)


def test_a_column_without_vocabulary_knows_nothing():
    import tensorflow as tf

    transform = TRANSFORM.model_copy(
        update={"numeric": (), "discrete": (), "categorical": (CategoricalTransform(name="", vocabulary=()),)}
    )
    found = _graph(TABLE, transform).tensors({"": tf.constant(["", "a"])})
    assert list(found) == ["categorical"]
    assert found["categorical"].numpy().tolist() == [[0], [1]]


def _encoded(pixels, form, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def _picture(rng, height, width, channels):
    """Smooth, as photographs are, plus some noise."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 90 * np.sin(y / 7 + k) * np.cos(x / 9 - k) for k in range(channels)]
    pixels = np.clip(np.stack(waves, -1) + rng.normal(0, 6, (height, width, channels)), 0, 255).astype(np.uint8)
    return pixels[:, :, 0] if channels == 1 else pixels


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("form", "source", "options"),
    [
        ("PNG", 3, {}),
        ("PNG", 1, {}),
        ("PNG", 4, {}),
        ("JPEG", 3, {"quality": 90}),
        ("JPEG", 3, {"quality": 60, "subsampling": 2}),
        ("JPEG", 1, {}),
        ("BMP", 3, {}),
        ("GIF", 1, {}),
        ("WEBP", 3, {"lossless": True}),
    ],
)
def test_encoded_images_differ_by_a_grey_level_at_most(channels, form, source, options):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    schema, transform = _image(24, 32, channels, "bytes")
    raw = np.empty(3, object)
    raw[:] = [_encoded(_picture(rng, h, w, source), form, **options) for h, w in [(61, 80), (24, 32), (12, 10)]]
    expected = apply(transform, {"image": raw})["image"].astype(int)
    found = _graph(schema, transform).tensors({"image": tf.constant(raw, tf.string)})["image"].numpy().astype(int)
    assert found.shape == (3, 24, 32, channels)
    assert np.abs(found - expected).max() <= 1
    if form != "JPEG":  # no decoder's freedom, no resizing: every byte is equal
        assert (found[1] == expected[1]).all()


def test_sixteen_bits_and_palettes():
    import tensorflow as tf

    schema, transform = _image(8, 8, 3, "bytes")
    deep = (np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).astype(np.uint16)
    palette = io.BytesIO()
    Image.fromarray(_picture(np.random.default_rng(0), 8, 8, 3)).quantize(16).save(palette, "PNG")
    raw = np.empty(2, object)
    raw[:] = [_encoded(deep, "PNG"), palette.getvalue()]
    found = _graph(schema, transform).tensors({"image": tf.constant(raw, tf.string)})["image"].numpy()
    assert (found == apply(transform, {"image": raw})["image"]).all()


def test_no_encoded_images_at_all():
    import tensorflow as tf

    schema, transform = _image(8, 6, 1, "bytes")
    found = _graph(schema, transform).tensors({"image": tf.constant([], tf.string)})["image"]
    assert found.shape == (0, 8, 6, 1)


def test_arrays_of_another_size_are_resized_as_pillow_does():
    import tensorflow as tf

    schema, transform = _image(20, 20, 3, "array")
    images = np.stack([_picture(np.random.default_rng(k), 47, 33, 3) for k in range(2)])
    expected = apply(transform, {"image": images})["image"].astype(int)
    found = _graph(schema, transform).tensors({"image": tf.constant(images)})["image"].numpy().astype(int)
    assert np.abs(found - expected).max() <= 1


def test_tensor_names_are_unique_identifiers():
    columns = ["capital gain", "capital-gain", "Capital_Gain", "1st", "", "年龄", "class", "self", "capital_gain_2"]
    names = tensor_names(columns)
    assert list(names) == columns
    assert len({name.lower() for name in names.values()}) == len(columns)
    assert all(name.isidentifier() and name.isascii() for name in names.values())
    assert (names["capital gain"], names["1st"], names["class"]) == ("capital_gain", "c_1st", "class_")


@given(st.lists(st.text(max_size=6), unique=True, max_size=12))
def test_tensor_names_of_anything(columns):
    import keyword

    names = tensor_names(columns).values()
    assert len({name.lower() for name in names}) == len(columns)
    assert all(name.isidentifier() and name.isascii() and not keyword.iskeyword(name) for name in names)
