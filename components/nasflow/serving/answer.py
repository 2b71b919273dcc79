"""Predictions as a client reads them.

V1: classification answers one object a row, ``{"label": "ship", "probability": 0.93, "probabilities": [0.01, …]}``,
probabilities in class order; regression answers one number a row, in the target's units.
V2: classification answers ``probabilities`` FP32 [rows, classes] and ``label`` BYTES [rows]; regression answers
``prediction`` FP32 [rows].
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import NasflowError
from nasflow.serving.signature import Signature


def predictions(answer: NDArray[np.float32], signature: Signature) -> list[Any]:
    """A V1 answer's list. The lower class wins a tie.

    Raises:
        NasflowError: the model gave something that is not finite.
    """
    check_finite(answer)
    rows = answer.tolist()
    if signature.classes is None:
        return rows
    classes = signature.classes
    return [
        {"label": classes[place], "probability": row[place], "probabilities": row}
        for row, place in zip(rows, answer.argmax(axis=1).tolist(), strict=True)
    ]


def outputs(answer: NDArray[np.float32], signature: Signature) -> dict[str, NDArray[np.float32] | list[str]]:
    """As `tensors`, texts as a list.

    Raises:
        NasflowError: the model gave something that is not finite.
    """
    check_finite(answer)
    classes = signature.classes
    if classes is None:
        return {"prediction": answer}
    return {"probabilities": answer, "label": [classes[place] for place in answer.argmax(axis=1).tolist()]}


def tensors(answer: NDArray[np.float32], signature: Signature) -> dict[str, NDArray[Any]]:
    """A V2 answer's outputs by name: float32, and text as object[str].

    Raises:
        NasflowError: the model gave something that is not finite.
    """
    return {
        name: np.array(values, object) if isinstance(values, list) else values
        for name, values in outputs(answer, signature).items()
    }


def check_finite(answer: NDArray[np.float32]) -> None:
    """Refuses to pass NaN or infinity on as an answer.

    Raises:
        NasflowError: with the first such row, from 1.
    """
    if not np.logical_and.reduce(np.isfinite(answer), axis=None):
        row = int(np.argmin(np.isfinite(answer.reshape(len(answer), -1)).all(axis=1))) + 1
        raise NasflowError(f"row {row}: the model's prediction is not finite; the model is broken, deploy another")
