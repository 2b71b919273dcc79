"""The end of a training, kept so that another one can start there: goes on exactly, or takes the weights that fit."""

import dataclasses
import difflib
import io
import json
import logging
import zipfile
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nasflow.core.storage import LocalStorage, local_path
from nasflow.models.trainer import Trainer

logger = logging.getLogger(__name__)

Found = Literal["continued", "inherited", "nothing"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What became of a start from a checkpoint."""

    found: Found
    epochs: int = 0
    """Epochs that are behind it already, where it is continued."""
    taken: int = 0
    """Weights taken, where they are inherited."""
    weights: int = 0
    """Weights that the model has."""


def save(path: str, trainer: Trainer, *, fingerprint: str, epochs: int) -> None:
    """Writes one ``.npz``: all variables in order, the names of the weights, what training it was."""
    arrays = {f"v{place}": variable.numpy() for place, variable in enumerate(trainer.variables)}
    about = {"fingerprint": fingerprint, "epochs": epochs, "weights": _signatures(trainer.model.variables)}
    buffer = io.BytesIO()
    np.savez(buffer, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
    local_path(path).parent.mkdir(parents=True, exist_ok=True)
    LocalStorage().write(path, buffer.getvalue())


def load(path: str, trainer: Trainer, *, fingerprint: str) -> Start:
    """Puts a new trainer where the checkpoint's training ended.

    The same training (architecture, recipe, rows, batch, seed and horizon: the fingerprint): all variables, the
    optimiser's included. Another one: the weights of the longest common run of layers, by kind and shape in the order
    of the graph, so that a child with one layer more, less or changed takes all others; the optimiser starts anew.
    A file that is gone or damaged changes nothing.
    """
    try:
        with np.load(io.BytesIO(LocalStorage().read(path)), allow_pickle=False) as content:
            about = json.loads(content["about"].tobytes())
            arrays = [content[f"v{place}"] for place in range(len(content.files) - 1)]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        logger.warning("%s cannot be read (%s): starting from scratch", path, error)
        return Start(found="nothing")
    if about["fingerprint"] == fingerprint and len(arrays) == len(trainer.variables):
        for variable, array in zip(trainer.variables, arrays, strict=True):
            variable.assign(array)
        return Start(found="continued", epochs=about["epochs"])
    variables = trainer.model.variables
    pairs = _matches(about["weights"], _signatures(variables))
    for theirs, ours in pairs:
        variables[ours].assign(_as(arrays[theirs], variables[ours]))
    trainer.start_averages()
    return Start(found="inherited" if pairs else "nothing", taken=len(pairs), weights=len(variables))


def _signatures(variables: list[Any]) -> list[str]:
    """By the layer's kind, the variable's name and its shape: ``conv/kernel/(3, 3, 8, 16)``. Layers are named by their
    operation and their number in the graph (`nasflow.spaces.graph`); the number says nothing about what it is."""
    found = []
    for variable in variables:
        layer, _, name = variable.path.rpartition("/")
        kind = layer.rpartition("/")[2].rstrip("0123456789").rstrip("_")
        found.append(f"{kind}/{name}/{tuple(variable.shape)}")
    return found


def _matches(theirs: list[str], ours: list[str]) -> list[tuple[int, int]]:
    blocks = difflib.SequenceMatcher(a=theirs, b=ours, autojunk=False).get_matching_blocks()
    # Not the state of random generators: masks are the seed's business, not the parent's.
    return [
        (block.a + place, block.b + place)
        for block in blocks
        for place in range(block.size)
        if "seed_generator" not in ours[block.b + place]
    ]


def _as(array: NDArray[Any], variable: Any) -> NDArray[Any]:
    return array.astype(np.dtype(variable.dtype)) if array.dtype != variable.dtype else array
