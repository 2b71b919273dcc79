"""The bins of the operation ``quantile``: the data's edges, thinned to what an architecture asks for."""

import itertools

from nasflow.data.tensors import InputSpec


def bins_of(inputs: InputSpec, most: int) -> tuple[tuple[tuple[float, float], ...], ...]:
    """For each column of ``numeric`` its bins as (low, high), at most `most` of them, together all of the range.

    >>> bins_of(InputSpec(numeric=2, edges=((0.0, 1.0, 2.0, 4.0), ())), most=2)
    (((0.0, 2.0), (2.0, 4.0)), ())
    """
    return tuple(_thinned(edges, most) for edges in inputs.edges)


def widest(inputs: InputSpec, most: int) -> int:
    """The largest number of bins of a column; 0 where no column has edges."""
    return min(most, max((len(edges) - 1 for edges in inputs.edges), default=0))


def _thinned(edges: tuple[float, ...], most: int) -> tuple[tuple[float, float], ...]:
    last = len(edges) - 1
    count = min(most, last)
    if count < 1:
        return ()
    kept = [edges[round(place * last / count)] for place in range(count + 1)]
    return tuple(itertools.pairwise(kept))
