"""A feature column as the plan has it: what reading, counting and fitting it need to know."""

import dataclasses

from nasflow.core.spec import ColumnSection, Kind


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlannedColumn:
    """A feature column."""

    name: str
    kind: Kind
    dtype: str
    reason: str
    confidence: float = 1.0
    length: int | None = None
    """Of vectors."""
    format: str | None = None
    """Of dates in text; None: ISO 8601."""
    given: bool = False
    """Whether `data.columns` says the kind: values that are not of it make their rows dead letters."""
    options: ColumnSection = dataclasses.field(default_factory=ColumnSection)
    """What `data.columns` says."""
