"""Tournaments (Goldberg & Deb 1991): how a population chooses its parents."""

from collections.abc import Sequence

import numpy as np

from nasflow.strategies._base import Result, ranked


def winner(alive: Sequence[Result], size: int, rng: np.random.Generator) -> Result:
    """The best of `size` members, drawn with replacement; all have a score, of equal ones the first that was drawn."""
    return ranked(alive[int(place)] for place in rng.integers(len(alive), size=size))[0]
