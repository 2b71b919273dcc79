"""Bundles: what is written, that both models agree, that a fresh process can serve it, and what is refused."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tests.unit.train import made_data

from nasflow.core.artifacts import External
from nasflow.core.errors import DocumentError, NasflowError
from nasflow.data.golden import Golden
from nasflow.data.raw import raw_batch
from nasflow.data.tensors import OutputSpec


def _model(schema, transform, seed=0):
    from nasflow.models.build import build

    ((_, (_, architecture, _)),) = made_data.small_architectures(schema, transform)
    model = build(architecture, transform.inputs, transform.output, seed=seed)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:  # a new model answers the same to all: nothing could differ
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def _encoded(pixels):
    files = np.empty(len(pixels), object)
    for row, image in enumerate(pixels):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG" if row % 2 else "PNG")
        files[row] = file.getvalue()
    return {"image": files}


def _case(kind):
    if kind == "files":
        schema, transform = made_data.images(12, 3, "bytes")
        raw, labels = made_data.image_rows(12, side=31, channels=3)
        raw = _encoded(raw["image"])
    elif kind == "images":
        schema, transform = made_data.images()
        raw, labels = made_data.image_rows(12)
    else:
        schema, transform = made_data.table(regression=kind == "regression")
        raw, classes, target = made_data.table_rows(12)
        labels = target if kind == "regression" else classes
    return schema, transform, Golden(rows=made_data.golden_rows(raw), labels=list(labels))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """`bundles(kind)` → (folder, schema, transform, golden, the files' names), made once."""
    from nasflow.models.export import export

    made = {}

    def make(kind):
        if kind not in made:
            schema, transform, golden = _case(kind)
            folder = tmp_path_factory.mktemp(kind)
            model = _model(schema, transform)
            names = export(model, folder, schema=schema, transform=transform, golden=golden)
            made[kind] = folder, schema, transform, golden, names
        return made[kind]

    return make


@pytest.mark.parametrize("kind", ["table", "regression", "images", "files"])
def test_a_bundle_is_complete_and_both_models_agree(bundles, kind):
    from nasflow.serving.bundle import Bundle

    folder, schema, transform, golden, names = bundles(kind)
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(names) == written
    assert written >= {"model.keras", "schema.json", "transform.json", "signature.json", "golden.json"}
    bundle = Bundle.load(str(folder))
    assert (bundle.schema, bundle.transform) == (schema, transform)
    served = bundle.predict(raw_batch(golden.rows, schema))
    expected = np.asarray(json.loads((folder / "golden.json").read_text())["predictions"])
    scale = transform.output.std if kind == "regression" else 1.0
    assert np.abs(served - expected).max() / scale < (2e-2 if kind == "files" else 1e-5)
    if kind != "regression":
        np.testing.assert_allclose(served.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("kind", ["table", "regression", "images", "files"])
def test_the_onnx_network_behind_the_numpy_transform_answers_the_same(bundles, kind):
    from nasflow.data.answers import answers
    from nasflow.data.apply import apply
    from nasflow.models import onnx_network

    folder, schema, transform, golden, _ = bundles(kind)
    inputs = apply(transform, raw_batch(golden.rows, schema))
    answered = answers(onnx_network.run(folder / "network.onnx", inputs), transform.output)
    expected = np.asarray(json.loads((folder / "golden.json").read_text())["predictions"])
    scale = transform.output.std if kind == "regression" else 1.0
    # encoded images, too: the same decoder as in training, so no extra tolerance
    assert np.abs(answered - expected).max() / scale < 1e-5


def test_a_network_that_answers_otherwise_is_neither_registered_nor_served(bundles, tmp_path, caplog):
    import shutil

    from nasflow.serving import parity
    from nasflow.serving.bundle import Bundle

    assert parity.check(str(bundles("table")[0]))
    folder = shutil.copytree(bundles("table")[0], tmp_path / "bundle")
    golden = json.loads((folder / "golden.json").read_text())
    golden["predictions"][3] = golden["predictions"][3][::-1]
    (folder / "golden.json").write_text(json.dumps(golden))
    with pytest.raises(
        DocumentError, match=r"network\.onnx: answers the golden rows with a difference of 0\.\d+ > 0\.0001"
    ):
        parity.check(str(folder))
    assert Bundle.load(str(folder)).engine.name == "saved_model"
    assert "the SavedModel serves, which is slower" in caplog.text
    (folder / "network.onnx").unlink()
    assert not parity.check(str(folder))


def test_a_network_that_onnx_cannot_hold_or_that_answers_otherwise_is_left_out(tmp_path, monkeypatch, caplog):
    from nasflow.models import export, onnx_network

    schema, transform, golden = _case("table")
    model = _model(schema, transform)
    real = onnx_network.run
    monkeypatch.setattr(onnx_network, "run", lambda path, inputs: real(path, inputs) + np.array([0, 0, 1e-3]))
    names = export.export(model, tmp_path / "a", schema=schema, transform=transform, golden=golden)
    assert "network.onnx" not in names
    assert "the ONNX network differs from the trained one" in caplog.text

    def refuse(*_):
        raise NasflowError("export: network.onnx: the network cannot be converted: no SparseThing")

    monkeypatch.setattr(onnx_network, "write", refuse)
    names = export.export(model, tmp_path / "b", schema=schema, transform=transform, golden=golden)
    assert "network.onnx" not in names
    assert "no SparseThing; the SavedModel, which is slower, will serve" in caplog.text


def test_the_signature_names_awkward_columns(bundles):
    folder, *_ = bundles("table")
    content = json.loads((folder / "signature.json").read_text())
    assert [(entry["column"], entry["tensor"], entry["dtype"], entry["shape"]) for entry in content["inputs"]] == [
        ("capital gain", "capital_gain", "float64", [None]),
        ("native-country", "native_country", "string", [None]),
        ("1st", "c_1st", "float64", [None]),
    ]
    assert content["outputs"] == [{"name": "probabilities", "dtype": "float32", "shape": [None, 3]}]
    assert content["classes"] == list(made_data.CLASSES)


def test_one_row_no_row_and_rows_that_training_never_saw(bundles):
    from nasflow.models.saved import SavedModel

    model = SavedModel(bundles("table")[0])

    def ask(numbers, text):
        words = np.empty(len(text), object)
        words[:] = text
        raw = {"capital gain": np.asarray(numbers, float), "1st": np.asarray(numbers, float), "native-country": words}
        return model.predict(raw)

    assert ask([], []).shape == (0, 3)
    assert ask([1.0], ["red"]).shape == (1, 3)
    odd = ask([np.nan, np.inf, -np.inf, 1e308], ["", "never seen", "größe", "\x00"])
    assert np.isfinite(odd).all()
    # inf counts as missing, not as huge; and NaN is not hidden: it is the same row as inf with the same text
    np.testing.assert_array_equal(ask([np.nan], ["red"]), ask([np.inf], ["red"]))
    assert np.abs(ask([np.nan], ["red"]) - ask([1e308], ["red"])).max() > 1e-4


_FRESH = """
import json, sys
import numpy as np, tensorflow as tf
folder = sys.argv[1]
serve = tf.saved_model.load(folder + "/saved_model").signatures["serving_default"]
golden = json.load(open(folder + "/golden.json"))
rows = golden["rows"]
number = lambda name: tf.constant([np.nan if row[name] is None else row[name] for row in rows], tf.float64)
answer = serve(capital_gain=number("capital gain"), c_1st=number("1st"),
               native_country=tf.constant([row["native-country"] or "" for row in rows]))
ours = [name for name in sys.modules if name.startswith("nasflow")]
print(np.abs(answer["probabilities"].numpy() - golden["predictions"]).max(), ours)
"""


@pytest.mark.slow
def test_a_fresh_process_without_nasflow_serves_the_saved_model(bundles):
    folder = bundles("table")[0]
    result = subprocess.run(
        [sys.executable, "-c", _FRESH, str(folder)], capture_output=True, text=True, check=True, timeout=120
    )
    difference, _, modules = result.stdout.strip().partition(" ")
    assert float(difference) < 1e-5
    assert modules == "[]"


def test_models_that_disagree_are_refused():
    from nasflow.models.export import assert_parity

    schema, _ = made_data.table()
    output = OutputSpec(classes=3)
    right = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    assert_parity(right, right + 9e-6, schema=schema, output=output)
    with pytest.raises(NasflowError, match=r"differs from the trained one by 2e-05 on golden row 1"):
        assert_parity(right, right + np.array([[0, 0, 0], [0, 2e-5, 0]]), schema=schema, output=output)
    with pytest.raises(NasflowError, match="not finite"):
        assert_parity(right, right * np.nan, schema=schema, output=output)
    with pytest.raises(NasflowError, match=r"answered \(1, 3\)"):
        assert_parity(right, right[:1], schema=schema, output=output)
    encoded, _ = made_data.images(12, 3, "bytes")
    assert_parity(right, right + 0.019, schema=encoded, output=output)


def test_a_regression_is_compared_in_standard_deviations():
    from nasflow.models.export import assert_parity

    schema, _ = made_data.table(regression=True)
    output = OutputSpec(classes=None, mean=0.0, std=100.0)
    assert_parity(np.array([1.0]), np.array([1.0009]), schema=schema, output=output)  # 9e-6 deviations
    with pytest.raises(NasflowError, match="differs"):
        assert_parity(np.array([1.0]), np.array([1.0012]), schema=schema, output=output)
    # far from 0, float32 cannot express the last digits: one step at 1e9 is 64
    far = OutputSpec(classes=None, mean=1e9, std=1.0)
    assert_parity(np.array([1e9 + 20]), np.array([1e9 + 20], np.float32), schema=schema, output=far)


def test_export_refuses_a_graph_that_transforms_differently(tmp_path, monkeypatch):
    from nasflow.models import export
    from nasflow.models.served import categorical

    schema, transform, golden = _case("table")
    monkeypatch.setattr(categorical, "MISSING_ID", 1)  # missing text would be served as unknown text
    with pytest.raises(NasflowError, match="training and serving would disagree"):
        export.export(_model(schema, transform), tmp_path, schema=schema, transform=transform, golden=golden)


def test_the_keras_file_is_checked_and_loads(bundles):
    from nasflow.models.saved import fetch_keras

    folder = bundles("table")[0]
    entry = External.of(str(folder / "model.keras"))
    assert fetch_keras(entry).output_shape == (None, 3)
    with pytest.raises(DocumentError, match="changed"):
        fetch_keras(entry.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(DocumentError, match="missing"):
        fetch_keras(entry.model_copy(update={"uri": str(folder / "gone.keras")}))
