"""What the Beam pipelines work on: pieces of the sources in a fixed order, and how they become clean rows."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from nasflow.core.spec import SplitSection
from nasflow.preprocess.analysis import place_rows
from nasflow.preprocess.clean import CleanRows, clean
from nasflow.preprocess.drops import without
from nasflow.preprocess.encoding import Encoder
from nasflow.preprocess.plan import Plan
from nasflow.preprocess.sources._base import Choosy, Piece, Role
from nasflow.preprocess.sources.find import Sources
from nasflow.preprocess.split_survey import Cuts

_GROUP_ROWS = 500_000
"""So many rows of neighbouring pieces are analysed as one part: what a part costs to start, to send and to merge is
paid less often, and what it finds is still small."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One piece of one source, with its place in the fixed order of all."""

    index: int
    role: Role
    piece: Piece


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How items become clean rows: what both pipelines share."""

    sources: Sources
    plan: Plan
    split: SplitSection
    cuts: Cuts | None = None
    """Where a split by time, or a stratified one, cuts."""
    drops: tuple[str, ...] = ()
    """Objects that name the rows to leave out; see `nasflow.preprocess.drops`."""
    said: Mapping[int, Mapping[int, tuple[str, str]]] = dataclasses.field(default_factory=dict)
    """Column and value of some dead letters, by piece and place; see `nasflow.preprocess.doubts`."""

    @property
    def has_test_file(self) -> bool:
        """Whether the test split is a source of its own."""
        return self.sources.test is not None

    def items(self) -> list[Item]:
        """All pieces of all sources."""
        found = [(role, piece) for role, source in self.sources.by_role.items() for piece in source.pieces()]
        return [Item(index=index, role=role, piece=piece) for index, (role, piece) in enumerate(found)]

    def groups(self) -> list[tuple[Item, ...]]:
        """All items, neighbours with few rows together; one whose rows are not known stays alone. They depend on the
        sources alone: floating-point sums differ in their last bits with what is summed first."""
        groups: list[list[Item]] = []
        rows = 0
        for item in self.items():
            known = item.piece.rows
            last = groups[-1][-1] if groups else None
            joins = last is not None and last.role == item.role and None not in (known, last.piece.rows)
            if joins and rows + (known or 0) <= _GROUP_ROWS:
                groups[-1].append(item)
            else:
                groups.append([item])
                rows = 0
            rows += known or 0
        return [tuple(group) for group in groups]

    def rows(self, item: Item) -> Iterator[CleanRows]:
        """Clean batches of an item."""
        encoder = Encoder()
        source = self.sources.by_role[item.role]
        if isinstance(source, Choosy):
            source = source.only(self.plan.want(item.role))
        batches = (clean(batch, self.plan, item.role, encoder) for batch in source.read(item.piece))
        return without(batches, self.drops, item.index, self.said.get(item.index, {})) if self.drops else batches

    def placed(self, rows: CleanRows, role: Role) -> NDArray[np.int8]:
        """Each row's place in `SPLITS`."""
        return place_rows(rows, role, self.split, has_test_file=self.has_test_file, cuts=self.cuts)[0]
