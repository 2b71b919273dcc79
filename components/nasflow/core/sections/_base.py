"""What every section of the YAML shares: strictness, and the types of single values."""

import difflib
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

Task = Literal["image_classification", "text_classification", "tabular_classification", "tabular_regression"]
TASKS: tuple[Task, ...] = (
    "image_classification",
    "text_classification",
    "tabular_classification",
    "tabular_regression",
)

CLASSIFICATION_METRICS: tuple[str, ...] = (
    "accuracy",
    "f1_macro",
    "auc",
    "log_loss",
    "f1",
    "f1_weighted",
    "precision",
    "precision_macro",
    "recall",
    "recall_macro",
    "average_precision",
)
BINARY_METRICS: tuple[str, ...] = ("f1", "precision", "recall")
"""Of the second class alone, so for two classes only."""
REGRESSION_METRICS: tuple[str, ...] = ("rmse", "mse", "mae", "r2")
_CUSTOM = re.compile(r"(?:(?P<direction>maximise|minimise) )?(?P<module>[A-Za-z_][\w.]*):(?P<function>[A-Za-z_]\w*)")


def parse_metric(value: str) -> str:
    """A metric's name, or ``[maximise|minimise] package.module:function``, which is called with labels and predictions.

    >>> parse_metric("auc"), parse_metric("minimise shop.scores:cost"), parse_metric("shop.scores:gain")
    ('auc', 'minimise shop.scores:cost', 'maximise shop.scores:gain')

    Raises:
        ValueError: it is neither.
    """
    known = (*CLASSIFICATION_METRICS, *REGRESSION_METRICS)
    if value in known:
        return value
    if match := _CUSTOM.fullmatch(value.strip()):
        return f"{match['direction'] or 'maximise'} {match['module']}:{match['function']}"
    close = difflib.get_close_matches(value, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ValueError(
        f"unknown metric {value!r}; {hint}use one of {', '.join(known)}, or [maximise|minimise] package.module:function"
    )


COSTS: tuple[str, ...] = ("parameters", "flops", "memory_mb", "size_mb", "latency_ms")
"""What an architecture costs; as objectives, less is better."""


def parse_objective(value: str) -> str:
    """A metric or a cost.

    Raises:
        ValueError: it is neither.
    """
    return value if value in COSTS else parse_metric(value)


def is_custom(metric: str) -> bool:
    """Whether it is a function of the user's."""
    return ":" in metric


Metric = Annotated[
    str,
    AfterValidator(parse_metric),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [*CLASSIFICATION_METRICS, *REGRESSION_METRICS]},
                {"type": "string", "pattern": r"^((maximise|minimise) )?[A-Za-z_][\w.]*:[A-Za-z_]\w*$"},
            ]
        }
    ),
]

Objective = Annotated[str, AfterValidator(parse_objective)]
"""A metric, or a cost of `COSTS`."""

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
