"""The trainings that a trial is made of, and how their scores become one."""

import dataclasses
import statistics
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import UserError
from nasflow.core.spec import ValidationSection

Rows = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Training:
    """One of them."""

    seed: int
    """Which, from 0."""
    train: Rows | None = None
    """Places in train + validation; None: the splits as they are."""
    validation: Rows | None = None


def trainings(section: ValidationSection, labels: NDArray[np.generic] | None, *, seed: int) -> list[Training]:
    """Seeds × repeats × folds, seeds outermost; the first is what early stopping compares.

    Args:
        section: what the user asked for.
        labels: of train + validation, in this order; needed for folds. Integers (classes) are spread evenly over the
            folds (stratified), other labels are not.
        seed: of the shuffles: the same folds for every trial of a study.

    Raises:
        UserError: fewer rows than folds.
    """
    if section.folds is None:
        return [Training(seed=number) for number in range(section.seeds)]
    if labels is None or len(labels) < section.folds:
        rows = 0 if labels is None else len(labels)
        raise UserError(f"search.validation.folds: {section.folds} folds of {rows} rows; use fewer folds")
    found: list[Training] = []
    for repeat in range(section.repeats):
        fold_of = _folds(labels, section.folds, np.random.default_rng([seed, repeat]))
        for fold in range(section.folds):
            inside = fold_of == fold
            found.append(Training(seed=0, train=np.flatnonzero(~inside), validation=np.flatnonzero(inside)))
    return [dataclasses.replace(each, seed=number) for number in range(section.seeds) for each in found]


def combined(section: ValidationSection, scores: Sequence[float], *, sign: int) -> float:
    """One score of all trainings': the mean over folds and repeats of each seed; then the mean over seeds less
    `caution` times their sample standard deviation (plus, where `sign` is −1: less is better).

    >>> combined(ValidationSection(seeds=2, caution=1.0), [0.90, 0.94], sign=1)
    0.8917157287525381
    >>> combined(ValidationSection(folds=2), [0.5, 0.7], sign=1)
    0.6
    """
    each = len(scores) // section.seeds
    means = [statistics.fmean(scores[start : start + each]) for start in range(0, len(scores), each)]
    spread = statistics.stdev(means) if len(means) > 1 else 0.0
    return statistics.fmean(means) - sign * section.caution * spread


def _folds(labels: NDArray[np.generic], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The fold of each row: shuffled, then dealt out class by class, going on where the last class ended."""
    shuffled = rng.permutation(len(labels))
    if np.issubdtype(labels.dtype, np.integer):
        shuffled = shuffled[np.argsort(labels[shuffled], kind="stable")]
    found = np.empty(len(labels), np.int64)
    found[shuffled] = np.arange(len(labels)) % folds
    return found
