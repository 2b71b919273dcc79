"""The Beam pipelines of `data.optimise.drop_near_duplicates` where rows have an image."""

import functools
import logging
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.core.storage import join, storage_for
from nasflow.preprocess import drops, near_drops, near_image_drops
from nasflow.preprocess.clean import CleanRows
from nasflow.preprocess.engine import Engine
from nasflow.preprocess.items import Item, Reading
from nasflow.preprocess.near import HEIGHT, WIDTH, shrunken
from nasflow.preprocess.near_texts import HASHES, signatures
from nasflow.preprocess.progress import Part, Progress
from nasflow.preprocess.remedies import collected
from nasflow.preprocess.split import TEST

_DROPPED = "near-images-dropped"

logger = logging.getLogger(__name__)


def find_near_images(reading: Reading, uri: str, engine: Engine) -> tuple[str, ...]:
    """As `remedies.find_drops`, for rows whose images nearly repeat others'; where rows have texts, these must nearly
    repeat, too: many texts may be about one picture.

    Raises:
        DataError: a file is damaged.
    """
    items = reading.items()
    name = join(uri, _DROPPED)
    if not storage_for(name).exists(name):
        logger.info("preprocess: looking for images that nearly repeat others in %d parts", len(items))
        texts = tuple(column.name for column in reading.plan.columns if column.kind == "text")
        draw = functools.partial(_Draw, reading, texts, uri)
        counts = collected("draw", items, draw, join(uri, "drawn.json"), engine)
        if problems := [found for _, found in counts if isinstance(found, str)]:
            raise DataError(problems[0])
        pair = functools.partial(_Pair, len(items), uri)
        collected("pair images", range(len(near_image_drops.QUARTERS)), pair, join(uri, "paired-images.json"), engine)
        verify = functools.partial(_Verify, len(items), texts, uri)
        dropped = collected("verify images", [0], verify, join(uri, "verified-images.json"), engine)
        logger.info("preprocess: %s rows nearly repeat others and are dropped", f"{int(dropped[0][1]):,}")
    return (name,)


def roles(reading: Reading, item: Item, rows: CleanRows) -> NDArray[np.uint8]:
    """uint8 [rows]: which may be dropped."""
    if item.role == "test":
        return np.full(rows.rows, drops.TEST_FILE, np.uint8)
    return np.where(reading.placed(rows, item.role) == TEST, drops.KEPT, drops.OPTIONAL).astype(np.uint8)


class _Draw(beam.DoFn):
    """Writes each usable row's shrunken picture, and its texts' MinHash signature; yields the item's rows, or what is
    wrong with its file."""

    def __init__(self, reading: Reading, texts: tuple[str, ...], uri: str, progress: Progress) -> None:
        self._reading, self._texts, self._uri, self._progress = reading, texts, uri, progress

    def process(self, item: Item) -> Iterator[tuple[int, int | str]]:
        part = self._progress.part(item.piece.files[0], item.index)
        try:
            yield item.index, self._draw(item, part)
        except DataError as error:
            yield item.index, str(error)
            return
        part.done()

    def _draw(self, item: Item, part: Part) -> int:
        pictures, known = [np.empty((0, HEIGHT, WIDTH), np.uint8)], [np.empty(0, np.uint8)]
        signed = [np.empty((0, HASHES), np.uint16)]
        for rows in self._reading.rows(item):
            part.add(rows=rows.rows + len(rows.dead), dead=len(rows.dead))
            assert rows.images is not None
            pictures.append(shrunken(rows.images))
            known.append(roles(self._reading, item, rows))
            if self._texts:
                signed.append(signatures([rows.raw[name].text() for name in self._texts])[0])
        found = np.concatenate(known)
        near_image_drops.write_pictures(_drawn(self._uri, item.index), np.concatenate(pictures), found)
        if self._texts:
            near_drops.write_signatures(_signed(self._uri, item.index), np.concatenate(signed), found)
        return len(found)


class _Pair(beam.DoFn):
    """Pairs the rows that meet in a band."""

    def __init__(self, items: int, uri: str, progress: Progress) -> None:
        self._items, self._uri, self._progress = items, uri, progress

    def process(self, band: int) -> Iterator[tuple[int, int]]:
        part = self._progress.part(f"images, band {band}", band)
        found = near_image_drops.candidates([_drawn(self._uri, index) for index in range(self._items)], band)
        storage_for(self._uri).write(_pairs(self._uri, band), found.tobytes())
        part.done()
        yield band, len(found)


class _Verify(beam.DoFn):
    """Compares all pairs; leaves the places to drop."""

    def __init__(self, items: int, texts: tuple[str, ...], uri: str, progress: Progress) -> None:
        self._items, self._texts, self._uri, self._progress = items, texts, uri, progress

    def process(self, _: int) -> Iterator[tuple[int, int]]:
        part, storage = self._progress.part("all pairs of images", 0), storage_for(self._uri)
        bands, items = range(len(near_image_drops.QUARTERS)), range(self._items)
        pairs = np.concatenate([np.frombuffer(storage.read(_pairs(self._uri, b)), near_drops.PAIR) for b in bands])
        signed = [_signed(self._uri, index) for index in items] if self._texts else None
        found = near_image_drops.verified([_drawn(self._uri, index) for index in items], pairs, signed)
        records, pieces = near_image_drops.dropped(found)
        drops.write_groups(join(self._uri, _DROPPED), records, pieces, self._items)
        part.done()
        yield 0, len(records)


def _drawn(uri: str, index: int) -> str:
    return join(uri, f"pictures-{index:05d}")


def _signed(uri: str, index: int) -> str:
    return join(uri, f"signatures-{index:05d}")


def _pairs(uri: str, band: int) -> str:
    return join(uri, f"image-pairs-{band}")
