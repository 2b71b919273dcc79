"""apply: the TransformSpec's arithmetic, on numbers that can be worked out by hand."""

import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from pydantic import ValidationError

from nasflow.core.errors import DataError
from nasflow.data.apply import apply, decode_labels, encode_labels
from nasflow.data.image import decode, decode_resized, is_grayscale, resize
from nasflow.data.raw import raw_batch
from nasflow.data.schema import Schema
from nasflow.data.transform import (
    CategoricalTransform,
    ImageTransform,
    LabelTransform,
    NumericTransform,
    TransformSpec,
)

CLASSES = LabelTransform(name="y", classes=("a", "b"))
SPEC = TransformSpec(
    numeric=(
        NumericTransform(name="age", mean=10.0, std=2.0, indicator=True),
        NumericTransform(name="size", mean=0.0, std=1.0, indicator=False),
    ),
    categorical=(CategoricalTransform(name="job", vocabulary=("cook", "smith")),),
    label=CLASSES,
)


def _png(pixels: np.ndarray, form: str = "PNG") -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def test_numbers_are_scaled_clipped_and_flagged() -> None:
    age = np.array([14.0, np.nan, np.inf, 10.0, -np.inf, 1e308])
    job = np.array(["cook", "smith", "tailor", "", "cook", "cook"], object)
    tensors = apply(SPEC, {"age": age, "size": np.zeros(6), "job": job})
    # (14 − 10) / 2 = 2; missing and infinite are the mean, 0, flagged in the last column; 1e308 clips at 10
    assert tensors["numeric"].tolist() == [
        [2.0, 0.0, 0.0],
        [0.0, 0.0, 1.0],
        [0.0, 0.0, 1.0],
        [0.0, 0.0, 0.0],
        [0.0, 0.0, 1.0],
        [10.0, 0.0, 0.0],
    ]
    assert tensors["numeric"].dtype == np.float32
    assert tensors["categorical"].tolist() == [[2], [3], [1], [0], [2], [2]]
    assert tensors["categorical"].dtype == np.int32
    assert set(tensors) == {"numeric", "categorical"}


def test_edges_are_scaled_clipped_and_apart() -> None:
    # (x − 10) / 2: −4, 0, and 1e-7 above it, which is too near; 1e9 clips to 10, as does 1e300.
    column = SPEC.numeric[0].model_copy(update={"edges": (2.0, 10.0, 10.0 + 2e-7, 1e9, 1e300)})
    assert column.scaled_edges == (-4.0, 0.0, 10.0)
    assert column.model_copy(update={"edges": (1e9, 1e300)}).scaled_edges == ()  # both at the clip
    spec = SPEC.model_copy(update={"numeric": (column, SPEC.numeric[1])})
    assert spec.inputs.edges == ((-4.0, 0.0, 10.0), (), (0.0, 1.0))  # the last is the indicator
    assert SPEC.inputs.edges == ()


def test_a_document_of_version_1_is_read_and_one_of_the_future_refused() -> None:
    content = SPEC.model_dump()
    old = {
        **content,
        "version": 1,
        "numeric": [{k: v for k, v in c.items() if k != "edges"} for c in content["numeric"]],
    }
    del old["discrete"]
    assert TransformSpec.model_validate(old).inputs == SPEC.inputs
    with pytest.raises(ValidationError, match="version"):
        TransformSpec.model_validate({**content, "version": 4})


def test_arrow_text_gives_the_same_ids_as_numpy_text() -> None:
    spec = TransformSpec(categorical=SPEC.categorical, label=CLASSES)
    arrow = pa.array(["smith", None, "", "other"])
    plain = np.array(["smith", "", "", "other"], object)
    assert apply(spec, {"job": arrow})["categorical"].tolist() == [[3], [0], [0], [1]]
    assert apply(spec, {"job": plain})["categorical"].tolist() == [[3], [0], [0], [1]]


@given(nps.arrays(np.float64, st.integers(0, 20)))
def test_tensors_are_always_finite(values: np.ndarray) -> None:
    spec = TransformSpec(numeric=(SPEC.numeric[0],), label=CLASSES)
    numeric = apply(spec, {"age": values})["numeric"]
    assert numeric.shape == (len(values), 2)
    assert np.isfinite(numeric).all()
    assert (np.abs(numeric) <= 10).all()


def test_labels_round_trip_and_strangers_are_minus_one() -> None:
    ids = encode_labels(CLASSES, np.array(["b", "a", "c"], object))
    assert ids.tolist() == [1, 0, -1]
    assert ids.dtype == np.int32
    assert decode_labels(CLASSES, ids[:2]) == ["b", "a"]
    target = LabelTransform(name="y", classes=None, mean=1.0, std=2.0)
    assert encode_labels(target, np.array([1.5, 2.0])).tolist() == [1.5, 2.0]  # own units, not scaled
    assert decode_labels(target, np.array([1.5])) == [1.5]


def test_images_keep_their_bytes_at_their_own_size() -> None:
    pixels = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4, 1)
    assert resize(pixels, height=4, width=4) is pixels
    assert np.array_equal(decode_resized(_png(pixels[0, :, :, 0]), height=4, width=4, channels=1), pixels[0])


def test_resizing_halves_by_averaging() -> None:
    # Antialiased bilinear from 2 × 2 to 1 × 1 weighs all four pixels alike: (0 + 100 + 100 + 200) / 4 = 100
    pixels = np.array([[[[0], [100]], [[100], [200]]]], np.uint8)
    assert resize(pixels, height=1, width=1).tolist() == [[[[100]]]]


def test_apply_decodes_and_names_the_row_of_a_damaged_file() -> None:
    image = ImageTransform(name="image", height=2, width=2, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    spec = TransformSpec(image=image, label=CLASSES)
    red = np.zeros((2, 2, 3), np.uint8)
    red[:, :, 0] = 200
    files = np.array([_png(red), b"not an image"], object)
    assert apply(spec, {"image": files[:1]})["image"].tolist() == [red.tolist()]
    with pytest.raises(DataError, match=r"row 2: column 'image': not a readable image: of no known image type"):
        apply(spec, {"image": files})


def test_grayscale_and_sixteen_bits() -> None:
    assert is_grayscale(_png(np.zeros((2, 2), np.uint8)))
    assert not is_grayscale(_png(np.zeros((2, 2, 3), np.uint8)))
    sixteen = np.full((2, 2), 0x8000, np.uint16)
    assert decode(_png(sixteen), channels=1).tolist() == [[[128], [128]], [[128], [128]]]
    assert decode(_png(np.full((1, 1), 7, np.uint8)), channels=3).tolist() == [[[7, 7, 7]]]
    with pytest.raises(DataError, match="not a readable image"):
        decode(_png(np.zeros((64, 64, 3), np.uint8), "JPEG")[:200], channels=3)


def test_documents_of_version_0_1_mean_what_they_meant() -> None:
    """Word for word as `preprocess` 0.1 wrote them."""
    old = TransformSpec.model_validate_json(
        '{"version":2,"numeric":[{"name":"age","mean":40.0,"std":10.0,"clip":10.0,"indicator":true,"edges":[20.0,40.0,60.0]}'
        '],"discrete":[{"name":"age","values":[20.0,40.0,60.0]}],"categorical":[{"name":"job","vocabulary":["cook","smith"]}'
        '],"image":null,"label":{"name":"y","classes":["a","b"],"mean":0.0,"std":1.0,"weights":[]}}'
    )
    assert old.inputs.edges == ((-2.0, 0.0, 2.0), (0.0, 1.0))
    assert (old.inputs.numeric, old.inputs.plain, old.inputs.discrete, old.inputs.cardinalities) == (2, 0, (5,), (4,))
    job = np.array(["smith", "", "new"], object)
    tensors = apply(old, {"age": np.array([60.0, np.nan, 1e300]), "job": job})
    assert tensors["numeric"].tolist() == [[2.0, 0.0], [0.0, 1.0], [10.0, 0.0]]
    assert tensors["discrete"].tolist() == [[4], [0], [1]]
    assert tensors["categorical"].tolist() == [[3], [0], [1]]
    schema = Schema.model_validate_json(
        '{"task":"tabular_classification","columns":[{"name":"ok","kind":"categorical","dtype":"bool","missing":false,'
        '"reason":"true or false"}],"ignored":{},"image":null,"label":{"name":"y","dtype":"string","classes":null}}'
    )
    assert raw_batch([{"ok": True}, {"ok": "FALSE"}, {"ok": None}], schema)["ok"].tolist() == ["true", "false", ""]
