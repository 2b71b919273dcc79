"""Writes the bundle that is registered and served, and refuses one whose two models disagree.

A bundle is a folder:

    model.keras        the Keras model on tensors
    saved_model/       raw features in, predictions out (`nasflow.models.served_graph`)
    network.onnx       the network on tensors, where it can be converted (`nasflow.models.onnx_network`)
    network.tflite     the same for LiteRT, where it is asked for (`nasflow.models.lite_network`)
    schema.json        the columns
    transform.json     the transform
    signature.json     {"task", "inputs": [{"column", "tensor", "kind", "dtype", "shape"}],
                       "outputs": [{"name", "dtype", "shape"}], "classes"}; a shape's None is the batch
    golden.json        {"rows", "labels", "predictions"}: raw rows, and what the Keras model says of them
"""

import json
import logging
import types
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import NasflowError
from nasflow.data.answers import answers
from nasflow.data.apply import apply
from nasflow.data.golden import Golden
from nasflow.data.raw import raw_batch
from nasflow.data.schema import Schema
from nasflow.data.tensors import OutputSpec, Tensors
from nasflow.data.transform import TransformSpec
from nasflow.models import lite_network, onnx_network
from nasflow.models.predict import predict
from nasflow.models.saved import SavedModel, load_keras

logger = logging.getLogger(__name__)

TOLERANCE = 1e-5
"""Largest difference of a probability, or of a regression in standard deviations of the target."""
ENCODED_IMAGE_TOLERANCE = 2e-2
"""The same for encoded images: TensorFlow and Pillow round pixels differently by a grey level."""
_FLOAT32_STEP = float(np.finfo(np.float32).eps)


def export(
    model: Any, folder: Path, *, schema: Schema, transform: TransformSpec, golden: Golden, litert: bool = False
) -> list[str]:
    """Writes the bundle of a Keras model into an empty local folder; returns the files' paths inside it, sorted.

    The SavedModel is made of the Keras model as read back from the disk; both answer the golden rows.

    Raises:
        NasflowError: their answers differ by more than the tolerance, or are not finite.
    """
    import tensorflow as tf

    from nasflow.models.served_graph import ServedGraph

    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model.keras")
    saved = load_keras(folder / "model.keras")
    graph = ServedGraph(saved, schema=schema, transform=transform)
    tf.saved_model.save(graph, str(folder / "saved_model"), signatures={"serving_default": graph.signature()})
    texts = {
        "schema.json": schema.model_dump_json(indent=1),
        "transform.json": transform.model_dump_json(indent=1),
        "signature.json": json.dumps(signature(schema, transform), indent=1),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    raw = raw_batch(golden.rows, schema)
    expected = predict_raw(saved, raw, transform)
    served = SavedModel(folder).predict(raw)
    assert_parity(expected, served, schema=schema, output=transform.output)
    inputs = apply(transform, raw)
    _add(onnx_network, saved, folder, inputs, expected, schema=schema, output=transform.output)
    if litert:
        _add(lite_network, saved, folder, inputs, expected, schema=schema, output=transform.output)
    content = {"rows": golden.rows, "labels": golden.labels, "predictions": expected.tolist()}
    (folder / "golden.json").write_text(json.dumps(content), encoding="utf-8")
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _add(
    form: types.ModuleType,
    model: Any,
    folder: Path,
    inputs: dict[str, NDArray[Any]],
    expected: NDArray[Any],
    *,
    schema: Schema,
    output: OutputSpec,
) -> None:
    """Writes the network in another form too, unless that fails or answers otherwise."""
    path = folder / form.FILE
    try:
        form.write(model, path)
        answered = answers(form.run(path, inputs), output).astype(np.float32)
        assert_parity(expected, answered, schema=schema, output=output, name=form.NAME, same_pixels=True)
    except NasflowError as error:
        path.unlink(missing_ok=True)
        without = "the SavedModel, which is slower, will serve" if form is onnx_network else "the bundle is without it"
        logger.warning("%s; %s", error, without)


def predict_raw(model: Any, raw: dict[str, NDArray[Any]], transform: TransformSpec) -> NDArray[Any]:
    """The NumPy path: transform, then the Keras model. Probabilities [rows, classes] or targets [rows]."""
    inputs = apply(transform, raw)
    rows = len(next(iter(raw.values())))
    return predict(model, Tensors(inputs=inputs, labels=np.zeros(rows)), transform.output)


def signature(schema: Schema, transform: TransformSpec) -> dict[str, Any]:
    """What ``signature.json`` says."""
    from nasflow.models.served_graph import raw_specs

    specs = raw_specs(schema)
    classes = transform.label.classes
    output = (
        {"name": "prediction", "dtype": "float32", "shape": [None]}
        if classes is None
        else {"name": "probabilities", "dtype": "float32", "shape": [None, len(classes)]}
    )
    inputs = [
        {
            "column": column.name,
            "tensor": specs[column.name].name,
            "kind": column.kind,
            "dtype": specs[column.name].dtype.name,
            "shape": specs[column.name].shape.as_list(),
        }
        for column in schema.columns
    ]
    return {
        "task": schema.task,
        "inputs": inputs,
        "outputs": [output],
        "classes": list(classes) if classes is not None else None,
    }


def assert_parity(
    expected: NDArray[Any],
    served: NDArray[Any],
    *,
    schema: Schema,
    output: OutputSpec,
    name: str = "SavedModel",
    where: str = "export",
    same_pixels: bool = False,
) -> None:
    """Compares the Keras model's predictions with those of a model made of it: `name`, in the step `where`.

    `same_pixels`: both saw the same decoded images, so that these get no extra tolerance.

    A regression may also differ by a few float32 steps of its own size, which is what the signature can express.

    Raises:
        NasflowError: another shape, a number that is not finite, or a difference above the tolerance.
    """
    if expected.shape != served.shape:
        raise NasflowError(
            f"{where}: the {name} answered {served.shape}, the Keras model {expected.shape}: a defect of nasflow"
        )
    if not (np.isfinite(expected).all() and np.isfinite(served).all()):
        raise NasflowError(
            f"{where}: the model's predictions on golden rows are not finite; train it with another seed"
        )
    encoded = not same_pixels and schema.image is not None and schema.image.encoding == "bytes"
    allowed = ENCODED_IMAGE_TOLERANCE if encoded else TOLERANCE
    difference = np.abs(expected - served)
    if output.classes is None:
        difference = np.maximum(difference - 4 * _FLOAT32_STEP * np.abs(expected), 0.0) / output.std
    largest = float(difference.max(initial=0.0))
    if largest > allowed:
        row = int(np.argmax(difference.reshape(len(difference), -1).max(1)))
        raise NasflowError(
            f"{where}: the {name} differs from the trained one by {largest:.3g} on golden row {row}, "
            f"allowed is {allowed:g}: training and serving would disagree"
        )
    logger.info("%s: parity of the %s on %d golden rows: %.2g", where, name, len(expected), largest)
