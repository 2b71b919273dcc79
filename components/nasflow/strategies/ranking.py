"""The likeliest architectures of a relaxed space, one after the other."""

import heapq
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nasflow.spaces.relaxed import Option

Probabilities = Mapping[str, Sequence[float]]
"""By softmax, of its arms."""

_LEAST = 1e-30
Scored = tuple[float, Option]


def most_likely(
    parts: Sequence[Sequence[Option]], probabilities: Probabilities, *, most_skips: int | None = None
) -> Iterator[tuple[float, dict[str, Any]]]:
    """(log of the product of the arms' probabilities, values), largest first; the one that is declared first among
    equals. With `most_skips` only those with so many skip connections at most (Chen et al. 2019, "P-DARTS", §3.3).

    Lazy: the first one costs a sort of each part's options. The skips are divided among the parts in all ways, and the
    ways' own orders are merged, so that a cell full of likely skips does not have to be passed first.

    Where no architecture has so few skips, there is none.
    """
    scored = [sorted(((_score(option, probabilities), option) for option in part), key=_descending) for part in parts]
    if most_skips is None:
        yield from map(_told, _best_first(scored))
        return
    counts = [sorted({option.skips for option in part if option.skips <= most_skips}) for part in parts]
    ways = [
        _best_first(
            [[each for each in part if each[1].skips == count] for part, count in zip(scored, way, strict=True)]
        )
        for way in itertools.product(*counts)
        if sum(way) <= most_skips
    ]
    yield from map(_told, heapq.merge(*ways, key=_by_total))


def skips_of_the_best(parts: Sequence[Sequence[Option]], probabilities: Probabilities) -> int:
    """Skip connections of the likeliest architecture."""
    return sum(max(part, key=lambda option: _score(option, probabilities)).skips for part in parts)


def _best_first(parts: Sequence[Sequence[Scored]]) -> Iterator[tuple[float, tuple[Option, ...]]]:
    """All combinations of one option a part, by falling sum of scores; each part is in falling order."""
    if not all(parts):
        return
    start = (0,) * len(parts)

    def total(places: tuple[int, ...]) -> float:
        return math.fsum(part[place][0] for part, place in zip(parts, places, strict=True))

    waiting, seen = [(-total(start), start)], {start}
    while waiting:
        cost, places = heapq.heappop(waiting)
        yield -cost, tuple(part[place][1] for part, place in zip(parts, places, strict=True))
        for at, place in enumerate(places):
            following = (*places[:at], place + 1, *places[at + 1 :])
            if place + 1 < len(parts[at]) and following not in seen:
                seen.add(following)
                heapq.heappush(waiting, (-total(following), following))


def _told(found: tuple[float, tuple[Option, ...]]) -> tuple[float, dict[str, Any]]:
    return found[0], {name: value for option in found[1] for name, value in option.values.items()}


def _score(option: Option, probabilities: Probabilities) -> float:
    return sum(math.log(max(probabilities[name][arm], _LEAST)) for name, arm in option.arms)


def _descending(scored: Scored) -> float:
    return -scored[0]


def _by_total(found: tuple[float, tuple[Option, ...]]) -> float:
    return -found[0]
