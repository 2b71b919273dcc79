"""What every section of the YAML shares: strictness, and the types of single values."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Task = Literal["image_classification", "tabular_classification", "tabular_regression"]
TASKS: tuple[Task, ...] = ("image_classification", "tabular_classification", "tabular_regression")

Metric = Literal["accuracy", "f1_macro", "auc", "log_loss", "rmse", "mae", "r2"]
CLASSIFICATION_METRICS: tuple[Metric, ...] = ("accuracy", "f1_macro", "auc", "log_loss")
REGRESSION_METRICS: tuple[Metric, ...] = ("rmse", "mae", "r2")

_COUNT = re.compile(r"(?P<number>\d[\d_]*(?:\.\d+)?)\s*(?P<unit>[kKMG]?)")
_FACTORS = {"": 1, "k": 1_000, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000}


def parse_count(value: Any) -> Any:
    """Reads ``50M``, ``200_000``, ``1.5k``; leaves anything else to pydantic.

    >>> parse_count("50M"), parse_count("1.5k"), parse_count(7)
    (50000000, 1500, 7)
    """
    if isinstance(value, str) and (match := _COUNT.fullmatch(value.strip())):
        return round(float(match["number"].replace("_", "")) * _FACTORS[match["unit"]])
    return value


Count = Annotated[int, BeforeValidator(parse_count), Field(gt=0)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$")]


class Section(BaseModel):
    """A part of the spec: immutable, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
