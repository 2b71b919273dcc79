"""The network for LiteRT: the same answers in TensorFlow's interpreter; left out where they differ."""

import json

import numpy as np
import pytest
from tests.unit.models.test_models_export import _case, _model

from nasflow.core.errors import NasflowError

pytestmark = pytest.mark.slow  # a conversion takes seconds


@pytest.mark.parametrize("kind", ["table", "images"])
def test_it_answers_the_golden_rows_as_the_keras_model(tmp_path, kind):
    from nasflow.data.answers import answers
    from nasflow.data.apply import apply
    from nasflow.data.raw import raw_batch
    from nasflow.models import lite_network
    from nasflow.models.export import export

    schema, transform, golden = _case(kind)
    model = _model(schema, transform)
    names = export(model, tmp_path, schema=schema, transform=transform, golden=golden, litert=True)
    assert "network.tflite" in names
    inputs = apply(transform, raw_batch(golden.rows, schema))
    expected = np.asarray(json.loads((tmp_path / "golden.json").read_text())["predictions"])
    for rows in (len(expected), 1):  # any number of rows
        some = {name: values[:rows] for name, values in inputs.items()}
        answered = answers(lite_network.run(tmp_path / "network.tflite", some), transform.output)
        np.testing.assert_allclose(answered, expected[:rows], atol=1e-5)


def test_a_network_that_answers_nan_is_left_out(tmp_path, monkeypatch, caplog):
    from nasflow.models import lite_network
    from nasflow.models.export import export

    schema, transform, golden = _case("table")
    model = _model(schema, transform)
    real = lite_network.run
    monkeypatch.setattr(lite_network, "run", lambda path, inputs: real(path, inputs) * np.float32("nan"))
    names = export(model, tmp_path / "a", schema=schema, transform=transform, golden=golden, litert=True)
    assert "network.tflite" not in names
    assert "predictions on golden rows are not finite" in caplog.text
    assert "the bundle is without it" in caplog.text
    assert "network.onnx" in names


def test_a_damaged_file_is_refused(tmp_path):
    from nasflow.models import lite_network

    (tmp_path / "network.tflite").write_bytes(b"TFL3 or not")
    with pytest.raises(NasflowError, match=r"network\.tflite: LiteRT's interpreter refuses it"):
        lite_network.run(tmp_path / "network.tflite", {})
