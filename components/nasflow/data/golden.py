"""Golden rows: a few raw test rows that travel with the model; every later stage must answer them the same."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from nasflow.core.artifacts import Dataset

GOLDEN_ROWS = 32
GOLDEN = "golden.json"


class Golden(BaseModel):
    """At most `GOLDEN_ROWS` rows of the test split, JSON-safe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: list[dict[str, Any]]
    """By column: numbers, text, None for missing; images as nested uint8 lists, or ``{"b64": …}`` where encoded."""
    labels: list[str] | list[float]
    """Class names, or targets in their own units."""


def read_golden(dataset: Dataset) -> Golden:
    """The golden rows of a Dataset.

    Raises:
        DocumentError: the document is damaged.
    """
    return Golden.model_validate(dataset.json(GOLDEN))
