"""Trials as rows: what ``trials.json`` holds and `nasflow trials` shows."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nasflow.core.metrics import better, gain
from nasflow.core.spec import Metric
from nasflow.search.looked import Looked, looked_at
from nasflow.search.record import Record

_DERIVED = ("generation", "gain", "scores", "mean", "spread")


def generations(records: Iterable[Record]) -> dict[str, int]:
    """By trial: 0 without parents, else one more than its oldest line of parents."""
    found: dict[str, int] = {}
    for record in records:
        found[record.trial_id] = 1 + max((found.get(parent, 0) for parent in record.parents), default=-1)
    return found


def rows(records: Sequence[Record], metric: Metric) -> list[dict[str, Any]]:
    """Every field of every trial, its `generation`, and `gain`: how much better its score is than the best preset's,
    which is what searching was worth; None where there is no such score. Of a finalist (`nasflow.search.finalists`)
    the `scores` of all its trainings, their `spread`, and the `mean` that it is ranked by; None of others."""
    born, looks = generations(records), looked_at(records)
    presets = [r.score for r in records if r.origin == "preset" and r.score is not None]
    baseline = functools.reduce(lambda one, other: other if better(metric, other, one) else one, presets, math.nan)
    return [
        {
            **dataclasses.asdict(record),
            "generation": born[record.trial_id],
            "gain": gain(metric, record.score, baseline) if presets and record.score is not None else None,
            **_looked(looks.get(record.trial_id)),
        }
        for record in records
    ]


def _looked(found: Looked | None) -> dict[str, Any]:
    if found is None:
        return {"scores": None, "mean": None, "spread": None}
    return {"scores": list(found.scores), "mean": found.mean, "spread": found.spread}


def record_of(row: Mapping[str, Any]) -> Record:
    """A row of `rows`, also read from JSON, as the record that it was made from.

    Raises:
        TypeError: it has other fields.
    """
    fields = {name: value for name, value in row.items() if name not in _DERIVED}
    return Record(**{**fields, "parents": tuple(fields["parents"])})


def rung(record: Record) -> int | None:
    """Epochs that it was given, where the strategy gives them out (`asha`, `pasha`, `hyperband`); else None."""
    return record.control.get("tuner/epochs")


def first_line(message: str) -> str:
    """Of a message of several lines; empty where there is none."""
    return message.strip().partition("\n")[0].strip()
