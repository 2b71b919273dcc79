"""The two Beam pipelines. What crosses a stage boundary is small: work items, findings, names of shards. The data is
read twice, inside the DoFns, because a fan-out would hold all of it in memory (measured: 4 GB instead of 0.3).

`beam.Create` spreads its elements over the workers by itself: a `Reshuffle` behind it would be the second.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np

from nasflow.core.errors import DataError
from nasflow.core.spec import SplitSection
from nasflow.core.storage import join, storage_for
from nasflow.data.apply import apply_columns, encode_labels
from nasflow.data.reader import IMAGE
from nasflow.data.transform import TransformSpec
from nasflow.preprocess.analysis import Analysis
from nasflow.preprocess.dead_letters import DeadLetters
from nasflow.preprocess.engine import Engine
from nasflow.preprocess.items import Item, Reading
from nasflow.preprocess.outcome import ItemResult, Outcome, Problem, read, write, write_results
from nasflow.preprocess.parked import remove
from nasflow.preprocess.progress import Progress
from nasflow.preprocess.raw_shards import RawWriter
from nasflow.preprocess.shards import ShardWriter
from nasflow.preprocess.split import TEST, priorities
from nasflow.preprocess.split_survey import Cuts, Survey
from nasflow.preprocess.summary import Summary

_MERGED_TOGETHER = 32
UNSEEN = "label is no class of the training data"


class _Survey(beam.DoFn):
    def __init__(self, reading: Reading, progress: Progress) -> None:
        self._reading, self._progress = reading, progress

    def process(self, item: Item) -> Iterator[tuple[int, tuple[int, Any]]]:
        found: Any = Survey()
        part = self._progress.part(_place(item), item.index)
        try:
            for rows in self._reading.rows(item):
                part.add(rows=rows.rows + len(rows.dead), dead=len(rows.dead))
                if rows.keys is not None:
                    found.add_times(rows.keys)
                else:
                    found.add_classes(rows.labels, priorities(rows.fingerprints, self._reading.split.salt))
        except DataError as error:
            found = Problem(index=item.index, message=str(error))
        part.done()
        yield item.index // _MERGED_TOGETHER, (item.index, found)


class Begin(beam.DoFn):
    """Passes elements on; leaves the sign that a worker runs our code."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def setup(self) -> None:
        """Once a worker."""
        self._progress.begun()

    def process(self, element: Any) -> Iterator[Any]:
        self._progress.go_on()
        yield element


class _Analyse(beam.DoFn):
    def __init__(self, reading: Reading, uri: str, progress: Progress) -> None:
        self._reading, self._progress = reading, progress
        self._folder = join(uri.rpartition("/")[0], "fingerprints")

    def setup(self) -> None:
        self._progress.begun()

    def process(self, group: tuple[int, tuple[Item, ...]]) -> Iterator[tuple[int, tuple[int, Any]]]:
        number, items = group
        found: Any = Analysis.start(self._reading.plan)
        for item in items:
            try:
                self._add(found, item)
            except DataError as error:
                found = Problem(index=item.index, message=str(error))
                break
        else:
            found.park(self._folder, number)
        yield number // _MERGED_TOGETHER, (number, found)

    def _add(self, found: Analysis, item: Item) -> None:
        reading = self._reading
        part = self._progress.part(_place(item), item.index)
        for rows in reading.rows(item):
            part.add(rows=rows.rows + len(rows.dead), dead=len(rows.dead))
            found.update(rows, item.role, reading.split, has_test_file=reading.has_test_file, cuts=reading.cuts)
        part.done()


class _Transform(beam.DoFn):
    def __init__(self, reading: Reading, transform: TransformSpec, uri: str, progress: Progress) -> None:
        self._reading, self._transform, self._uri, self._progress = reading, transform, uri, progress

    def setup(self) -> None:
        self._progress.begun()

    def process(self, item: Item) -> Iterator[Any]:
        try:
            yield self._write(item)
        except DataError as error:
            yield Problem(index=item.index, message=str(error))

    def _write(self, item: Item) -> ItemResult:
        dead, raw_writer = DeadLetters(), RawWriter(self._uri, item.index)
        part = self._progress.part(_place(item), item.index)
        with ShardWriter(self._transform, self._uri, item.index) as writer:
            for rows in self._reading.rows(item):
                part.add(rows=rows.rows + len(rows.dead), dead=len(rows.dead))
                dead.add(rows.dead)
                labels = encode_labels(self._transform.label, rows.labels)
                is_class = np.greater_equal(labels, 0) if self._transform.label.classes else np.ones(rows.rows, bool)
                known, unseen = np.flatnonzero(is_class), np.flatnonzero(~is_class)
                dead.add(
                    rows.letter(row, column=self._transform.label.name, value=rows.labels[row], reason=UNSEEN)
                    for row in unseen.tolist()
                )
                kept = rows.take(known) if len(unseen) else rows
                places = self._reading.placed(kept, item.role)
                raw = kept.raw if kept.images is None else kept.raw | {IMAGE: kept.images}
                writer.write(apply_columns(self._transform, raw), labels[known], places, kept.weights)
                raw_writer.write(kept.take(np.flatnonzero(places == TEST)))
            shards, raw_test = writer.finish(), raw_writer.finish()
        part.dead = dead.total  # with the rows whose label is no class
        part.done(shards=len(shards))
        return ItemResult(index=item.index, shards=shards, raw_test=raw_test, dead=dead)


def survey(reading: Reading, uri: str, engine: Engine) -> Cuts | None:
    """Where the split cuts, for those that need a pass over the data to know; left at `uri`, where a run after a crash
    finds it.

    Raises:
        DataError: a file is damaged, or there are too many classes.
        NasflowError: see `Engine.run`.
    """
    if reading.split.by not in ("time", "stratified"):
        return None
    items = [item for item in reading.items() if item.role == "train"]

    def build(pipeline: beam.Pipeline, progress: Progress) -> None:
        begun = pipeline | beam.Create(items) | beam.ParDo(Begin(progress))
        parts = begun | beam.ParDo(_Survey(reading, progress))
        groups = parts | "Group" >> beam.GroupByKey() | beam.Map(lambda group: (0, (group[0], _merge(group[1]))))
        merged = groups | "All" >> beam.GroupByKey() | "Merge" >> beam.Map(lambda group: _merge(group[1]))
        merged | "Write" >> beam.Map(_write_cuts, uri, reading.split, has_test_file=reading.has_test_file)

    if not storage_for(uri).exists(uri):
        engine.run("survey", build, parts=len(items), beside=uri)
    return read(uri).cuts


def analyse(reading: Reading, uri: str, engine: Engine) -> Summary:
    """Runs the first pipeline; its result is left at `uri`, where a run after a crash finds it.

    Raises:
        DataError: a file is damaged.
        NasflowError: see `Engine.run`.
    """
    groups = list(enumerate(reading.groups()))

    def build(pipeline: beam.Pipeline, progress: Progress) -> None:
        parts = pipeline | beam.Create(groups) | beam.ParDo(_Analyse(reading, uri, progress))
        if len(groups) > _MERGED_TOGETHER:
            parts = parts | "Group" >> beam.GroupByKey() | beam.Map(lambda group: (0, (group[0], _merge(group[1]))))
        merged = parts | "All" >> beam.GroupByKey() | "Merge" >> beam.Map(lambda group: _merge(group[1]))
        merged | "Write" >> beam.Map(_write_summary, uri, has_test_file=reading.has_test_file)

    engine.run("analyse", build, parts=sum(len(group) for _, group in groups), beside=uri)
    outcome = read(uri)
    if outcome.summary is None:
        raise RuntimeError(f"{uri}: the analysis left no summary")  # a defect of ours: fail loudly
    return outcome.summary


def transform(
    reading: Reading, spec: TransformSpec, *, data_uri: str, uri: str, engine: Engine, rows: int | None = None
) -> list[ItemResult]:
    """Runs the second pipeline: shards below `data_uri`, the list of them at `uri`. `rows`: how many it will read.

    Raises:
        DataError: a file changed or was damaged since the analysis.
        NasflowError: see `Engine.run`.
    """
    items = reading.items()

    def build(pipeline: beam.Pipeline, progress: Progress) -> None:
        results = (
            pipeline
            | beam.Create(items)
            | beam.ParDo(_Transform(reading, spec, data_uri, progress))
            | beam.Map(lambda result: (0, result))
        )
        results | beam.GroupByKey() | "Write" >> beam.Map(lambda group: write_results(group[1], uri))

    engine.run("transform", build, parts=len(items), beside=uri, rows=rows)
    return read(uri).results


def earlier_analysis(uri: str) -> Summary | None:
    """The analysis that an interrupted run left, if it left one."""
    if not storage_for(uri).exists(uri):
        return None
    return Outcome.model_validate_json(storage_for(uri).read(uri)).summary


def _place(item: Item) -> str:
    file = item.piece.files[0]
    more = f" and {len(item.piece.files) - 1:,} more" if len(item.piece.files) > 1 else ""
    return f"{file}{more} from row {item.piece.first_row}"


def _merge(parts: Iterable[tuple[int, Any]]) -> Any:
    """In the order of the items; the first problem wins. What a runner delivers twice counts once."""
    once = dict(parts)
    ordered = [once[place] for place in sorted(once)]
    if problems := [found for found in ordered if isinstance(found, Problem)]:
        return problems[0]
    whole = ordered[0]
    try:
        for found in ordered[1:]:
            whole.merge(found)
    except DataError as error:  # what only all parts together show
        return Problem(index=0, message=str(error))
    return whole


def _write_summary(found: Any, uri: str, *, has_test_file: bool) -> None:
    if isinstance(found, Problem):
        write(Outcome(problems=[found]), uri)
    else:
        write(Outcome(problems=[], summary=found.summary(has_test_file=has_test_file)), uri)
        remove(found.parked)


def _write_cuts(found: Any, uri: str, split: SplitSection, *, has_test_file: bool) -> None:
    if isinstance(found, Problem):
        write(Outcome(problems=[found]), uri)
    else:
        write(Outcome(problems=[], cuts=found.cuts(split, has_test_file=has_test_file)), uri)
