"""The table's space and data, and how the table is read: no TensorFlow here.

The space is nasflow's `cell` with `topology: dense`, four nodes and four operations, in the manner of NAS-Bench-201
(Dong & Yang 2020): 4^6 = 4,096 points, which are 1,230 architectures, since many points are isomorphic. The data is
scikit-learn's digits (1,797 images of 8 × 8 pixels), split by class: 60 % train, 20 % validation, 20 % test.
"""

import dataclasses
import functools
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.cell import CellSpace
from nasflow.spaces.encoding import encode

TABLE = Path(__file__).with_name("table.npz")
OPERATIONS = ("none", "skip", "conv_1x1", "conv_3x3")
SEEDS = 3
EPOCHS = 12
INPUTS = InputSpec(image=(8, 8, 1), image_mean=(78.0,), image_std=(96.0,))
"""Pixels of digits, 0–16, times 15."""
OUTPUT = OutputSpec(classes=10)


def space() -> CellSpace:
    """The same recipe for every architecture: what differs between two is the cell."""
    return CellSpace(
        inputs=INPUTS, output=OUTPUT, nodes=4, operations=OPERATIONS, stages=1, cells=1, width=8, recipe="none"
    )


def points() -> list[dict[str, Any]]:
    """All 4,096, the last edge changing fastest."""
    names = [parameter.name for parameter in space().parameters()]
    return [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(OPERATIONS, repeat=len(names))]


def architectures() -> dict[str, dict[str, Any]]:
    """The first point of each architecture, by identity, in the order of the identities."""
    found: dict[str, dict[str, Any]] = {}
    known = space()
    for values in points():
        found.setdefault(known.architecture(values).identity, values)
    return dict(sorted(found.items()))


@functools.cache
def graphs() -> list[dict[str, float]]:
    """What the `predictor` is told of each architecture's graph, in the order of the table's rows; some seconds."""
    known = space()
    return [encode(known.architecture(values), INPUTS, OUTPUT) for values in architectures().values()]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What every architecture reached, after every epoch. Rows in the order of `architectures`."""

    identities: NDArray[np.str_]
    trained: NDArray[np.bool_]
    """[architectures]. Where False, the rest of the row is of the trained architecture that is nearest: the table is
    not finished (`generate.py --fill`)."""
    row_of_point: NDArray[np.int16]
    """[4096], in the order of `points`."""
    parameters: NDArray[np.int32]
    validation: NDArray[np.float32]
    """Accuracy [architectures, SEEDS, EPOCHS]; one schedule spans all epochs."""
    test: NDArray[np.float32]
    """The same, on the test rows."""
    log_loss: NDArray[np.float32]
    """The same, on the validation rows, in nats."""
    about: Mapping[str, Any]
    """How, where and with what it was made."""

    @classmethod
    def read(cls, path: Path = TABLE) -> "Table":
        """The committed table."""
        with np.load(path) as content:
            arrays = {name: content[name] for name in content.files}
        about = json.loads(str(arrays.pop("about")))
        arrays.setdefault("trained", np.ones(len(arrays["identities"]), bool))
        return cls(**arrays, about=about)

    def write(self, path: Path = TABLE) -> None:
        """Compressed; the floats keep four digits."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        arrays["about"] = np.array(json.dumps(self.about))
        np.savez_compressed(path, **arrays)

    def row(self, values: Mapping[str, Any]) -> int:
        """Of a point's architecture, which is not built for it.

        Raises:
            ValueError: a value that is no operation.
        """
        place = 0
        for name in sorted(values, key=_edge):
            place = place * len(OPERATIONS) + OPERATIONS.index(values[name])
        return int(self.row_of_point[place])

    def final_validation(self) -> NDArray[np.float64]:
        """Mean validation accuracy over the seeds after the last epoch [architectures]: what a search looks for."""
        return self.validation[:, :, -1].astype(np.float64).mean(axis=1)

    def final_test(self) -> NDArray[np.float64]:
        """Mean test accuracy over the seeds after the last epoch [architectures]: what a search is judged by."""
        return self.test[:, :, -1].astype(np.float64).mean(axis=1)


def _edge(name: str) -> tuple[int, int]:
    """Of ``edge_FROM_TO``; in this order the space declares them: by the node that they end in."""
    _, source, node = name.split("_")
    return int(node), int(source)
