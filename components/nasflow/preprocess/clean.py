"""From a batch as the file has it to typed rows: unusable ones become dead letters, the others are fingerprinted."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.data.codes import Codes
from nasflow.data.image import decode_resized, resize
from nasflow.data.reader import pixels
from nasflow.preprocess import cells, split
from nasflow.preprocess.dead_letters import DeadLetter
from nasflow.preprocess.encoding import Encoder, among, too_long
from nasflow.preprocess.plan import ImagePlan, Plan
from nasflow.preprocess.reading import read_column
from nasflow.preprocess.sources._base import IMAGE, Role, RowBatch
from nasflow.preprocess.split_keys import read_keys

_NON_FINITE = ("inf", "-inf")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CleanRows:
    """Usable rows of a batch, and the letters for the others."""

    batch: RowBatch
    kept: NDArray[np.int64]
    """Places in the batch of the rows that stayed."""
    raw: dict[str, Any]
    """By column, as `nasflow.data.schema.RAW_OF` says; texts as `Codes`."""
    images: NDArray[np.uint8] | None
    """uint8 [n, height, width, channels] in the target size; None for tables."""
    labels: Any
    """`Codes` of class names, or float64."""
    fingerprints: NDArray[np.uint64]
    dead: tuple[DeadLetter, ...]
    keys: NDArray[Any] | None = None
    """What the split goes by (`nasflow.preprocess.split_keys`); None where no column is named."""
    weights: NDArray[np.float64] | None = None
    """How much each row counts; None where no column says it."""

    @property
    def rows(self) -> int:
        """Usable rows."""
        return len(self.fingerprints)

    def letter(self, row: int, *, column: str, value: object, reason: str) -> DeadLetter:
        """A dead letter for a row that was usable so far."""
        place = int(self.kept[row])
        number = int(self.batch.rows[place])
        return DeadLetter.of(file=self.batch.file(place), row=number, column=column, value=value, reason=reason)

    def take(self, rows: NDArray[np.integer[Any]]) -> "CleanRows":
        """A selection, without dead letters."""
        images = None if self.images is None else self.images[rows]
        own = self.images is not None and self.raw.get(IMAGE) is self.images  # kept once, selected once
        return dataclasses.replace(
            self,
            kept=self.kept[rows],
            raw={name: images if own and name == IMAGE else select(values, rows) for name, values in self.raw.items()},
            images=images,
            labels=select(self.labels, rows),
            fingerprints=self.fingerprints[rows],
            dead=(),
            keys=None if self.keys is None else self.keys[rows],
            weights=None if self.weights is None else self.weights[rows],
        )


def select(values: Any, rows: NDArray[np.integer[Any]]) -> Any:
    """Rows of an array, or of codes."""
    return values.take(rows) if isinstance(values, Codes) else values[rows]


def clean(batch: RowBatch, plan: Plan, role: Role = "train", encoder: Encoder | None = None) -> CleanRows:
    """Types, checks and fingerprints a batch. The first thing wrong with a row is its dead letter's reason.

    `encoder` is that of the batches before this one.
    """
    encoder = encoder or Encoder()
    bad = _Bad(batch)
    labels = _labels(batch, plan, bad, encoder)
    raw: dict[str, Any] = {}
    images = None
    for column in plan.columns:
        if column.kind == "image":
            continue
        values = batch.columns.column(column.name)
        found = read_column(values, column, csv=plan.csv, encoder=encoder)
        for wrong, reason in found.wrong:
            bad.add(wrong, column.name, values, reason)
        raw[column.name] = found.raw
    if plan.image is not None:
        raw[IMAGE], images = _images(batch, plan.image, bad)
    keys = None
    if plan.key is not None and role == "train":  # a test file is not split
        values = batch.columns.column(plan.key.name)
        keys, unusable, reason = read_keys(values, plan.key, csv=plan.csv)
        bad.add(unusable, plan.key.name, values, reason)
    whole = CleanRows(
        batch=batch,
        kept=np.arange(batch.columns.num_rows),
        raw=raw,
        images=images,
        labels=labels,
        fingerprints=np.zeros(batch.columns.num_rows, np.uint64),
        dead=(),
        keys=keys,
        weights=_weights(batch, plan.weight, bad) if plan.weight is not None else None,
    )
    usable = whole.take(bad.good()) if bad.letters else whole
    dead = (*batch.dead, *bad.letters.values())
    return dataclasses.replace(usable, fingerprints=_fingerprints(usable.raw, usable.rows), dead=dead)


def _fingerprints(raw: Mapping[str, Any], rows: int) -> NDArray[np.uint64]:
    image = raw.get(IMAGE)
    if isinstance(image, np.ndarray) and image.dtype in (np.uint8, object):
        prints = (split.fingerprint_images if image.dtype == np.uint8 else split.fingerprint_files)(image)
        others = {name: values for name, values in raw.items() if name != IMAGE}
        return split.joined(prints, _fingerprints(others, rows)) if others else prints
    flat = {name: values for name, values in raw.items() if not _is_vector(values)}
    for name, values in raw.items():
        if _is_vector(values):
            flat |= {f"{name}[{place}]": values[:, place] for place in range(values.shape[1])}
    return split.fingerprint_columns(flat, rows)


def _is_vector(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype == np.float64 and values.ndim == 2


def _weights(batch: RowBatch, name: str, bad: "_Bad") -> NDArray[np.float64]:
    values = batch.columns.column(name)
    weights, wrong = cells.numbers(values)
    bad.add(wrong, name, values, "weight is not a number")
    bad.add(np.isnan(weights), name, values, "weight is missing")
    bad.add(np.isinf(weights), name, values, "weight is not finite")
    with np.errstate(invalid="ignore"):
        bad.add(weights < 0, name, values, "weight is negative")
    return weights


def _labels(batch: RowBatch, plan: Plan, bad: "_Bad", encoder: Encoder) -> Any:
    values = batch.columns.column(plan.label)
    if plan.task == "tabular_regression":
        targets, wrong = cells.numbers(values)
        bad.add(wrong, plan.label, values, "label is not a number")
        bad.add(np.isinf(targets), plan.label, values, "label is not finite")
        bad.add(np.isnan(targets), plan.label, values, "label is missing")
        return targets

    def read(different: pa.Array) -> pa.Array:
        names = cells.class_names(different, csv=plan.csv)
        if is_text:
            return cells.renamed(names, plan.label_map)
        infinite = pc.is_in(names, value_set=pa.array(_NON_FINITE))  # a class may be renamed to it, a number not
        return pc.if_else(infinite, names, cells.renamed(names, plan.label_map))

    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    is_text = cells.is_text(kind)
    names = encoder.codes(plan.label, values, read)
    if not is_text:
        bad.add(among(names, _NON_FINITE), plan.label, values, "label is not finite")
    bad.add(too_long(names), plan.label, values, f"label longer than {cells.MAX_TEXT_BYTES:,} bytes")
    bad.add(names.missing, plan.label, values, "label is missing")
    return names


def _images(batch: RowBatch, plan: ImagePlan, bad: "_Bad") -> tuple[NDArray[Any], NDArray[np.uint8]]:
    column = batch.columns.column(IMAGE)
    size = {"height": plan.target_height, "width": plan.target_width}
    if plan.encoding == "array":
        if plan.height is None or plan.width is None:
            raise DataError("images given as arrays must have one size")
        raw = pixels(column, (plan.height, plan.width, plan.channels))
        return raw, resize(raw, **size)
    files = np.empty(len(column), object)
    files[:] = column.to_pylist()
    decoded = np.zeros((len(files), plan.target_height, plan.target_width, plan.channels), np.uint8)
    for row, data in enumerate(files):
        try:
            decoded[row] = decode_resized(data, channels=plan.channels, **size)
        except DataError as error:
            bad.add_one(row, IMAGE, str(error), "not a readable image")
    return files, decoded


class _Bad:
    """The first reason for each unusable row of a batch."""

    def __init__(self, batch: RowBatch) -> None:
        self._batch = batch
        self.letters: dict[int, DeadLetter] = {}

    def add(self, mask: NDArray[np.bool_] | None, column: str, values: pa.Array, reason: str) -> None:
        """Rows where the mask is true."""
        if mask is not None:
            for row in np.flatnonzero(mask).tolist():
                value = values[row].as_py()
                self.add_one(row, column, "" if value is None else value, reason)

    def add_one(self, row: int, column: str, value: object, reason: str) -> None:
        """One row."""
        file, number = self._batch.file(row), int(self._batch.rows[row])
        letter = DeadLetter.of(file=file, row=number, column=column, value=value, reason=reason)
        self.letters.setdefault(row, letter)

    def good(self) -> NDArray[np.int64]:
        """The other rows."""
        return np.setdiff1d(np.arange(self._batch.columns.num_rows), list(self.letters))
