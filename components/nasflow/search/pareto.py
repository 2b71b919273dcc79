"""Several objectives at once: non-dominated sorting, crowding, hypervolume, a knee. More is better in all of them.

Points are float arrays [points, objectives]; NaN anywhere in a point makes it worse than any other.
"""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def fronts(points: Points) -> NDArray[np.int64]:
    """The front of each point, from 0 (Deb et al. 2002, section III-A): a point is in the first front that holds nobody
    who is at least as good in all objectives and better in one. Equal points share a front.

    >>> fronts(np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0], [1.0, 0.5]]))
    array([0, 0, 2, 1])
    """
    values = np.where(np.isnan(points).any(1, keepdims=True), -np.inf, points)
    at_least = (values[:, None, :] >= values[None, :, :]).all(2)
    dominates = at_least & ~at_least.T
    found = np.full(len(values), -1, np.int64)
    front = 0
    while (left := found < 0).any():
        free = left & ~(dominates & left[:, None]).any(0)
        found[free] = front
        front += 1
    return found


def crowding(points: Points) -> NDArray[np.float64]:
    """The crowding distance of each point among these (Deb et al. 2002, section III-B): for each objective the gap
    between its neighbours, as a share of the range; infinite at the ends.

    >>> crowding(np.array([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0]]))  # the middle one: 4/4 + 4/4
    array([inf,  2., inf])
    """
    distances = np.zeros(len(points))
    for objective in range(points.shape[1]):
        values = points[:, objective]
        order = np.argsort(values, kind="stable")
        span = values[order[-1]] - values[order[0]]
        distances[order[[0, -1]]] = np.inf
        if span > 0 and len(order) > 2:
            distances[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / span
    return distances


def ranks(points: Points) -> NDArray[np.float64]:
    """One number a point by which a strategy may compare: −1 less the front, plus d / (1 + d) of the crowding distance
    d in its front: NSGA-II's crowded comparison (Deb et al. 2002, section III-C) as a scalar. More is better.

    >>> ranks(np.array([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0], [0.0, 1.0]])).round(2)
    array([ 0.  , -0.33,  0.  , -1.  ])
    """
    of = fronts(points)
    found = np.empty(len(points))
    for front in range(int(of.max(initial=-1)) + 1):
        members = of == front
        found[members] = -1.0 - front + _shares(points[members])
    return found


def _shares(members: Points) -> NDArray[np.float64]:
    """Of a front: d / (1 + d) of each crowding distance d."""
    distances = crowding(members)
    return np.where(np.isinf(distances), 1.0, distances / (1 + np.where(np.isinf(distances), 0.0, distances)))


class Levels:
    """Fronts and ranks of points that come one by one: `ranks` of all of them, without comparing all with all again.

    Li, Deb, Zhang, Zhang 2017, "Efficient Nondomination Level Update Method for Steady-State Evolutionary
    Multiobjective Optimization", section III: a new point enters the first front that has nobody who dominates it;
    those of that front that it dominates enter the next one, where they may dominate others, and so on.
    """

    def __init__(self, objectives: int) -> None:
        self._points: Points = np.empty((64, objectives))
        self._values: Points = np.empty((64, objectives))
        self._ranks: NDArray[np.float64] = np.empty(64)
        self._count = 0
        self._fronts: list[NDArray[np.int64]] = []
        self._stale: set[int] = set()

    def add(self, point: NDArray[np.float64]) -> int:
        """One more point; returns its place."""
        place = self._count
        if place == len(self._points):
            self._points, self._values = (np.concatenate([each, each]) for each in (self._points, self._values))
            self._ranks = np.concatenate([self._ranks, self._ranks])
        self._points[place] = point
        self._values[place] = -np.inf if np.isnan(point).any() else point
        self._count += 1
        self._enter(np.array([place], np.int64), self._first_free(place))
        return place

    def ranks(self) -> list[float]:
        """See the function of this name."""
        for front in self._stale:
            members = self._fronts[front]
            self._ranks[members] = -1.0 - front + _shares(self._points[members])
        self._stale.clear()
        found: list[float] = self._ranks[: self._count].tolist()
        return found

    def _first_free(self, place: int) -> int:
        """If a front has nobody who dominates a point, no later one has: its members are dominated by earlier ones."""
        low, high = 0, len(self._fronts)
        while low < high:
            middle = (low + high) // 2
            if self._dominated(np.array([place], np.int64), self._fronts[middle]).any():
                low = middle + 1
            else:
                high = middle
        return low

    def _enter(self, moved: NDArray[np.int64], front: int) -> None:
        while len(moved):
            if front == len(self._fronts):
                self._fronts.append(np.empty(0, np.int64))
            here = self._fronts[front]
            leave = self._dominated(here, moved)
            self._fronts[front] = np.sort(np.concatenate([here[~leave], moved]))
            self._stale.add(front)
            moved, front = here[leave], front + 1

    def _dominated(self, these: NDArray[np.int64], by: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the points are dominated by any of the others."""
        a, b = self._values[these][:, None, :], self._values[by][None, :, :]
        return np.asarray(np.logical_and((b >= a).all(2), (b > a).any(2)).any(1))


def hypervolume(points: Points, reference: NDArray[np.float64]) -> float:
    """The volume that the points dominate above `reference` (Zitzler & Thiele 1999), by slicing along the last
    objective; points that are not above it in all objectives add nothing.

    >>> hypervolume(np.array([[1.0, 3.0], [2.0, 1.0]]), np.array([0.0, 0.0]))  # 1·3 + 1·1
    4.0
    """
    above = points[(points > reference).all(1)] - reference
    return float(_volume(above))


def knee(points: Points) -> int:
    """The place of the point of a front that gives up least: farthest beyond the plane through the extremes, with each
    objective scaled to 0–1 over the front (Das 1999). Scaled so, it has the largest sum; the first among equals.

    >>> knee(np.array([[0.0, 1.0], [0.9, 0.8], [1.0, 0.0]]))
    1
    """
    low, high = points.min(0), points.max(0)
    scaled = (points - low) / np.where(high > low, high - low, 1.0)
    return int(np.argmax(scaled.sum(1)))


def _volume(points: Points) -> float:
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(points.max())
    order = np.argsort(-points[:, -1], kind="stable")
    heights = np.append(points[order, -1], 0.0)
    total = 0.0
    for place in range(len(order)):
        thickness = heights[place] - heights[place + 1]
        if thickness > 0:
            total += thickness * _volume(points[order[: place + 1], :-1])
    return total
