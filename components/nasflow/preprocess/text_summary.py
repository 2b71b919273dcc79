"""From token counts to what is kept of them: the vocabulary, and each split's share of tokens outside of it."""

from collections.abc import Mapping

import numpy as np

from nasflow.data.drift import psi
from nasflow.preprocess.planned import PlannedColumn
from nasflow.preprocess.summary import TextSummary
from nasflow.preprocess.token_counts import TokenCounts

VOCABULARY, LEAST_ROWS = 20_000, 2
"""Tokens that a vocabulary holds, and training rows that a token must be in, unless `data.columns` says otherwise."""
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.98, 1.0)
_TOP = 30


def text_summaries(counts: Mapping[str, TokenCounts], column: PlannedColumn) -> dict[str, TextSummary]:
    """By split. The vocabulary is the training split's; where no token is in enough rows, all are in it."""
    most = column.options.vocabulary or VOCABULARY
    least = column.options.least_rows or LEAST_ROWS
    vocabulary = counts["train"].vocabulary(most=most, least_rows=least)
    vocabulary = vocabulary or counts["train"].vocabulary(most=most, least_rows=1)
    known = {token for token, _ in vocabulary}
    return {
        split: TextSummary(
            rows=found.rows,
            missing=found.missing,
            empty=int(found.lengths[0]),
            tokens=found.occurrences.total,
            distinct=len(found.occurrences.counts),
            error=found.rows_with.error,
            unknown=round(found.unknown(known), 6),
            lengths={f"{share:g}": found.length(share) for share in SHARES},
            top=found.occurrences.top(_TOP),
            psi=None if split == "train" else _drift(counts["train"], found),
            vocabulary=vocabulary if split == "train" else [],
        )
        for split, found in counts.items()
    }


def _drift(train: TokenCounts, other: TokenCounts) -> float | None:
    if not train.occurrences.total or not other.occurrences.total:
        return None
    tokens = [token for token, _ in train.occurrences.top(_TOP)]
    first, second = (
        np.array([counts.get(token, 0) for token in tokens])
        for counts in (train.occurrences.counts, other.occurrences.counts)
    )
    first = np.append(first, train.occurrences.total - first.sum())
    second = np.append(second, other.occurrences.total - second.sum())
    return round(float(psi(first, second)), 6)
