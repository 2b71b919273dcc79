"""The Beam pipelines in front of the analysis, where `data.optimise` asks for rows to be dropped."""

import functools
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.core.spec import OptimiseSection
from nasflow.core.storage import join, storage_for
from nasflow.preprocess import drops
from nasflow.preprocess.engine import Engine
from nasflow.preprocess.items import Item, Reading
from nasflow.preprocess.pipeline import Begin
from nasflow.preprocess.progress import Part, Progress
from nasflow.preprocess.split import TEST, label_bits

logger = logging.getLogger(__name__)

_ROWS_AT_ONCE = 4_000_000
"""Records that one worker compares at once: about 100 MB."""


class _Record(beam.DoFn):
    """Writes each usable row's record; yields the item's rows, or what is wrong with its file."""

    def __init__(self, reading: Reading, uri: str, progress: Progress) -> None:
        self._reading, self._uri, self._progress = reading, uri, progress

    def process(self, item: Item) -> Iterator[tuple[int, int | str]]:
        part = self._progress.part(item.piece.files[0], item.index)
        try:
            records = _records(self._reading, item, part)
        except DataError as error:
            yield item.index, str(error)
            return
        drops.write_groups(_name(self._uri, item.index), records, drops.bucket(records["row"]), drops.BUCKETS)
        part.done()
        yield item.index, len(records)


class _Decide(beam.DoFn):
    """Compares all records of some buckets; yields how many rows are to be dropped."""

    def __init__(self, optimise: OptimiseSection, items: int, uri: str, progress: Progress) -> None:
        self._optimise, self._items, self._uri, self._progress = optimise, items, uri, progress

    def process(self, buckets: tuple[int, int]) -> Iterator[tuple[int, int]]:
        first, stop = buckets
        part = self._progress.part(f"fingerprints {first} to {stop - 1}", first)
        names = [_name(self._uri, index) for index in range(self._items)]
        records = np.concatenate([drops.read_groups(name, first, stop, drops.RECORD) for name in names])
        found, reasons = drops.decide(
            records, duplicates=self._optimise.drop_duplicates, conflicts=self._optimise.drop_conflicting_labels
        )
        gone = np.empty(len(found), drops.DROP)
        gone["place"], gone["reason"] = found["place"], reasons
        drops.write_groups(_dropped(self._uri, first), gone, found["piece"].astype(np.int64), self._items)
        part.add(rows=len(records), dead=0)
        part.done()
        yield first, len(found)


def find_drops(reading: Reading, optimise: OptimiseSection, uri: str, engine: Engine) -> tuple[str, ...]:
    """Names of the objects below `uri` that say which rows to leave out; those of an interrupted run are used again.

    Raises:
        DataError: a file is damaged.
    """
    items = reading.items()
    done = join(uri, "done.json")
    storage = storage_for(done)
    if not storage.exists(done):
        logger.info("preprocess: looking for rows to drop in %d parts", len(items))
        counts = collected(
            "record", items, functools.partial(_Record, reading, uri), join(uri, "recorded.json"), engine
        )
        if problems := [found for _, found in counts if isinstance(found, str)]:
            raise DataError(problems[0])
        ranges = bucket_ranges(sum(int(found) for _, found in counts))
        decide = functools.partial(_Decide, optimise, len(items), uri)
        dropped = collected("compare", ranges, decide, join(uri, "decided.json"), engine)
        logger.info("preprocess: %s rows are dropped", f"{sum(int(found) for _, found in dropped):,}")
        storage.write(done, json.dumps([first for first, _ in ranges]).encode())
    return tuple(_dropped(uri, first) for first in json.loads(storage.read(done)))


def bucket_ranges(rows: int) -> list[tuple[int, int]]:
    """Buckets [first, stop) for each worker, so that about `_ROWS_AT_ONCE` rows meet.

    >>> bucket_ranges(1000), len(bucket_ranges(40_000_000))
    ([(0, 256)], 11)
    """
    step = max(1, drops.BUCKETS * _ROWS_AT_ONCE // max(1, rows))
    return [(first, min(first + step, drops.BUCKETS)) for first in range(0, drops.BUCKETS, step)]


def _records(reading: Reading, item: Item, progress: Part) -> NDArray[np.void]:
    parts = []
    start = 0
    for rows in reading.rows(item):
        progress.add(rows=rows.rows + len(rows.dead), dead=len(rows.dead))
        places = reading.placed(rows, item.role)
        part = np.empty(rows.rows, drops.RECORD)
        part["row"], part["label"] = rows.fingerprints, label_bits(rows.labels)
        part["piece"], part["place"] = item.index, np.arange(start, start + rows.rows)
        part["role"] = np.where(places == TEST, drops.KEPT, drops.OPTIONAL)
        if item.role == "test":
            part["role"] = drops.TEST_FILE
        parts.append(part)
        start += rows.rows
    return np.concatenate(parts) if parts else np.empty(0, drops.RECORD)


def collected(
    stage: str, elements: Iterable[Any], work: Callable[[Progress], beam.DoFn], uri: str, engine: Engine
) -> list[tuple[int, int | str]]:
    """Maps `work` over the elements; its small results go through an object, as a runner may be elsewhere."""
    parts = list(elements)

    def build(pipeline: beam.Pipeline, progress: Progress) -> None:
        begun = pipeline | beam.Create(parts) | beam.ParDo(Begin(progress))
        keyed = begun | beam.ParDo(work(progress)) | beam.Map(lambda result: (0, result))
        keyed | beam.GroupByKey() | "Write" >> beam.Map(lambda group: _write(uri, sorted(dict(group[1]).items())))

    engine.run(stage, build, parts=len(parts), beside=uri)
    return [(place, found) for place, found in json.loads(storage_for(uri).read(uri))]


def _write(uri: str, results: list[tuple[int, int | str]]) -> None:
    storage_for(uri).write(uri, json.dumps(results).encode())


def _name(uri: str, index: int) -> str:
    return join(uri, f"records-{index:05d}")


def _dropped(uri: str, first: int) -> str:
    return join(uri, f"dropped-{first:03d}")
