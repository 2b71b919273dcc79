"""What a column is, in all files at once."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nasflow.core.errors import DataError
from nasflow.core.spec import ColumnSection
from nasflow.data.schema import Kind
from nasflow.preprocess import cells
from nasflow.preprocess.inference import NOTHING, Found, infer, odd_one
from nasflow.preprocess.prose import phrases
from nasflow.preprocess.sources._base import SAMPLE_ROWS, Profile

_MOSTLY_NUMERIC = 0.5

_ENOUGH = 20
"""Fewer rows say nothing about identifiers."""


def agreed(name: str, profiles: Sequence[Profile], *, csv: bool, options: ColumnSection | None = None) -> Found:
    """What the column is in all files; a file without any value in it agrees with every kind, and whole numbers with
    numbers.

    Raises:
        DataError: two files disagree, or they do not bear what the YAML says.
    """
    known: tuple[str, Found] | None = None
    for profile in profiles:
        if name not in profile.schema.names:
            continue
        try:
            found = infer(profile.sample.column(name), csv=csv, options=options)
        except DataError as error:
            raise DataError(f"data.columns: column {name!r} of {profile.file}: {error}") from error
        if found.dtype == "null":
            continue
        known = (profile.file, found) if known is None else (known[0], _both(name, known, (profile.file, found)))
    return NOTHING if known is None else known[1]


def _both(name: str, known: tuple[str, Found], other: tuple[str, Found]) -> Found:
    first, second = known[1], other[1]
    least = min(first.confidence, second.confidence)
    if first.kind == second.kind:
        if (first.length, first.format) != (second.length, second.format):
            shown = [f"{f.format or f.length or 'ISO 8601'}" for f in (first, second)]
            raise DataError(
                f"column {name!r} is {first.kind} in {known[0]} ({shown[0]}) and in {other[0]} ({shown[1]}); make the "
                f"files agree, or say its {'format' if first.kind == 'datetime' else 'kind'} in data.columns.{name}"
            )
        return dataclasses.replace(first, confidence=least)
    if {first.kind, second.kind} == {"categorical", "text"}:
        return dataclasses.replace(first if first.kind == "text" else second, confidence=least)
    if {first.kind, second.kind} == {"integer", "numeric"}:
        return dataclasses.replace(first if first.kind == "numeric" else second, confidence=least)
    raise DataError(
        f"column {name!r} is {first.kind or first.reason} in {known[0]} but {second.kind or second.dtype} in "
        f"{other[0]}; make the files agree, say its kind in data.columns, or list the column in data.ignore"
    )


def identifier(name: str, profiles: Sequence[Profile], *, csv: bool) -> Found | None:
    """Why a text column only names rows, or that it holds short sentences; None where neither is so. Read from the
    first file's sample, so that the answer, and with it the split, does not wait for a whole pass."""
    values = cells.text(profiles[0].sample.column(name), csv=csv)
    rows = len(values)
    if rows < _ENOUGH or values.null_count or pc.count_distinct(values).as_py() < rows:
        return None
    if (read := phrases(values)) is not None:
        return Found(kind="text", dtype="string", reason=read[1], confidence=read[0])
    where = f"the first {rows:,} rows" if rows >= SAMPLE_ROWS or len(profiles) > 1 else f"all {rows:,} rows"
    return Found(kind=None, dtype="string", reason=f"an identifier: text that is different in {where}")


def notes_on(name: str, kind: Kind, profile: Profile, *, csv: bool) -> list[str]:
    """What a reader should know of a column that is a feature."""
    values = cells.plain(profile.sample.column(name))
    if kind in ("numeric", "integer") and len(values) >= _ENOUGH and not pa.types.is_temporal(values.type):
        found, _ = cells.numbers(values)
        steps = np.diff(found) if np.isfinite(found).all() else ()
        if len(steps) and (np.all(np.equal(steps, 1)) or np.all(np.equal(steps, -1))):
            return [f"{name!r} counts the rows: it may be an identifier; if so, list it in data.ignore"]
    if kind == "categorical" and csv and (odd := odd_one(values, _MOSTLY_NUMERIC)):
        return [f"{name!r} is treated as text, although {odd[0]:.1%} of its values are numbers: e.g. {odd[1]!r:.60}"]
    return []
