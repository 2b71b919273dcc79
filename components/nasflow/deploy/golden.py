"""Golden rows over the wire: what was asked, what came back, and how far it is from what evaluate saw."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import NasflowError
from nasflow.data.raw import raw_batch
from nasflow.data.schema import Schema
from nasflow.data.transform import TransformSpec
from nasflow.serving.signature import Signature

PROBABILITY_TOLERANCE = 1e-4
TARGET_TOLERANCE_STD = 1e-4
DECODED_TOLERANCE = 2e-2
"""Encoded images: evaluate's decoder and resizer need not be the served graph's."""


def tolerance(schema: Schema, transform: TransformSpec) -> float:
    """The largest absolute difference that is still the same answer.

    Regression: 1e-4 of the training targets' standard deviation.
    """
    if schema.label.classes is None:
        return TARGET_TOLERANCE_STD * transform.label.std
    encoded = schema.image is not None and schema.image.encoding == "bytes"
    return DECODED_TOLERANCE if encoded else PROBABILITY_TOLERANCE


def v1_request(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rows as they are."""
    return {"instances": list(rows)}


def v2_request(rows: Sequence[Mapping[str, Any]], schema: Schema, signature: Signature) -> dict[str, Any]:
    """One JSON tensor a column, named by the column."""
    raw = raw_batch(rows, schema)
    inputs = []
    for entry in signature.inputs:
        values = raw[entry.column]
        data: list[Any]
        if entry.kind == "datetime":
            name, data = "BYTES", [row[entry.column] for row in rows]
        elif entry.kind == "list":
            name, data = "BYTES", [json.dumps(row[entry.column]) for row in rows]
        elif entry.dtype == "float64":
            name, data = "FP64", [None if math.isnan(value) else value for value in values.reshape(-1).tolist()]
        elif entry.dtype == "uint8":
            name, data = "UINT8", values.reshape(-1).tolist()
        elif entry.kind == "image":
            name, data = "BYTES", [row[entry.column]["b64"] for row in rows]
        else:
            name, data = "BYTES", values.tolist()
        inputs.append({"name": entry.column, "datatype": name, "shape": list(values.shape), "data": data})
    return {"inputs": inputs}


def v1_predictions(response: Any, signature: Signature) -> NDArray[np.float64]:
    """Probabilities [rows, classes], or numbers [rows].

    Raises:
        NasflowError: not the answer of a nasflow server.
    """
    try:
        predictions = response["predictions"]
        if signature.classes is None:
            return np.asarray(predictions, dtype=np.float64)
        _check_labels(
            [entry["label"] for entry in predictions], [entry["probabilities"] for entry in predictions], signature
        )
        return np.asarray([entry["probabilities"] for entry in predictions], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise NasflowError(f"deploy: V1: cannot read the answer {str(response)[:200]}: {error}") from error


def v2_predictions(response: Any, signature: Signature) -> NDArray[np.float64]:
    """Probabilities [rows, classes], or numbers [rows].

    Raises:
        NasflowError: not the answer of a nasflow server.
    """
    try:
        outputs = {output["name"]: output for output in response["outputs"]}
        values = outputs["prediction" if signature.classes is None else "probabilities"]
        predictions = np.asarray(values["data"], dtype=np.float64).reshape(values["shape"])
        if signature.classes is not None:
            _check_labels(outputs["label"]["data"], predictions.tolist(), signature)
        return predictions
    except (KeyError, TypeError, ValueError) as error:
        raise NasflowError(f"deploy: V2: cannot read the answer {str(response)[:200]}: {error}") from error


def largest_difference(
    protocol: str, served: NDArray[np.float64], expected: NDArray[np.float64], *, allowed: float
) -> float:
    """Compares a served answer with evaluate's.

    Raises:
        NasflowError: another shape, a number that is not finite, or a difference over `allowed`; names the row, from 1.
    """
    if served.shape != expected.shape:
        raise NasflowError(f"deploy: {protocol}: got predictions {list(served.shape)}, expected {list(expected.shape)}")
    difference = np.abs(served - expected).reshape(len(expected), -1).max(axis=1)
    difference[np.isnan(difference)] = np.inf
    worst = int(difference.argmax())
    if difference[worst] > allowed:
        raise NasflowError(
            f"deploy: {protocol}: golden row {worst + 1}: the server says {served[worst].tolist()}, evaluate said "
            f"{expected[worst].tolist()}: difference {difference[worst]:.3g} > {allowed:.3g}; the registered model is "
            "not the evaluated one, or it is served by other software: register it again, or retrain"
        )
    return float(difference[worst])


def _check_labels(labels: Sequence[str], probabilities: Sequence[Sequence[float]], signature: Signature) -> None:
    classes = signature.classes or ()
    for row, (label, values) in enumerate(zip(labels, probabilities, strict=True), start=1):
        if label != classes[int(np.argmax(values))]:
            raise NasflowError(f"deploy: golden row {row}: label {label!r} does not go with probabilities {values}")
