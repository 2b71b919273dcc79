"""One pass over the rows: everything that the schema, the TransformSpec, the statistics and the report need.

Feature statistics are of the training split only. Labels are counted over all splits: the class list is the training
source's, so that no split loses rows to a rare class.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.artifacts import SPLITS
from nasflow.core.spec import SplitSection
from nasflow.data.golden import GOLDEN_ROWS
from nasflow.data.schema import RAW_OF
from nasflow.preprocess.analyzers import Counts, Moments, Pixels, Sample
from nasflow.preprocess.clean import CleanRows, select
from nasflow.preprocess.dead_letters import DeadLetters
from nasflow.preprocess.distinct import Distinct
from nasflow.preprocess.fingerprints import Fingerprints
from nasflow.preprocess.golden_rows import golden, listed
from nasflow.preprocess.inspection import Inspection
from nasflow.preprocess.near import NearImages
from nasflow.preprocess.near_texts import NearTexts
from nasflow.preprocess.nested_analyzers import ListCounts, VectorMoments
from nasflow.preprocess.parked import collect, park
from nasflow.preprocess.plan import Plan
from nasflow.preprocess.sources._base import Role
from nasflow.preprocess.split import TEST, TRAIN, assign, label_bits, priorities
from nasflow.preprocess.split_survey import Cuts
from nasflow.preprocess.summary import (
    MOST_DISCRETE,
    MOST_EDGES,
    CategoricalSummary,
    DistinctSummary,
    DuplicateSummary,
    GoldenRow,
    ImageSummary,
    ListSummary,
    NumericSummary,
    Summary,
    VectorSummary,
)
from nasflow.preprocess.text_summary import text_summaries
from nasflow.preprocess.token_counts import TokenCounts

_SAMPLE_PICTURES = 24
_PICTURE_PIXELS = 128 * 128
_MAX_CLASSES = 10_000
_COUNTED = ("categorical", "boolean")


@dataclasses.dataclass(slots=True)
class Analysis:
    """Mergeable findings of some part of the rows."""

    plan: Plan
    dead: DeadLetters = dataclasses.field(default_factory=DeadLetters)
    split_rows: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(len(SPLITS), np.int64))
    numeric: dict[str, Moments] = dataclasses.field(default_factory=dict)
    distinct: dict[str, Distinct] = dataclasses.field(default_factory=dict)
    categorical: dict[str, Counts] = dataclasses.field(default_factory=dict)
    lists: dict[str, ListCounts] = dataclasses.field(default_factory=dict)
    vectors: dict[str, VectorMoments] = dataclasses.field(default_factory=dict)
    texts: dict[str, dict[str, TokenCounts]] = dataclasses.field(default_factory=dict)
    weights: dict[str, Moments] = dataclasses.field(default_factory=dict)
    pixels: Pixels | None = None
    classes: dict[str, Counts] = dataclasses.field(default_factory=dict)
    targets: dict[str, Moments] = dataclasses.field(default_factory=dict)
    fingerprints: dict[Role, Fingerprints] = dataclasses.field(default_factory=dict)
    parked: tuple[str, ...] = ()
    """Objects with the fingerprints of parts that sent theirs away; see `nasflow.preprocess.parked`."""
    near: NearImages = dataclasses.field(default_factory=NearImages)
    near_texts: NearTexts = dataclasses.field(default_factory=NearTexts)
    inspection: Inspection = dataclasses.field(default_factory=lambda: Inspection({}))
    pictures: Sample = dataclasses.field(default_factory=lambda: Sample(_SAMPLE_PICTURES))
    golden: Sample = dataclasses.field(default_factory=lambda: Sample(2 * GOLDEN_ROWS))
    """Twice as many as are kept: a label that training never has makes a row dead."""

    @classmethod
    def start(cls, plan: Plan) -> "Analysis":
        """Nothing seen yet."""
        found = cls(plan)
        found.numeric = {column.name: Moments() for column in plan.columns if RAW_OF[column.kind] == "number"}
        found.distinct = {name: Distinct() for name in found.numeric}
        found.categorical = {column.name: Counts() for column in plan.columns if column.kind in _COUNTED}
        found.lists = {column.name: ListCounts() for column in plan.columns if column.kind == "list"}
        found.vectors = {
            column.name: VectorMoments.of(column.length or 0) for column in plan.columns if column.kind == "vector"
        }
        texts = tuple(column.name for column in plan.columns if column.kind == "text")
        found.texts = {name: {split: TokenCounts() for split in SPLITS} for name in texts}
        found.near_texts = NearTexts(columns=texts)
        found.weights = {split: Moments() for split in SPLITS} if plan.weight is not None else {}
        found.pixels = Pixels.of(plan.image.channels) if plan.image else None
        regression = plan.task == "tabular_regression"
        found.classes = {} if regression else {split: Counts() for split in SPLITS}
        found.targets = {split: Moments() for split in SPLITS} if regression else {}
        found.fingerprints = {"train": Fingerprints(), "test": Fingerprints()}
        found.inspection = Inspection.start(plan)
        return found

    def update(
        self, rows: CleanRows, role: Role, split: SplitSection, *, has_test_file: bool, cuts: Cuts | None = None
    ) -> None:
        """Adds cleaned rows of one source."""
        self.dead.add(rows.dead)
        places, ranks = place_rows(rows, role, split, has_test_file=has_test_file, cuts=cuts)
        self.split_rows += np.bincount(places, minlength=len(SPLITS))
        self.fingerprints[role].update(rows.fingerprints, label_bits(rows.labels))
        self.inspection.update(rows, places, ranks)
        self.near.update(rows, places, ranks)
        self.near_texts.update(rows, places, ranks)
        kinds = {column.name: column.kind for column in self.plan.columns}
        for number, name in enumerate(SPLITS):
            chosen = np.flatnonzero(places == number)
            if not len(chosen):
                continue
            self._update_answers(name, rows, chosen)
            if number == TEST:
                _offer(self.golden, ranks[chosen], functools.partial(golden, rows, chosen, kinds))
            if number == TRAIN:
                self._update_train(rows if len(chosen) == rows.rows else rows.take(chosen), ranks[chosen])

    def _update_answers(self, name: str, rows: CleanRows, chosen: NDArray[np.int64]) -> None:
        labels = select(rows.labels, chosen)
        if self.targets:
            self.targets[name].update(labels)
        else:
            self.classes[name].update(labels)
        if rows.weights is not None:
            self.weights[name].update(rows.weights[chosen])
        for column, counted in self.texts.items():
            counted[name].update(rows.raw[column].take(chosen).text())

    def _update_train(self, rows: CleanRows, ranks: NDArray[np.uint64]) -> None:
        for column, moments in self.numeric.items():
            moments.update(rows.raw[column])
            self.distinct[column].update(rows.raw[column])
        for column, counts in self.categorical.items():
            counts.update(rows.raw[column])
        for column, lists in self.lists.items():
            lists.update(rows.raw[column])
        for column, vectors in self.vectors.items():
            vectors.update(rows.raw[column])
        if self.pixels is not None and rows.images is not None:
            images = rows.images
            self.pixels.update(images)
            if images.shape[1] * images.shape[2] <= _PICTURE_PIXELS:
                labels = rows.labels
                _offer(self.pictures, ranks, lambda wanted: [(labels[r], images[r].copy()) for r in wanted])

    def park(self, folder: str, number: int) -> None:
        """Leaves the fingerprints of this part, the `number`th, below `folder`: the rest is small."""
        self.parked = park(self.fingerprints, folder, number)
        self.fingerprints = {"train": Fingerprints(), "test": Fingerprints()}

    def merge(self, other: "Analysis") -> None:
        """Adds the findings of the part that comes after this one."""
        self.dead.merge(other.dead)
        self.split_rows += other.split_rows
        _merge(self.numeric, other.numeric)
        _merge(self.distinct, other.distinct)
        _merge(self.categorical, other.categorical)
        _merge(self.lists, other.lists)
        _merge(self.vectors, other.vectors)
        for name, counted in self.texts.items():
            _merge(counted, other.texts[name])
        _merge(self.weights, other.weights)
        _merge(self.classes, other.classes)
        _merge(self.targets, other.targets)
        _merge(self.fingerprints, other.fingerprints)
        self.parked += other.parked
        if self.pixels is not None and other.pixels is not None:
            self.pixels.merge(other.pixels)
        self.inspection.merge(other.inspection)
        self.near.merge(other.near)
        self.near_texts.merge(other.near_texts)
        self.pictures.merge(other.pictures)
        self.golden.merge(other.golden)

    def summary(self, *, has_test_file: bool) -> Summary:
        """The final numbers."""
        prints = collect(self.parked)
        _merge(prints, self.fingerprints)
        train, test = prints["train"], prints["test"]
        shared = test.shared(train)
        return Summary(
            rows=int(self.split_rows.sum()) + self.dead.total,
            has_test_file=has_test_file,
            split_rows={name: int(count) for name, count in zip(SPLITS, self.split_rows, strict=True)},
            dead=self.dead,
            numeric={name: _numeric(moments) for name, moments in self.numeric.items()},
            distinct={name: _distinct(values) for name, values in self.distinct.items()},
            categorical={name: _categorical(counts) for name, counts in self.categorical.items()},
            lists={name: _list(lists) for name, lists in self.lists.items()},
            vectors={name: _vector(moments) for name, moments in self.vectors.items()},
            texts={
                column.name: text_summaries(self.texts[column.name], column)
                for column in self.plan.columns
                if column.name in self.texts
            },
            near_texts=self.near_texts.found(),
            weights={name: _numeric(moments) for name, moments in self.weights.items()},
            image=_image(self.pixels) if self.pixels else None,
            classes={name: dict(sorted(counts.values.items())) for name, counts in self.classes.items()},
            too_many_classes=any(
                not counts.exact or counts.distinct > _MAX_CLASSES for counts in self.classes.values()
            ),
            targets={name: _numeric(moments) for name, moments in self.targets.items()},
            duplicates=DuplicateSummary(
                train_source=train.duplicates(),
                test_source=test.duplicates(),
                test_in_train=shared,
                conflicting=train.conflicting(),
                exact=train.shift == 0,
            ),
            frames=self.inspection.frames(),
            near=self.near.found(),
            pictures=[(label, picture.tolist()) for label, picture in self.pictures.items],
            golden=[GoldenRow(row=listed(row), label=label) for row, label in self.golden.items if row is not None],
        )


def place_rows(
    rows: CleanRows, role: Role, split: SplitSection, *, has_test_file: bool, cuts: Cuts | None = None
) -> tuple[NDArray[np.int8], NDArray[np.uint64]]:
    """Each row's split (place in `SPLITS`) and priority."""
    ranks = priorities(rows.fingerprints, split.salt)
    if role == "test":
        return np.full(rows.rows, TEST, np.int8), ranks
    if cuts is not None:
        placed = cuts.by_time(rows.keys) if rows.keys is not None else cuts.by_class(rows.labels, ranks)
        return placed, ranks
    if rows.keys is None:
        return assign(ranks, split, has_test_file=has_test_file), ranks
    if split.by == "column":
        return rows.keys.astype(np.int8), ranks
    return assign(priorities(rows.keys, split.salt), split, has_test_file=has_test_file), ranks


def _merge(mine: Mapping[Any, Any], others: Mapping[Any, Any]) -> None:
    for key, accumulator in mine.items():  # the same keys: both started from one plan
        accumulator.merge(others[key])


def _offer(sample: Sample, ranks: NDArray[np.uint64], make: Any) -> None:
    wanted = sample.wanted(ranks)
    if len(wanted):
        sample.add(ranks[wanted], make(wanted.tolist()))


def _numeric(moments: Moments) -> NumericSummary:
    return NumericSummary(
        count=moments.count,
        missing=moments.missing,
        non_finite=moments.non_finite,
        mean=moments.mean,
        std=moments.std,
        min=moments.low if moments.count else None,
        max=moments.high if moments.count else None,
    )


def _distinct(values: Distinct) -> DistinctSummary:
    return DistinctSummary(
        distinct=values.distinct,
        exact=values.exact,
        values=values.values().tolist() if values.exact and values.distinct <= MOST_DISCRETE else [],
        quantiles=values.quantiles(MOST_EDGES).tolist(),
    )


def _categorical(counts: Counts) -> CategoricalSummary:
    return CategoricalSummary(
        count=counts.total,
        missing=counts.missing,
        distinct=counts.distinct,
        exact=counts.exact,
        top=counts.top(),
    )


def _list(lists: ListCounts) -> ListSummary:
    elements = _categorical(lists.counts)
    return ListSummary(rows=lists.rows, empty=lists.empty, longest=lists.longest, elements=elements)


def _vector(moments: VectorMoments) -> VectorSummary:
    return VectorSummary(
        rows=moments.rows,
        incomplete=moments.incomplete,
        count=moments.count.astype(np.int64).tolist(),
        mean=moments.mean.tolist(),
        std=moments.std.tolist(),
    )


def _image(pixels: Pixels) -> ImageSummary:
    moments = pixels.moments()
    return ImageSummary(
        mean=tuple(mean for mean, _ in moments),
        std=tuple(std for _, std in moments),
        brightness=pixels.counts.sum(axis=0).reshape(16, 16).sum(axis=1).tolist(),
    )
