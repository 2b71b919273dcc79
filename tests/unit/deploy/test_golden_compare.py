import numpy as np
import pytest

from nasflow.core.errors import NasflowError
from nasflow.data.schema import Column, ImageFormat, Label, Schema
from nasflow.data.transform import LabelTransform, TransformSpec
from nasflow.deploy import golden
from nasflow.serving.signature import Input, Output, Signature

REGRESSION = Signature(
    task="tabular_regression",
    inputs=(
        Input(column="a b", tensor="a_b", kind="numeric", dtype="float64", shape=(None,)),
        Input(column="c", tensor="c", kind="categorical", dtype="string", shape=(None,)),
    ),
    outputs=(Output(name="prediction", dtype="float32", shape=(None,)),),
    classes=None,
)
CLASSES = REGRESSION.model_copy(update={"task": "tabular_classification", "classes": ("no", "yes")})


def column(name, kind):
    return Column(name=name, kind=kind, dtype="x", missing=False, reason="test")


def schema(columns, classes=None, encoding=None):
    image = ImageFormat(height=1, width=2, channels=1, encoding=encoding) if encoding else None
    return Schema(
        task="tabular_regression",
        columns=columns,
        ignored={},
        image=image,
        label=Label(name="y", dtype="x", classes=classes),
    )


def test_tolerances_follow_the_task():
    transform = TransformSpec(label=LabelTransform(name="y", classes=None, mean=7.0, std=50.0))
    assert golden.tolerance(schema(()), transform) == pytest.approx(0.005)  # 1e-4 × 50
    assert golden.tolerance(schema((), classes=("a", "b")), transform) == 1e-4
    assert golden.tolerance(schema((), classes=("a", "b"), encoding="array"), transform) == 1e-4
    assert golden.tolerance(schema((), classes=("a", "b"), encoding="bytes"), transform) == 2e-2


def test_rows_become_tensors():
    rows = [{"a b": 1, "c": "x"}, {"a b": None, "c": None}]
    columns = (column("a b", "numeric"), column("c", "categorical"))
    assert golden.v2_request(rows, schema(columns), REGRESSION) == {
        "inputs": [
            {"name": "a b", "datatype": "FP64", "shape": [2], "data": [1.0, None]},
            {"name": "c", "datatype": "BYTES", "shape": [2], "data": ["x", ""]},
        ]
    }


def image_signature(dtype):
    shape = (None, 1, 2, 1) if dtype == "uint8" else (None,)
    entry = Input(column="i", tensor="i", kind="image", dtype=dtype, shape=shape)
    return CLASSES.model_copy(update={"inputs": (entry,)})


def test_images_become_tensors():
    columns = (column("i", "image"),)
    pixels = golden.v2_request([{"i": [[[0], [9]]]}], schema(columns, encoding="array"), image_signature("uint8"))
    assert pixels["inputs"] == [{"name": "i", "datatype": "UINT8", "shape": [1, 1, 2, 1], "data": [0, 9]}]
    files = golden.v2_request([{"i": {"b64": "aGk="}}], schema(columns, encoding="bytes"), image_signature("string"))
    assert files["inputs"] == [{"name": "i", "datatype": "BYTES", "shape": [1], "data": ["aGk="]}]


def test_answers_are_read_in_both_protocols():
    v1 = {"predictions": [{"label": "yes", "probability": 0.75, "probabilities": [0.25, 0.75]}]}
    outputs = [
        {"name": "probabilities", "shape": [1, 2], "data": [0.25, 0.75]},
        {"name": "label", "shape": [1], "data": ["yes"]},
    ]
    assert golden.v1_predictions(v1, CLASSES).tolist() == [[0.25, 0.75]]
    assert golden.v2_predictions({"outputs": outputs}, CLASSES).tolist() == [[0.25, 0.75]]
    assert golden.v1_predictions({"predictions": [3.5]}, REGRESSION).tolist() == [3.5]
    number = {"outputs": [{"name": "prediction", "shape": [1], "data": [3.5]}]}
    assert golden.v2_predictions(number, REGRESSION).tolist() == [3.5]


def test_a_label_must_go_with_its_probabilities():
    v1 = {"predictions": [{"label": "no", "probability": 0.75, "probabilities": [0.25, 0.75]}]}
    with pytest.raises(NasflowError, match="row 1: label 'no' does not go with"):
        golden.v1_predictions(v1, CLASSES)


@pytest.mark.parametrize("response", [{}, [], {"predictions": [{"label": "yes"}]}, {"outputs": [{"name": "x"}]}])
def test_foreign_answers_are_shown(response):
    for read in (golden.v1_predictions, golden.v2_predictions):
        with pytest.raises(NasflowError, match="cannot read the answer"):
            read(response, CLASSES)


def test_the_worst_row_is_named():
    expected = np.array([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]])
    served = expected + np.array([[0, 0], [1e-5, -1e-5], [0, 5e-6]])
    assert golden.largest_difference("V1", served, expected, allowed=1e-4) == pytest.approx(1e-5)
    served[2] += [0.01, -0.01]
    with pytest.raises(NasflowError, match=r"V2: golden row 3: .*difference 0\.01 > 0\.0001"):
        golden.largest_difference("V2", served, expected, allowed=1e-4)
    served[1] = np.nan
    with pytest.raises(NasflowError, match=r"golden row 2: .*difference inf"):
        golden.largest_difference("V1", served, expected, allowed=1e-4)
    with pytest.raises(NasflowError, match=r"got predictions \[2, 2\], expected \[3, 2\]"):
        golden.largest_difference("V1", served[:2], expected, allowed=1e-4)
