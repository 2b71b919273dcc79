"""Random search (Bergstra & Bengio 2012): the control that every other strategy has to beat."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nasflow.spaces.parameters import Parameter
from nasflow.strategies._base import Result, Suggestion
from nasflow.strategies.novelty import Novelty


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RandomSearch:
    """Independent draws, each parameter from its own distribution, never the same point twice."""

    def suggest(
        self,
        parameters: tuple[Parameter, ...],
        presets: Sequence[Mapping[str, Any]],
        history: Sequence[Result],
        n: int,
        rng: np.random.Generator,
    ) -> list[Suggestion]:
        """See `nasflow.strategies._base.Strategy`."""
        novelty = Novelty(parameters, history, rng)
        return novelty.many(n, novelty.random)
