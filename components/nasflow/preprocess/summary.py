"""What the analysis found, as JSON: the hand-over between the two Beam pipelines, and the source of every statistic."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from nasflow.preprocess.dead_letters import DeadLetters

MOST_DISCRETE = 256
"""A numeric column of more distinct values is no category (research/tabular.md)."""
MOST_EDGES = 129


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_inf_nan="strings", ser_json_bytes="base64", val_json_bytes="base64"
    )


class NumericSummary(_Frozen):
    """A numeric column of the training split, or regression targets."""

    count: int
    """Finite values."""
    missing: int
    non_finite: int
    mean: float
    std: float
    """Population standard deviation."""
    min: float | None
    """None without values."""
    max: float | None


class DistinctSummary(_Frozen):
    """The distinct finite values of a numeric column of the training split."""

    distinct: int
    """How many; estimated where not `exact`."""
    exact: bool
    values: list[float]
    """All of them, ascending, where they are exact and at most `MOST_DISCRETE`; else empty."""
    quantiles: list[float]
    """At most `MOST_EDGES` of them, ascending, the smallest and the largest included, at equal shares of all."""


class CategoricalSummary(_Frozen):
    """A column of texts of the training split."""

    count: int
    missing: int
    distinct: int
    exact: bool
    """False: more distinct texts than are counted; `distinct` is a lower bound and rare texts may be missing."""
    top: list[tuple[str, int]]
    """The vocabulary with its counts, most frequent first, ties by text."""


class ListSummary(_Frozen):
    """A column of lists of categories, of the training split."""

    rows: int
    empty: int
    """Rows without any element; a missing list is one."""
    longest: int
    """Elements of the longest list."""
    elements: CategoricalSummary


class VectorSummary(_Frozen):
    """A column of vectors of the training split, by place."""

    rows: int
    incomplete: int
    """Rows in which a number is missing or not finite."""
    count: list[int]
    mean: list[float]
    std: list[float]


class TextSummary(_Frozen):
    """A text column in one split."""

    rows: int
    missing: int
    empty: int
    """Rows without any token, missing ones included."""
    tokens: int
    distinct: int
    """Different tokens; where `error` is not 0, of those that are still counted."""
    error: int
    """Counts may be too small by at most this; see `nasflow.preprocess.token_counts`."""
    unknown: float
    """Share of the tokens that are not in the vocabulary."""
    lengths: dict[str, int]
    """By share of the rows with tokens (``0.5``, …), how many tokens they have at most."""
    top: list[tuple[str, int]]
    """The most frequent tokens and how often they occur."""
    psi: float | None = None
    """Population stability index of the tokens against the training rows': of its 30 most frequent ones, each by
    itself, and all others together. None for the training split."""
    vocabulary: list[tuple[str, int]] = []
    """Of the training split: tokens and in how many rows they are, those in most rows first."""

    def length(self, share: float) -> int:
        """One of `lengths`."""
        return self.lengths[f"{share:g}"]


class ImageSummary(_Frozen):
    """The training images, after resizing."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    brightness: list[int]
    """How often each of 16 equal ranges of 0–255 occurs, over all channels."""


class DuplicateSummary(_Frozen):
    """Exact duplicates (equal features), found by fingerprint."""

    train_source: int
    """Rows of the training source that have an equal one before them. A split by hash keeps them together; a
    stratified one only those with the same label."""
    test_source: int
    test_in_train: int
    """Rows of a separate test file that are in the training source, too."""
    conflicting: int
    """Rows of the training source whose features occur in it with another label, too."""
    exact: bool
    """False: estimated from a sample of the distinct rows."""


class GoldenRow(_Frozen):
    """A candidate for the golden rows."""

    row: dict[str, Any]
    label: str | float


class Summary(_Frozen):
    """Everything."""

    rows: int
    """Rows read, dead ones included."""
    has_test_file: bool
    """Whether the test split is a source of its own."""
    split_rows: dict[str, int]
    dead: DeadLetters
    numeric: dict[str, NumericSummary]
    distinct: dict[str, DistinctSummary]
    """By numeric column."""
    categorical: dict[str, CategoricalSummary]
    lists: dict[str, ListSummary] = {}
    vectors: dict[str, VectorSummary] = {}
    texts: dict[str, dict[str, TextSummary]] = {}
    """By text column and split."""
    near_texts: dict[str, dict[str, Any]] = {}
    """Near duplicates of sampled texts, by split; see `nasflow.preprocess.near_texts`."""
    weights: dict[str, NumericSummary] = {}
    """By split, the rows' weights; empty where no column has them."""
    image: ImageSummary | None
    classes: dict[str, dict[str, int]]
    """By split, rows of each class; empty for regression."""
    too_many_classes: bool
    targets: dict[str, NumericSummary]
    """By split, regression targets; empty for classification."""
    duplicates: DuplicateSummary
    near: dict[str, dict[str, Any]]
    """Near duplicates of training images, by split; see `nasflow.preprocess.near`. Empty for tables."""
    frames: dict[str, bytes]
    """By split, sampled rows; see `nasflow.preprocess.inspection`."""
    pictures: list[tuple[str, list[list[list[int]]]]]
    """Label and pixels [height, width, channels] of sampled training images."""
    golden: list[GoldenRow]
