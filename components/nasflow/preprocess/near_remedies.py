"""The Beam pipelines of `data.optimise.drop_near_duplicates`, and all that drop rows together."""

import functools
import logging
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.core.spec import OptimiseSection
from nasflow.core.storage import join, storage_for
from nasflow.preprocess import drops, near_drops, near_image_remedies
from nasflow.preprocess.engine import Engine
from nasflow.preprocess.items import Item, Reading
from nasflow.preprocess.near_texts import BANDS, HASHES, signatures
from nasflow.preprocess.progress import Part, Progress
from nasflow.preprocess.remedies import collected, find_drops

_DROPPED = "near-dropped"

logger = logging.getLogger(__name__)


def find_all_drops(reading: Reading, optimise: OptimiseSection, uri: str, engine: Engine) -> tuple[str, ...]:
    """Names of the objects below `uri` that say which rows to leave out, by every remedy that is on.

    Raises:
        DataError: a file is damaged.
    """
    exact = optimise.drop_duplicates or optimise.drop_conflicting_labels
    found = find_drops(reading, optimise, uri, engine) if exact else ()
    return found + (find_near_drops(reading, uri, engine) if optimise.drop_near_duplicates else ())


def find_near_drops(reading: Reading, uri: str, engine: Engine) -> tuple[str, ...]:
    """As `remedies.find_drops`, for rows whose texts or images nearly repeat others'. None where the data have neither.

    Raises:
        DataError: a file is damaged.
    """
    if reading.plan.image is not None:
        return near_image_remedies.find_near_images(reading, uri, engine)
    if not any(column.kind == "text" for column in reading.plan.columns):
        logger.warning("preprocess: data.optimise.drop_near_duplicates is for texts and images, and the data have none")
        return ()
    items = reading.items()
    name = join(uri, _DROPPED)
    if not storage_for(name).exists(name):
        logger.info("preprocess: looking for texts that nearly repeat others in %d parts", len(items))
        sign = functools.partial(_Sign, reading, uri)
        pair, verify = functools.partial(_Pair, len(items), uri), functools.partial(_Verify, len(items), uri)
        counts = collected("sign", items, sign, join(uri, "signed.json"), engine)
        if problems := [found for _, found in counts if isinstance(found, str)]:
            raise DataError(problems[0])
        collected("pair", range(BANDS), pair, join(uri, "paired.json"), engine)
        dropped = collected("verify", [0], verify, join(uri, "verified.json"), engine)
        logger.info("preprocess: %s rows nearly repeat others and are dropped", f"{int(dropped[0][1]):,}")
    return (name,)


class _Sign(beam.DoFn):
    """Writes each usable row's MinHash signature; yields the item's rows, or what is wrong with its file."""

    def __init__(self, reading: Reading, uri: str, progress: Progress) -> None:
        self._reading, self._uri, self._progress = reading, uri, progress

    def process(self, item: Item) -> Iterator[tuple[int, int | str]]:
        part = self._progress.part(item.piece.files[0], item.index)
        try:
            signature, roles = _signed_rows(self._reading, item, part)
        except DataError as error:
            yield item.index, str(error)
            return
        near_drops.write_signatures(_signed(self._uri, item.index), signature, roles)
        part.done()
        yield item.index, len(roles)


class _Pair(beam.DoFn):
    """Pairs the rows that agree in a band."""

    def __init__(self, items: int, uri: str, progress: Progress) -> None:
        self._items, self._uri, self._progress = items, uri, progress

    def process(self, band: int) -> Iterator[tuple[int, int]]:
        part = self._progress.part(f"band {band}", band)
        found = near_drops.candidates([_signed(self._uri, index) for index in range(self._items)], band)
        storage_for(self._uri).write(_pairs(self._uri, band), found.tobytes())
        part.done()
        yield band, len(found)


class _Verify(beam.DoFn):
    """Compares all pairs; leaves the places to drop."""

    def __init__(self, items: int, uri: str, progress: Progress) -> None:
        self._items, self._uri, self._progress = items, uri, progress

    def process(self, _: int) -> Iterator[tuple[int, int]]:
        part, storage = self._progress.part("all pairs", 0), storage_for(self._uri)
        pairs = np.concatenate(
            [np.frombuffer(storage.read(_pairs(self._uri, band)), near_drops.PAIR) for band in range(BANDS)]
        )
        found = near_drops.verified([_signed(self._uri, index) for index in range(self._items)], pairs)
        pieces = found["piece"].astype(np.int64)
        drops.write_groups(join(self._uri, _DROPPED), near_drops.dropped(found), pieces, self._items)
        part.done()
        yield 0, len(found)


def _signed_rows(reading: Reading, item: Item, progress: Part) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    names = [column.name for column in reading.plan.columns if column.kind == "text"]
    parts, roles = [np.empty((0, HASHES), np.uint16)], [np.empty(0, np.uint8)]
    for rows in reading.rows(item):
        progress.add(rows=rows.rows + len(rows.dead), dead=len(rows.dead))
        signature, has_text = signatures([rows.raw[name].text() for name in names])
        parts.append(signature)
        roles.append(
            np.where(has_text, near_image_remedies.roles(reading, item, rows), near_drops.NO_TEXT).astype(np.uint8)
        )
    return np.concatenate(parts), np.concatenate(roles)


def _signed(uri: str, index: int) -> str:
    return join(uri, f"signatures-{index:05d}")


def _pairs(uri: str, band: int) -> str:
    return join(uri, f"pairs-{band:02d}")
