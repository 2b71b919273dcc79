"""What a model was made from and said when it was evaluated, as the registry keeps it."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import UserError
from nasflow.data.drift import Bins
from nasflow.data.histogram import bins_from
from nasflow.registry._base import Feature, Registry, Version

STATISTICS, TRANSFORM, REFERENCE = "dataset/statistics.json", "dataset/transform.json", "evaluation/reference.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A column's histogram."""

    bins: Bins
    counts: NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Everything that served requests are held against."""

    name: str
    version: int
    features: Mapping[str, Feature]
    classes: tuple[str, ...] | None
    columns: Mapping[str, Known]
    """By feature: the training rows (a sample of them). Of images: what a request log keeps, of the test rows."""
    predictions: Mapping[str, Known]
    """The test rows: ``label`` and ``confidence``, or ``value``."""
    vocabularies: Mapping[str, frozenset[str]]
    """By text column: the texts that the model tells apart."""

    @classmethod
    def of(cls, registry: Registry, version: Version) -> "Reference":
        """Reads the version's attachments.

        Raises:
            UserError: it was registered before the registry kept them.
        """
        missing = [name for name in (STATISTICS, TRANSFORM, REFERENCE) if name not in version.attachments]
        if missing:
            raise UserError(
                f"{version.name} version {version.version} ({version.nasflow}) has no {missing[0]} in the registry: it "
                "was registered by an earlier nasflow, or its predictions were not finite; register another version"
            )
        statistics, transform, reference = (
            json.loads(registry.attachment(version, name)) for name in (STATISTICS, TRANSFORM, REFERENCE)
        )
        columns = {
            name: Known(bins=bins_from(column["bins"]), counts=np.array(column["bins"]["counts"]["train"], np.int64))
            for name, column in statistics["columns"].items()
            if "bins" in column and "train" in column["bins"]["counts"]
        }
        wanted = {feature.name for feature in version.features}
        columns = {name: known for name, known in columns.items() if name in wanted}
        columns |= {name: _known(content) for name, content in reference["columns"].items()}
        classes = version.signature.get("classes")
        return cls(
            name=version.name,
            version=version.version,
            features={feature.name: feature for feature in version.features},
            classes=None if classes is None else tuple(classes),
            columns=columns,
            predictions={name: _known(content) for name, content in reference["predictions"].items()},
            vocabularies=_vocabularies(transform),
        )


def _known(content: Mapping[str, Any]) -> Known:
    return Known(bins=bins_from(content), counts=np.array(content["counts"], np.int64))


def _vocabularies(transform: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    return {
        column["name"]: frozenset(column["vocabulary"])
        for column in transform.get("categorical", ())
        if column["vocabulary"]  # else all its texts are hashed, and none is new
    }
