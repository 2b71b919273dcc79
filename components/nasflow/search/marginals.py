"""What a regression tree over genes says of one gene, or of two: exact means over all the others.

A tree cuts the space into boxes and is constant in each (Hutter, Hoos, Leyton-Brown 2014, "An Efficient Approach for
Assessing Hyperparameter Importance", section 3). A gene's part of a box is a set of *cells*: its values where they are
few, else the intervals between the tree's own thresholds; a cell weighs what a random point has of it. One more cell
is for a gene that is not active.

Where we differ: there the space is a box itself, and inactive genes have a default value, as if it mattered. Here a
child counts only where its parent wakes it up. Conditions form trees, so the weight of a box is a product of sums along
them (belief propagation, Pearl 1988): still exact, still linear in the number of leaves.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.spaces.parameters import Choice, Integer, Parameter

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_INACTIVE = -1.0
_MOST_VALUES = 64
"""An integer with more of them is cut by the tree's thresholds, as a real is."""


class Encoding:
    """Genes as columns of numbers: a place in [0, 1], or for texts a column a value with 0 or 1; −1 where inactive."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = tuple(parameters)
        self.children: dict[str, list[str]] = {parameter.name: [] for parameter in parameters}
        self.columns: dict[str, slice] = {}
        width = 0
        for parameter in parameters:
            if parameter.when is not None:
                self.children[parameter.when.parent].append(parameter.name)
            own = len(self._code(parameter, parameter.sample(np.random.default_rng(0))))
            self.columns[parameter.name] = slice(width, width + own)
            width += own
        self.width = width

    def rows(self, points: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
        """float32 [points, width], as scikit-learn's trees compare them."""
        found = np.full((len(points), self.width), _INACTIVE, np.float32)
        for row, values in zip(found, points, strict=True):
            for parameter in self.parameters:
                if parameter.name in values:
                    row[self.columns[parameter.name]] = self._code(parameter, values[parameter.name])
        return found

    def cells(self, parameter: Parameter, thresholds: Floats) -> "Cells":
        """Of one gene; `thresholds`: where a tree cuts it, sorted (of no account where its values are few)."""
        width = self.columns[parameter.name]
        if (few := self.values(parameter)) is not None:
            weights = np.full(len(few), 1.0)
            if isinstance(parameter, Integer) and parameter.log:
                weights = np.array([np.log((value + 0.5) / (value - 0.5)) for value in few])
            codes = np.array([self._code(parameter, value) for value in few], np.float32)
        else:
            edges = np.concatenate([[0.0], thresholds[(thresholds > 0) & (thresholds < 1)], [1.0]])
            weights = np.diff(edges)
            codes = ((edges[:-1] + edges[1:]) / 2)[:, None].astype(np.float32)
        idle = np.full((1, width.stop - width.start), _INACTIVE, np.float32)
        return Cells(codes=np.concatenate([codes, idle]), weights=weights / weights.sum(), values=few)

    def values(self, parameter: Parameter) -> tuple[Any, ...] | None:
        """A gene's values where they are few; None where they are not."""
        if isinstance(parameter, Choice):
            return parameter.values
        if isinstance(parameter, Integer) and parameter.count <= _MOST_VALUES:
            return tuple(range(parameter.low, parameter.high + 1))
        return None

    def _code(self, parameter: Parameter, value: Any) -> list[float]:
        if isinstance(parameter, Choice) and isinstance(parameter.values[0], str):
            return [float(value == known) for known in parameter.values]
        return [parameter.unit(value)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Of one gene in one tree."""

    codes: NDArray[np.float32]
    """[cells + 1, columns]: a point of each; the last one is where the gene is not active."""
    weights: Floats
    """[cells], sum 1: the share of random points, given that the gene is active."""
    values: tuple[Any, ...] | None
    """What each cell stands for; None: intervals."""


@dataclasses.dataclass(frozen=True, slots=True)
class Marginal:
    """A tree's mean over everything but one gene, where that one is active."""

    means: Floats
    """[cells]"""
    weights: Floats
    """[cells], sum 1."""
    active: float
    """The share of random points where it is active."""

    @property
    def variance(self) -> float:
        """Of the means, over random points: what the gene explains alone, where it is active."""
        return float(self.weights @ (self.means - self.weights @ self.means) ** 2)


class Partition:
    """The leaves of one tree, each as a set of cells for every gene."""

    def __init__(self, encoding: Encoding, tree: Any) -> None:
        """`tree`: scikit-learn's ``tree_`` of a regressor that was fitted to `Encoding.rows`."""
        self._encoding = encoding
        self.values, low, high = _leaves(tree, encoding.width)
        self.cells: dict[str, Cells] = {}
        self._inside: dict[str, Bools] = {}
        self._wakes: dict[str, Bools] = {}
        by_name = {parameter.name: parameter for parameter in encoding.parameters}
        for name, parameter in by_name.items():
            columns = encoding.columns[name]
            cut = np.unique(tree.threshold[(tree.children_left >= 0) & (tree.feature == columns.start)])
            cells = self.cells[name] = encoding.cells(parameter, cut)
            codes = cells.codes[None]
            inside = (codes > low[:, None, columns]) & (codes <= high[:, None, columns])
            self._inside[name] = np.asarray(inside.all(axis=2))
            if (when := parameter.when) is not None:
                parent = self.cells[when.parent]
                known = parent.values or [None] * len(parent.weights)  # a real is never exactly what wakes a child up
                self._wakes[name] = np.array([value in when.values for value in known], bool)
        self._root = {name: self._root_of(name, by_name) for name in by_name}
        roots = [name for name in by_name if name == self._root[name]]
        self._trees = {root: [name for name in by_name if self._root[name] == root] for root in roots}
        self._messages = {root: self._pass(root) for root in roots}
        self._whole = {root: self._messages[root].up[root].sum(axis=1) for root in roots}

    @property
    def total(self) -> float:
        """The tree's variance over random points."""
        mass = self._outside()
        mean = float(mass @ self.values)
        return float(mass @ (self.values - mean) ** 2)

    def marginal(self, name: str) -> Marginal:
        """Of one gene. A gene that can never be active has `active` 0, and means that are NaN."""
        mass = self._within(name) * self._outside(self._root[name])[:, None]
        weights = mass.sum(axis=0)
        active = float(weights.sum())
        with np.errstate(invalid="ignore"):
            return Marginal(self.values @ mass / weights, weights / active, active)

    def variance_where_active(self, name: str) -> float:
        """The tree's variance over the random points where a gene is active; 0 where it never is."""
        mass = self._within(name).sum(axis=1) * self._outside(self._root[name])
        if (active := float(mass.sum())) <= 0:
            return 0.0
        mean = float(mass @ self.values) / active
        return float(mass @ (self.values - mean) ** 2) / active

    def interaction(self, one: str, other: str) -> float:
        """The variance that two genes explain together and neither of them alone, where both are active, times the
        share of random points where they are; 0 where they never are."""
        mass, weighted = self._joint(one, other)
        active = float(mass.sum())
        if active <= 0:
            return 0.0
        p, q = mass.sum(axis=1) / active, mass.sum(axis=0) / active
        means = np.divide(weighted, mass, out=np.zeros_like(mass), where=mass > 0)
        rows, columns = means @ q, p @ means  # given both active they are independent of each other
        rest = means - rows[:, None] - columns[None] + float(p @ means @ q)
        return active * float(p @ rest**2 @ q)

    def _joint(self, one: str, other: str) -> tuple[Floats, Floats]:
        """[cells, cells]: the weight of each pair of cells, and the same times the tree's values."""
        roots = self._root[one], self._root[other]
        outside = self._outside(*roots)
        if roots[0] != roots[1]:
            left, right = self._within(one), self._within(other) * outside[:, None]
            return left.T @ right, (left * self.values[:, None]).T @ right
        found = []
        for cell in range(len(self.cells[one].weights)):
            messages = self._pass(roots[0], {one: cell})
            mass = messages.down[other][:, None] * messages.up[other] * outside[:, None]
            found.append((mass.sum(axis=0), self.values @ mass))
        masses, weighted = zip(*found, strict=True)
        return np.array(masses), np.array(weighted)

    def _within(self, name: str) -> Floats:
        """[leaves, cells]: the weight of each cell in each leaf, as far as the gene's own tree of conditions goes."""
        messages = self._messages[self._root[name]]
        return messages.down[name][:, None] * messages.up[name]

    def _outside(self, *roots: str) -> Floats:
        """[leaves]: the weight of all the other trees of conditions."""
        rest = [mass for root, mass in self._whole.items() if root not in roots]
        return np.prod(rest, axis=0) if rest else np.ones(len(self.values))

    def _pass(self, root: str, given: Mapping[str, int] = MappingProxyType({})) -> "_Messages":
        """Weights along one tree of conditions; genes in `given` are active and in that cell."""
        up: dict[str, Floats] = {}
        base: dict[str, Floats] = {}
        factor: dict[str, Any] = {}
        idle: dict[str, Any] = {}
        for name in reversed(self._trees[root]):
            inside, weights = self._inside[name], self.cells[name].weights
            own = base[name] = inside[:, :-1] * (
                weights if name not in given else weights * (np.arange(len(weights)) == given[name])
            )
            idle[name] = inside[:, -1] * float(name not in given)
            for child in self._encoding.children[name]:
                own = own * factor[child]
                idle[name] = idle[name] * idle[child]
            up[name] = own
            if name != root:
                factor[name] = np.where(self._wakes[name], own.sum(axis=1)[:, None], idle[name][:, None])
        down: dict[str, Any] = {root: np.ones(len(self.values))}
        for name in self._trees[root]:
            for child in self._encoding.children[name]:
                mass: Any = base[name] * self._wakes[child]
                for sibling in self._encoding.children[name]:
                    if sibling != child:
                        mass = mass * factor[sibling]
                down[child] = down[name] * mass.sum(axis=1)
        return _Messages(up, down)

    def _root_of(self, name: str, by_name: Mapping[str, Parameter]) -> str:
        when = by_name[name].when
        return name if when is None else self._root_of(when.parent, by_name)


@dataclasses.dataclass(frozen=True, slots=True)
class _Messages:
    """`up` [leaves, cells]: the weight of a gene's cells and all below it, given that it is active; `down` [leaves]: of
    everything else in its tree of conditions, and that it is active."""

    up: dict[str, Floats]
    down: dict[str, Floats]


def _leaves(tree: Any, width: int) -> tuple[Floats, Floats, Floats]:
    """The value of each leaf, and its box: low < code <= high, [leaves, width]."""
    values, lows, highs = [], [], []
    stack = [(0, np.full(width, -np.inf), np.full(width, np.inf))]
    while stack:
        node, low, high = stack.pop()
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left < 0:
            values.append(float(tree.value[node].ravel()[0]))
            lows.append(low)
            highs.append(high)
            continue
        column, threshold = int(tree.feature[node]), float(tree.threshold[node])
        below, above = high.copy(), low.copy()
        below[column] = min(high[column], threshold)
        above[column] = max(low[column], threshold)
        stack += [(left, low, below), (right, above, high)]
    return np.array(values), np.array(lows), np.array(highs)
