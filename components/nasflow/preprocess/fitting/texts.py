"""Texts: the vocabulary of tokens, and how many of them the model sees."""

import math

from nasflow.data.schema import Decision
from nasflow.data.transforms.text import TextTransform
from nasflow.preprocess.fitting._base import Facts, Fitted, said
from nasflow.preprocess.planned import PlannedColumn
from nasflow.preprocess.summary import TextSummary
from nasflow.preprocess.text_summary import LEAST_ROWS

LONGEST, COVERED = 256, 0.98


def fit_texts(column: PlannedColumn, facts: Facts) -> Fitted:
    """The tokens of most training rows, with their inverse document frequencies; the length of nearly all rows."""
    found = facts.summary.texts[column.name]["train"]
    vocabulary = () if column.options.buckets is not None else tuple(token for token, _ in found.vocabulary)
    counts = () if column.options.buckets is not None else tuple(rows for _, rows in found.vocabulary)
    length, length_decision = _length(column, found)
    transform = TextTransform(
        name=column.name,
        place=0,  # `fit` numbers those that are left
        vocabulary=vocabulary,
        buckets=column.options.buckets or column.options.oov_buckets or 0,
        length=length,
        idf=tuple(_idf(found.rows, rows) for rows in counts),
        unknown_idf=_idf(found.rows, 1) if counts else 0.0,
    )
    decisions = (_vocabulary(column, found, len(vocabulary)), length_decision)
    return Fitted(transforms={"text": transform}, decisions=decisions, missing=found.missing > 0)


def _idf(rows: int, rows_with: int) -> float:
    return round(math.log((1 + rows) / (1 + rows_with)) + 1, 6)


def _length(column: PlannedColumn, found: TextSummary) -> tuple[int, Decision]:
    if column.options.length is not None:
        return column.options.length, said("length", column.options.length)
    wanted = max(1, found.length(COVERED))
    length = min(wanted, LONGEST)
    reason = f"{COVERED:.0%} of the training rows have no more tokens"
    if wanted > LONGEST:
        reason = (
            f"{COVERED:.0%} of the training rows have up to {wanted:,} tokens; what is behind {LONGEST} is not seen"
        )
    return length, Decision(about="length", choice=f"{length} tokens", reason=reason, confidence=0.8)


def _vocabulary(column: PlannedColumn, found: TextSummary, size: int) -> Decision:
    if column.options.buckets is not None:
        return said("buckets", column.options.buckets)
    least = column.options.least_rows or LEAST_ROWS
    bound = f", each counted to within {found.error:,}" if found.error else ""
    return Decision(
        about="vocabulary",
        choice=f"{size:,} tokens",
        reason=f"those in {least} training rows or more, of {found.distinct:,} different ones{bound}",
    )
