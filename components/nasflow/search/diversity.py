"""How different the points are that a search tries: whether its population has converged."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.spaces.parameters import Choice, Parameter


def distances(parameters: Sequence[Parameter], points: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Gene distance of each pair, float64 [points, points], 0–1 (Gower 1971): the mean over the genes that either of
    them has, of 1 where texts differ or only one has it, and of the difference on the scale for numbers.

    >>> from nasflow.spaces.parameters import Real
    >>> genes = (Choice(name="op", values=("conv", "pool")), Real(name="rate", low=0.0, high=1.0))
    >>> points = [{"op": "conv", "rate": 0.5}, {"op": "pool", "rate": 0.0}, {"op": "pool"}]
    >>> [round(float(d), 3) for d in distances(genes, points)[1]]
    [0.75, 0.0, 0.5]
    """
    apart = np.zeros((len(points), len(points)))
    counted = np.zeros_like(apart)
    for parameter in parameters:
        codes = np.array([_code(parameter, point.get(parameter.name)) for point in points], np.float64)
        has = ~np.isnan(codes)
        either = has[:, None] | has[None]
        both = has[:, None] & has[None]
        difference = np.abs(np.nan_to_num(codes)[:, None] - np.nan_to_num(codes)[None])
        if isinstance(parameter, Choice) and isinstance(parameter.values[0], str):
            difference = (difference > 0).astype(np.float64)
        apart += np.where(both, difference, either)
        counted += either
    return np.divide(apart, counted, out=np.zeros_like(apart), where=counted > 0)


def over_time(
    parameters: Sequence[Parameter], points: Sequence[Mapping[str, Any]], identities: Sequence[str], *, window: int
) -> tuple[list[float], list[float]]:
    """After each trial from the second on, of the last `window`: their mean pairwise distance, and the share of
    different identities among them."""
    spread, distinct = [], []
    for end in range(2, len(points) + 1):
        begin = max(0, end - window)
        between = distances(parameters, points[begin:end])
        count = end - begin
        spread.append(float(between.sum() / (count * (count - 1))))
        distinct.append(len(set(identities[begin:end])) / count)
    return spread, distinct


def _code(parameter: Parameter, value: Any) -> float:
    return float("nan") if value is None else parameter.unit(value)
