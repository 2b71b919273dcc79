"""A text column beside others: through the transform, a shard, a model, and the SavedModel that takes raw text."""

from pathlib import Path

import numpy as np
import pytest

from nasflow.core.artifacts import Dataset
from nasflow.core.errors import DataError
from nasflow.data.apply import apply, apply_columns
from nasflow.data.golden import Golden
from nasflow.data.raw import raw_batch
from nasflow.data.reader import read
from nasflow.data.schema import Column, Label, Schema
from nasflow.data.transform import LabelTransform, NumericTransform, TextTransform, TransformSpec
from nasflow.models.build import build
from nasflow.models.export import export
from nasflow.models.saved import SavedModel
from nasflow.preprocess.shards import ShardWriter
from nasflow.serving.encoding import Encoder
from nasflow.spaces.text import TextSpace

ROWS = [
    {"title": "The Cat", "body": "the cat sat. The CAT!", "age": 3},
    {"title": "日本", "body": "", "age": None},
    {"title": None, "body": "e\u0301té \U0001f469\u200d\U0001f4bb \x00 unknown words here", "age": -1},
    {"title": "a" * 2000, "body": "cat " * 300, "age": 1e300},
]


def column(name: str, kind: str) -> Column:
    return Column(name=name, kind=kind, dtype="string", missing=True, reason="")


SCHEMA = Schema(
    task="tabular_classification",
    columns=(column("title", "text"), column("body", "text"), column("age", "numeric")),
    ignored={},
    image=None,
    label=Label(name="y", dtype="string", classes=("n", "y")),
)
SPEC = TransformSpec(
    numeric=(NumericTransform(name="age", mean=1.0, std=2.0, indicator=True),),
    text=(
        TextTransform(name="title", place=0, vocabulary=("cat", "the"), buckets=5, length=4),
        TextTransform(
            name="body", place=1, vocabulary=("the", "cat", "."), length=6, idf=(1.0, 1.5, 2.0), unknown_idf=3.0
        ),
    ),
    label=LabelTransform(name="y", classes=("n", "y")),
)


def test_texts_become_tensors_of_their_own() -> None:
    tensors = apply(SPEC, raw_batch(ROWS, SCHEMA))
    assert tensors["text_1"].tolist()[:2] == [[2, 3, 1, 4, 2, 3], [0] * 6]  # the cat sat . the cat | (empty)
    assert tensors["text_1"][3].tolist() == [3] * 6
    assert tensors["text_0"][0].tolist() == [3, 2, 0, 0]  # the cat
    assert tensors["text_0"][1, :2].min() >= 4  # 日 and 本 are hashed into ids 4 to 8
    assert tensors["numeric"].shape == (4, 2)
    shapes = SPEC.inputs.texts
    assert (shapes[0].ids, shapes[1].ids) == (2 + 2 + 5, 2 + 3)
    assert shapes[0].idf == ()
    assert shapes[1].idf == (0.0, 3.0, 1.0, 1.5, 2.0)


def test_a_transform_survives_json() -> None:
    assert TransformSpec.model_validate_json(SPEC.model_dump_json()) == SPEC


def test_shards_hold_all_tensors(tmp_path: Path) -> None:
    raw = raw_batch(ROWS, SCHEMA)
    tensors = apply(SPEC, raw)
    labels = np.array([0, 1, 0, 1], np.int32)
    with ShardWriter(SPEC, f"{tmp_path}/data", 0) as writer:
        writer.write(apply_columns(SPEC, raw), labels, np.zeros(len(labels), int))
        shards = writer.finish()
    files = {"schema.json": SCHEMA.model_dump_json().encode(), "transform.json": SPEC.model_dump_json().encode()}
    rows = {"train": 4, "validation": 0, "test": 0, "dead": 0}
    dataset = Dataset(task="tabular_classification", rows=rows, shards={"train": (shards["train"],)})
    dataset = dataset.publish(f"{tmp_path}/dataset", files)
    found = read(dataset, "train")
    assert found.inputs.keys() == tensors.keys()
    for name, values in tensors.items():
        np.testing.assert_array_equal(found.inputs[name], values)
        assert found.inputs[name].dtype == values.dtype


def test_the_saved_model_takes_raw_text(tmp_path: Path) -> None:
    space = TextSpace(inputs=SPEC.inputs, output=SPEC.output)
    model = build(space.architecture(space.presets()[1]), SPEC.inputs, SPEC.output, seed=1)
    golden = Golden(rows=ROWS, labels=["n", "y", "n", "y"])
    export(model, tmp_path / "bundle", schema=SCHEMA, transform=SPEC, golden=golden)  # asserts parity
    served = SavedModel(tmp_path / "bundle")
    again = served.predict(raw_batch([{**ROWS[0], "title": "THE cat"}], SCHEMA))
    np.testing.assert_allclose(again[0], served.predict(raw_batch(ROWS, SCHEMA))[0], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [("x" * 20_000_000, "20,000,000 bytes; the model takes at most 1,048,576"), ("\ud800", "not text"), (1.5, "text")],
)
def test_what_is_no_text_is_refused(text: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        raw_batch([{"title": text, "body": "", "age": 1}], SCHEMA)


def test_the_fast_encoder_gives_what_the_network_wants() -> None:
    raw = raw_batch(ROWS, SCHEMA)
    expected = apply(SPEC, raw)
    found = Encoder(SPEC, ["text_1", "numeric"])(raw)
    assert set(found) == {"text_1", "numeric"}
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name])
    assert set(Encoder(SPEC, ["text_0"])(raw)) == {"text_0"}
