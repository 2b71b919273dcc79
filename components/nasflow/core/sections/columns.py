"""`data.columns`: what a person knows better about a column than the inference does."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nasflow.core.sections._base import Section

Kind = Literal["numeric", "integer", "boolean", "categorical", "datetime", "list", "vector", "text", "image"]
Scaling = Literal["zscore", "robust", "minmax", "log", "quantile_uniform", "quantile_normal"]
Imputation = Literal["mean", "median", "constant"]
DatePart = Literal["elapsed_days", "year", "month", "day", "weekday", "hour", "day_of_year", "is_weekend"]
DateEncoding = Literal["ids", "cyclical"]

_NUMBERS: tuple[Kind, ...] = ("numeric", "integer")
_CATEGORIES: tuple[Kind, ...] = ("categorical",)
OPTION_KINDS: dict[str, tuple[Kind, ...]] = {
    "scaling": _NUMBERS,
    "clip": _NUMBERS,
    "impute": _NUMBERS,
    "fill": _NUMBERS,
    "discrete": _NUMBERS,
    "indicator": (*_NUMBERS, "datetime", "vector"),
    "vocabulary": ("categorical", "list", "text"),
    "oov_buckets": ("categorical", "list", "text"),
    "buckets": (*_CATEGORIES, "text"),
    "length": ("text",),
    "least_rows": ("text",),
    "parts": ("datetime",),
    "encodings": ("datetime",),
    "format": ("datetime",),
    "separator": ("list",),
}
"""Which kinds an option is for."""


class ColumnSection(Section):
    """One column. Everything left out is decided from the data; `schema.json` and the report say how and why."""

    kind: Kind | None = None
    """`numeric`, `integer`, `boolean`, `categorical`, `datetime`, `list` (of categories), `vector` (a list of so many
    numbers in every row), `text` or `image`."""
    scaling: Scaling | None = None
    """Numbers: `zscore`, `robust` (median and interquartile range), `minmax` (to 0–1), `log` (signed: sign(x) log(1 +
    |x|), then z-scored), `quantile_uniform` (rank, 0–1), `quantile_normal` (rank as a normal score)."""
    clip: tuple[float, float] | None = None
    """Numbers: values below the first or above the second count as these."""
    impute: Imputation | None = None
    """Numbers: what stands for a missing or infinite value; `constant` needs `fill`. Left out, the mean."""
    fill: float | None = None
    """Numbers: the constant that is imputed."""
    indicator: bool | None = None
    """Numbers, dates, vectors: whether a further column says that the value was missing; left out, where training rows
    lack values."""
    discrete: bool | None = None
    """Numbers: whether they can be seen as categories, too; left out, where values are few and frequent."""
    vocabulary: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Categories, lists, texts: so many of the most frequent (of a text: tokens) have a place of their own (10000; 256
    for lists, 20000 for texts)."""
    oov_buckets: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Categories, lists, texts: all other values share so many places, by hash. Left out, 1, or more where many are
    left."""
    buckets: Annotated[int, Field(ge=2, le=1_000_000)] | None = None
    """Categories, texts: no vocabulary at all, every value (of a text: token) has one of so many places, by hash."""
    length: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Texts: the model sees so many tokens from the beginning. Left out, as many as 98 % of the training rows have, 256
    at most."""
    least_rows: Annotated[int, Field(ge=1)] | None = None
    """Texts: a token is in the vocabulary from so many training rows on (2)."""
    parts: Annotated[tuple[DatePart, ...], Field(min_length=1)] | None = None
    """Dates: which of `elapsed_days`, `year`, `month`, `day`, `weekday`, `hour`, `day_of_year`, `is_weekend`; left out,
    all that are not the same in all training rows. In UTC where the data name no zone."""
    encodings: Annotated[tuple[DateEncoding, ...], Field(min_length=1)] | None = None
    """Dates: how the parts that come round again are seen: as categories (`ids`), as sine and cosine (`cyclical`), or
    both, which is the default."""
    format: str | None = None
    """Dates: how they are written, as Python's `strptime` takes it (`%d/%m/%Y %H:%M`), or `unix` or `unix_ms` for
    numbers. Left out, ISO 8601 or what fits."""
    separator: Annotated[str, Field(min_length=1, max_length=4)] | None = None
    """Lists: what stands between the elements of text such as `a|b|c`; left out, JSON arrays are read."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind is not None:
            self.check_kind(self.kind)
        if (self.impute == "constant") != (self.fill is not None):
            raise ValueError(f"impute: constant and fill go together, got impute: {self.impute} and fill: {self.fill}")
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise ValueError(f"clip must be two numbers, the smaller first; got {list(self.clip)}")
        if self.buckets is not None and (self.vocabulary is not None or self.oov_buckets is not None):
            raise ValueError("buckets hashes every value: leave out vocabulary and oov_buckets")
        if self.format is not None and self.format not in ("unix", "unix_ms") and "%" not in self.format:
            raise ValueError(f"format: {self.format!r} has no % directive; write it as %d/%m/%Y, or unix, or unix_ms")
        return self

    def check_kind(self, kind: Kind) -> None:
        """Whether all options are for a column of this kind.

        Raises:
            ValueError: names the option.
        """
        for option, kinds in OPTION_KINDS.items():
            if getattr(self, option) is not None and kind not in kinds:
                raise ValueError(f"{option} is for {' and '.join(kinds)} columns, this one is {kind}; remove it")
