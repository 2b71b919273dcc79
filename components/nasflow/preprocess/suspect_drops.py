"""`data.optimise.drop_suspect_labels`: the pass in front of the analysis that finds rows to leave out for their label.

A sample of the training and validation rows, 20,000 at most, is judged by models that have not seen the row; only rows
of the sample can be left out, and the report says how many were not looked at. Rows that equal each other are in one
fold, so that none vouches for itself, and rows that other remedies leave out are not asked. Test rows are never looked
at. What is dropped is a part of what `nasflow.preprocess.suspects` finds: see `choose`.
"""

import functools
import io
import logging
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.core.spec import OptimiseSection
from nasflow.core.storage import join, storage_for
from nasflow.preprocess import drops, suspects
from nasflow.preprocess.doubts import Doubts
from nasflow.preprocess.engine import Engine
from nasflow.preprocess.inspection import RowSample, row_ranks, sampled
from nasflow.preprocess.items import Item, Reading
from nasflow.preprocess.progress import Part, Progress
from nasflow.preprocess.remedies import collected
from nasflow.preprocess.split import TEST, priorities

SAMPLE_ROWS = 20_000
_SAMPLE_CELLS, _LEAST_ROWS = 6_000_000, 500
_RANK, _PIECE, _PLACE, _FOLD = "rank", "piece", "place", "fold"
_DROPPED = "suspects-dropped"

logger = logging.getLogger(__name__)


def find_doubts(
    reading: Reading, optimise: OptimiseSection, uri: str, engine: Engine, *, others: tuple[str, ...]
) -> Doubts:
    """Which rows of `reading`, which has all, to leave out, and why; what an interrupted run left below `uri` is used
    again. `others` are objects that name the rows that other remedies leave out.

    Raises:
        DataError: a file is damaged.
    """
    done = join(uri, "suspects.json")
    storage = storage_for(done)
    if storage.exists(done):
        return Doubts.model_validate_json(storage.read(done))
    items = [item for item in reading.items() if item.role == "train"]
    logger.info("preprocess: looking for labels that are probably wrong in %d parts", len(items))
    look = functools.partial(_Look, reading, others, uri)
    counts = collected("look", items, look, join(uri, "looked.json"), engine)
    if problems := [found for _, found in counts if isinstance(found, str)]:
        raise DataError(problems[0])
    sample = RowSample(_size(reading))
    for item in items:
        table = pa.ipc.open_stream(pa.py_buffer(storage.read(_looked(uri, item.index)))).read_all()
        if table.num_rows:
            sample.add(table.column(_RANK).to_numpy(), table)
    name = join(uri, _DROPPED)
    total = sum(int(found) for _, found in counts)
    found, records, pieces = judge(sample.compact(), optimise, reading.plan.label, rows=total)
    drops.write_groups(name, records, pieces, len(reading.items()))
    found = found.model_copy(update={"names": (name,)})
    storage.write(done, found.model_dump_json().encode())
    logger.info("preprocess: %s rows are dropped for a label that is probably wrong", f"{found.dropped:,}")
    return found


def judge(
    frame: pa.Table | None, optimise: OptimiseSection, label: str, *, rows: int
) -> tuple[Doubts, NDArray[np.void], NDArray[np.int64]]:
    """What is found in a sample of `rows` rows, records for `drops.write_groups` and their pieces."""
    records, pieces = np.empty(0, drops.DROP), np.empty(0, np.int64)
    if frame is None:
        return Doubts(looked=0, rows=rows), records, pieces
    scored = suspects.score(frame, np.asarray(frame.column(_FOLD)))
    if scored is None:
        return Doubts(looked=0, rows=rows), records, pieces
    suggested = suspects.confident(scored.probabilities, scored.given)
    chosen = choose(
        scored.probabilities,
        scored.given,
        suggested,
        least=optimise.suspect_probability,
        share=optimise.suspect_share,
    )
    places = scored.rows[chosen]
    records = np.empty(len(chosen), drops.DROP)
    records["place"], records["reason"] = np.asarray(frame.column(_PLACE))[places], drops.SUSPECT
    pieces = np.asarray(frame.column(_PIECE))[places].astype(np.int64)
    said: dict[int, dict[int, tuple[str, str]]] = {}
    for row, piece, place in zip(chosen.tolist(), pieces.tolist(), records["place"].tolist(), strict=True):
        was, seems = scored.names[scored.given[row]], scored.names[suggested[row]]
        sure = float(scored.probabilities[row, suggested[row]])
        said.setdefault(piece, {})[place] = (label, f"{was!r}, more likely {seems!r} ({sure:.1%})")
    found = Doubts(looked=len(scored.rows), rows=rows, suspect=int((suggested >= 0).sum()), said=said)
    return found, records, pieces


def choose(
    probabilities: NDArray[np.float64],
    given: NDArray[np.int64],
    suggested: NDArray[np.int64],
    *,
    least: float,
    share: float,
) -> NDArray[np.int64]:
    """Places of the rows to leave out, ascending: suspects of which another class has at least the probability `least`,
    of each class the clearest (by margin, ties by place), and of no class more than `share` of its rows, rounded down:
    a rare class loses none.

    >>> p = np.array([[0.05, 0.95], [0.01, 0.99], [0.3, 0.7], [0.9, 0.1]])
    >>> given, suggested = np.array([0, 0, 0, 0]), np.array([1, 1, 1, -1])
    >>> choose(p, given, suggested, least=0.9, share=0.5), choose(p, given, suggested, least=0.9, share=0.25)
    (array([0, 1]), array([1]))
    """
    places = np.flatnonzero(suggested >= 0)
    sure = probabilities[places, suggested[places]]
    margin = sure - probabilities[places, given[places]]
    order = np.argsort(-margin, kind="stable")
    places, sure = places[order], sure[order]
    most = np.floor(share * np.bincount(given) + 1e-9).astype(np.int64)
    chosen = [
        places[(given[places] == of_class) & (sure >= least)][: most[of_class]] for of_class in np.unique(given[places])
    ]
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)


class _Look(beam.DoFn):
    """Leaves a sample of an item's training and validation rows; yields how many there are, or what is wrong with its
    file."""

    def __init__(self, reading: Reading, others: tuple[str, ...], uri: str, progress: Progress) -> None:
        self._reading, self._others, self._uri, self._progress = reading, others, uri, progress

    def process(self, item: Item) -> Iterator[tuple[int, int | str]]:
        part = self._progress.part(item.piece.files[0], item.index)
        try:
            yield item.index, self._look(item, part)
        except DataError as error:
            yield item.index, str(error)
            return
        part.done()

    def _look(self, item: Item, part: Part) -> int:
        reading, start, total = self._reading, 0, 0
        texts = frozenset(column.name for column in reading.plan.columns if column.kind == "text")
        gone = drops.dropped_places(self._others, item.index)[0]
        sample = RowSample(_size(reading))
        for rows in reading.rows(item):
            part.add(rows=rows.rows + len(rows.dead), dead=len(rows.dead))
            places = np.arange(start, start + rows.rows)
            start += rows.rows
            usable = np.flatnonzero((reading.placed(rows, item.role) != TEST) & ~np.isin(places, gone))
            total += len(usable)
            own = priorities(rows.fingerprints, reading.split.salt)
            ranks = row_ranks(rows, own)
            chosen = usable[sample.wanted(ranks[usable])]
            if len(chosen):
                table = sampled(rows.take(chosen), texts)
                more = {
                    _RANK: ranks[chosen],
                    _PIECE: np.full(len(chosen), item.index, np.int64),
                    _PLACE: places[chosen],
                    _FOLD: (own[chosen] % np.uint64(suspects.FOLDS)).astype(np.int64),
                }
                for name, values in more.items():
                    table = table.append_column(name, pa.array(values))
                sample.add(ranks[chosen], table)
        found, sink = sample.compact(), io.BytesIO()
        found = pa.table({_RANK: pa.array([], pa.uint64())}) if found is None else found
        with pa.ipc.new_stream(sink, found.schema) as writer:
            writer.write_table(found)
        storage_for(self._uri).write(_looked(self._uri, item.index), sink.getvalue())
        return total


def _size(reading: Reading) -> int:
    """Wide tables have fewer rows in the sample."""
    return min(SAMPLE_ROWS, max(_LEAST_ROWS, _SAMPLE_CELLS // max(1, len(reading.plan.columns))))


def _looked(uri: str, index: int) -> str:
    return join(uri, f"looked-{index:05d}")
